//! `countersign audit verify`: whether anybody changed what the audit says.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::SecondsFormat;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::chain::{self, LeftOut, Link, Which};
use crate::audit::verify::{Head, Report, Verifier};
use crate::cli::opening::Where;
use crate::installation::Installation;

/// Check that nobody changed the audit
///
/// Says for each organization how many events there are and where its chain ends, or the first position at which it is not as it
/// was made. Keep the ends elsewhere: given as --head later, they show that nothing was cut off. Exit code 1 when
/// anything is wrong.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Of the organization with this slug only
    #[arg(long, value_name = "SLUG", conflicts_with = "file")]
    org: Option<String>,
    /// The end of a chain that was printed earlier: it must still be there
    #[arg(long, value_name = "POSITION:HASH")]
    head: Vec<Head>,
    /// Chains may begin later than at position 1: their older events were deleted on purpose
    #[arg(long)]
    pruned: bool,
    /// Check lines of countersign audit export instead of the database, all but their seals; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    installation: Where,
}

/// What was found.
struct Findings {
    reports: Vec<Report>,
    lost_heads: Vec<Head>,
    left_out: Vec<LeftOut>,
    names: HashMap<Uuid, String>,
}

/// Looks, and says what it saw.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let findings = if let Some(file) = &args.file {
        of_file(file, &args)?
    } else {
        let opened = args.installation.open().await?;
        let findings = of_database(&opened.installation, &args).await;
        // What has no place must not get one from whoever looks for it.
        opened.leave().await?;
        findings?
    };
    let mut out = io::stdout();
    if args.json {
        writeln!(out, "{:#}", findings.to_json())?;
    } else {
        findings.print(&mut out)?;
    }
    Ok(if findings.are_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn of_database(installation: &Installation, args: &Args) -> anyhow::Result<Findings> {
    let mut tx = installation.pool.begin().await?;
    // One moment for everything that is read, and nothing is written: evidence stays as it is found.
    sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *tx).await?;
    let organization = super::organization(&mut tx, args.org.as_deref()).await?;
    let mut verifier = Verifier::new(Some(&installation.keyring), args.head.clone(), args.pruned);
    {
        let mut links = pin!(chain::links(&mut tx, Which { organization, spans: None }));
        while let Some(link) = links.try_next().await? {
            verifier.next(&link);
        }
    }
    let left_out = chain::left_out(&mut tx, organization, installation.clock.now() - super::LATE).await?;
    let names = super::names(&mut tx).await?;
    tx.commit().await?;
    let (reports, lost_heads) = verifier.finish();
    Ok(Findings { reports, lost_heads, left_out, names })
}

fn of_file(path: &Path, args: &Args) -> anyhow::Result<Findings> {
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
        Box::new(BufReader::new(file))
    };
    // An export may begin anywhere.
    let mut verifier = Verifier::new(None, args.head.clone(), true);
    for (number, text) in input.lines().enumerate() {
        let text = text.with_context(|| format!("{} can't be read", path.display()))?;
        let link = Link::parse(&text).with_context(|| {
            format!("{}:{}: this is no line of countersign audit export", path.display(), number + 1)
        })?;
        verifier.next(&link);
    }
    let (reports, lost_heads) = verifier.finish();
    Ok(Findings { reports, lost_heads, left_out: vec![], names: HashMap::new() })
}

impl Findings {
    fn are_good(&self) -> bool {
        self.lost_heads.is_empty()
            && self.left_out.is_empty()
            && self.reports.iter().all(|report| report.broken.is_none())
    }

    fn name(&self, chain: Uuid) -> String {
        if chain.is_nil() {
            return "(no organization)".to_owned();
        }
        self.names.get(&chain).cloned().unwrap_or_else(|| chain.to_string())
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for report in &self.reports {
            let name = self.name(report.chain);
            write!(out, "{name}: {}", events(i64::try_from(report.events).unwrap_or(i64::MAX)))?;
            if report.begins_at > 1 {
                write!(out, ", the chain begins at position {}", report.begins_at)?;
            }
            match (&report.broken, report.head) {
                (Some(broken), _) => {
                    let id = broken.event_id.map(|id| format!(" (event {id})")).unwrap_or_default();
                    writeln!(out, ", BROKEN at position {}: {}{id}", broken.position, broken.fault)?;
                }
                (None, Some(head)) => writeln!(out, ", ok, head {head}")?,
                (None, None) => writeln!(out)?,
            }
        }
        for LeftOut { chain, events: count, oldest } in &self.left_out {
            let oldest = oldest.to_rfc3339_opts(SecondsFormat::Secs, true);
            let (name, events) = (self.name(*chain), events(*count));
            writeln!(out, "{name}: UNLINKED: {events} without a place in the chain, the oldest of {oldest}")?;
        }
        for head in &self.lost_heads {
            writeln!(out, "LOST HEAD {head}: no chain has it. Events were cut off, or the chain was made anew")?;
        }
        if self.reports.is_empty() && self.left_out.is_empty() {
            writeln!(out, "there are no events")?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let place =
            |head: &Head| json!({ "position": head.position, "hash": head.to_string().split_once(':').map(|x| x.1) });
        let report = |report: &Report| {
            let broken = report.broken.map(|broken| {
                json!({
                    "position": broken.position, "event_id": broken.event_id,
                    "fault": broken.fault.as_str(), "description": broken.fault.to_string(),
                })
            });
            json!({
                "organization_id": Some(report.chain).filter(|chain| !chain.is_nil()),
                "organization": self.names.get(&report.chain),
                "events": report.events,
                "begins_at": report.begins_at,
                "head": report.head.as_ref().map(place),
                "broken": broken,
            })
        };
        let left_out = |left_out: &LeftOut| {
            json!({
                "organization_id": Some(left_out.chain).filter(|chain| !chain.is_nil()),
                "organization": self.names.get(&left_out.chain),
                "events": left_out.events,
                "oldest": left_out.oldest.to_rfc3339_opts(SecondsFormat::Micros, true),
            })
        };
        json!({
            "ok": self.are_good(),
            "chains": self.reports.iter().map(report).collect::<Vec<_>>(),
            "unlinked": self.left_out.iter().map(left_out).collect::<Vec<_>>(),
            "lost_heads": self.lost_heads.iter().map(place).collect::<Vec<_>>(),
        })
    }
}

fn events(count: i64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}
