//! `countersign keys`: the keys that sign tokens.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use chrono::SecondsFormat;

use crate::audit::{Event, Kind};
use crate::installation::Installation;
use crate::session::signing_keys::life;

use super::admin;
use super::opening::Where;

/// List, rotate and retire the keys that sign tokens
///
/// Keys are rotated by age without anybody's doing (keys.rotation). These commands are for looking, and for the day on
/// which a key may be in wrong hands. They work on the database of an installation on this machine; with --server at a server, for
/// owners of platform.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// Print keys as JSON; with --server, what goes wrong as well
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    installation: Where,
    #[command(flatten)]
    at: admin::AtServer,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Show every key and what it does now
    List,
    /// Make new keys, which sign in ten minutes, when everybody knows them
    Rotate {
        /// Let them sign at once: APIs that keep the public keys refuse their tokens until they look again. Not with --server
        #[arg(long)]
        now: bool,
    },
    /// Take a key out at once: every token that it signed is refused from now on
    Retire {
        /// The key's name, as in the list
        // A thumbprint in base64url: one of 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

/// Looks or acts.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match (args.at.common(args.json, &args.installation), &args.action) {
        (Err(failure), _) => return Ok(failure.end(args.json)),
        (Ok(Some(_)), Action::Rotate { now: true }) => {
            let words = "error: --now is for an installation on this machine: whoever uses it should see its servers";
            return Ok(admin::Failure::Usage(words.to_owned()).end(args.json));
        }
        (Ok(Some(common)), _) => return Ok(admin::keys(common, args.action.into()).await),
        (Ok(None), _) => {}
    }
    let opened = args.installation.open().await?;
    let outcome = act(&opened.installation, args.action, args.json).await;
    opened.close().await?;
    outcome.map(|()| ExitCode::SUCCESS)
}

impl From<Action> for admin::Keys {
    fn from(action: Action) -> Self {
        match action {
            Action::List => Self::List,
            Action::Rotate { .. } => Self::Rotate,
            Action::Retire { kid } => Self::Retire(kid),
        }
    }
}

/// One JSON array.
fn print_json(keys: &[life::Listed]) -> anyhow::Result<()> {
    let mut out = io::stdout();
    serde_json::to_writer_pretty(&mut out, keys)?;
    Ok(writeln!(out)?)
}

async fn act(installation: &Installation, action: Action, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let now = installation.clock.now();
    let mut tx = installation.pool.begin().await?;
    let detail = match action {
        Action::List => {
            let keys = life::list(&mut tx, now).await?;
            if json {
                return print_json(&keys);
            }
            for key in keys {
                let since = key.active_from.to_rfc3339_opts(SecondsFormat::Secs, true);
                writeln!(out, "{:<6} {:<10} from {since}  {}", key.algorithm, key.stage, key.kid)?;
            }
            return Ok(());
        }
        Action::Rotate { now: at_once } => {
            let active_from = if at_once { now } else { now + life::PUBLISHED_BEFORE };
            let made = life::rotate(&mut tx, installation, active_from).await?;
            if json {
                print_json(&life::list(&mut tx, now).await?)?;
            } else {
                let from = active_from.to_rfc3339_opts(SecondsFormat::Secs, true);
                writeln!(out, "{} new keys sign from {from}: {}", made.len(), made.join(", "))?;
            }
            serde_json::json!({ "keys": "rotated", "kid": made })
        }
        Action::Retire { kid } => {
            if !life::retire(&mut tx, installation, &kid).await? {
                bail!("there is no key {kid}, or it is retired already: countersign keys list");
            }
            if !json {
                writeln!(out, "{kid} is taken out. Running nodes notice within a minute.")?;
            }
            serde_json::json!({ "keys": "retired", "kid": kid })
        }
    };
    Event::new(Kind::Administered, &installation.clock, &installation.random).detail(detail).append(&mut tx).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Action, Args};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        keys: Args,
    }

    #[test]
    fn a_key_may_begin_with_hyphens() {
        for name in ["-K9GnwLf3s", "-h9GnwLf3s", "--9GnwLf3s"] {
            let line = Line::try_parse_from(["keys", "retire", "--json", name]).unwrap();
            assert!(line.keys.json, "{name}");
            assert!(matches!(line.keys.action, Action::Retire { kid } if kid == name), "{name}");
        }
    }
}
