//! `countersign doctor`: does the installation work, and what is to be done where it doesn't?
//!
//! It looks, and changes nothing: no migration, no key, no secret is made, no mail is sent unless somebody asks for one.
//! Each check is a function with a verdict. What depends on nothing else runs side by side, each within its own time.

mod clock;
mod database;
mod finding;
mod issuer;
mod keys;
mod machine;
mod mail;
mod neighbours;
mod tls;

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::clock::Clock;
use crate::config::{Config, Reading, process_environment};

use super::opening::{self, EXPOSED};

pub use finding::{Finding, Outcome, Verdict};

/// How long each of what runs side by side may take. The checks in it give up earlier and say why.
const WITHIN: Duration = Duration::from_secs(70);

/// Exit code: the configuration can't be used, so nothing was looked at.
const BROKEN_CONFIGURATION: u8 = 2;

/// Check a live installation and say how to mend what is wrong
///
/// Reads the same configuration as `countersign serve`, best as the same account and on the same machine. It changes nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: countersign.toml, if it is there]
    #[arg(long, env = "COUNTERSIGN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Send a mail to this address, to see whether it arrives
    #[arg(long, value_name = "ADDRESS")]
    send_mail_to: Option<String>,
}

/// Looks, and says what was found. Exit code 1 when anything doesn't work.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let file = opening::configuration_file(args.config.as_deref());
    let config = match Reading::of(file.as_deref(), process_environment()).config() {
        Ok(config) => config,
        Err(error) => {
            let finding = |fault: &crate::config::Fault| {
                Verdict::failure(fault.to_string(), "countersign config check tells the same").of("configuration")
            };
            print(&error.faults.iter().map(finding).collect::<Vec<_>>(), args.json)?;
            return Ok(ExitCode::from(BROKEN_CONFIGURATION));
        }
    };
    let progress = Progress::begin();
    let findings =
        examine(&config, &Clock::system(), args.send_mail_to.as_deref(), |waiting| progress.show(waiting)).await;
    progress.show(&[]);
    print(&findings, args.json)?;
    let failed = findings.iter().any(|finding| finding.outcome == Outcome::Failure);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

type Part<'a> = (&'static str, Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>);

/// Every check. `waiting` is told which parts are not through yet.
pub async fn examine(
    config: &Config,
    clock: &Clock,
    send_mail_to: Option<&str>,
    mut waiting: impl FnMut(&[&'static str]),
) -> Vec<Finding> {
    let parts: Vec<Part<'_>> = vec![
        ("configuration", Box::pin(async { configuration(config) })),
        ("issuer", Box::pin(issuer::look(config, clock))),
        ("database", Box::pin(database::look(config, clock))),
        ("mail", Box::pin(mail::look(config, clock, send_mail_to))),
        ("machine", Box::pin(machine::look(config))),
    ];
    let mut under_way: Vec<&'static str> = parts.iter().map(|(name, _)| *name).collect();
    let mut found: Vec<(usize, Vec<Finding>)> = Vec::new();
    let mut running: FuturesUnordered<_> = parts
        .into_iter()
        .enumerate()
        .map(|(index, (name, part))| async move {
            let findings = tokio::time::timeout(WITHIN, part).await.unwrap_or_else(|_| {
                let says = format!("it was not through within {} s", WITHIN.as_secs());
                vec![Verdict::failure(says, "look for what hangs, and run it again").of(name)]
            });
            (index, name, findings)
        })
        .collect();
    waiting(&under_way);
    while let Some((index, name, findings)) = running.next().await {
        under_way.retain(|other| *other != name);
        waiting(&under_way);
        found.push((index, findings));
    }
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().flat_map(|(_, findings)| findings).collect()
}

/// What the configuration names, and who else can read it. That it can be understood is known.
fn configuration(config: &Config) -> Vec<Finding> {
    let mut findings = vec![match opening::places(config.geo.database.as_deref()) {
        Ok(_) => Verdict::ok("it can be used").of("configuration"),
        Err(error) => {
            let mend = "give geo.database a readable file in MaxMind's format, or leave it out";
            Verdict::failure(format!("{error:#}"), mend).of("configuration")
        }
    }];
    let warned = |file: &PathBuf| {
        let mend = format!("chmod o-r {}", file.display());
        Verdict::warning(EXPOSED.split_once(':').map_or(EXPOSED, |(says, _)| says), mend)
            .about("secret file", file.display().to_string())
    };
    findings.extend(config.exposed_files.iter().map(warned));
    findings
}

fn print(findings: &[Finding], as_json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let [ok, warnings, failures, skipped] =
        [Outcome::Ok, Outcome::Warning, Outcome::Failure, Outcome::Skipped].map(count);
    if as_json {
        let all =
            json!({ "findings": findings, "ok": ok, "warnings": warnings, "failures": failures, "skipped": skipped });
        serde_json::to_writer_pretty(&mut out, &all)?;
        return Ok(writeln!(out)?);
    }
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    Ok(writeln!(out, "{ok} ok, {warnings} warnings, {failures} failures, {skipped} skipped")?)
}

/// Says on a terminal what is still being waited for; elsewhere nothing.
struct Progress {
    on_terminal: bool,
}

impl Progress {
    fn begin() -> Self {
        Self { on_terminal: io::stderr().is_terminal() }
    }

    fn show(&self, waiting: &[&str]) {
        if !self.on_terminal {
            return;
        }
        let line = if waiting.is_empty() { String::new() } else { format!("looking at: {}", waiting.join(", ")) };
        // Back to the start of the line, and what stood there goes.
        let _only_for_show = write!(io::stderr(), "\r\u{1b}[K{line}");
    }
}
