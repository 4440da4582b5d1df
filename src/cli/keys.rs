//! `countersign keys`: the keys that sign tokens.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use chrono::SecondsFormat;

use crate::audit::{Event, Kind};
use crate::installation::Installation;
use crate::session::signing_keys::life;

use super::opening::Where;

/// List, rotate and retire the keys that sign tokens
///
/// Keys are rotated by age without anybody's doing (keys.rotation). These commands are for looking, and for the day on
/// which a key may be in wrong hands.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    installation: Where,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Show every key and what it does now
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make new keys, which sign in ten minutes, when everybody knows them
    Rotate {
        /// Let them sign at once: APIs that keep the public keys refuse their tokens until they look again
        #[arg(long)]
        now: bool,
    },
    /// Take a key out at once: every token that it signed is refused from now on
    Retire {
        /// The key's name, as in the list
        kid: String,
    },
}

/// Looks or acts.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let opened = args.installation.open().await?;
    let outcome = act(&opened.installation, args.action).await;
    opened.close().await?;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn act(installation: &Installation, action: Action) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let now = installation.clock.now();
    let mut tx = installation.pool.begin().await?;
    let detail = match action {
        Action::List { json } => {
            let keys = life::list(&mut tx, now).await?;
            if json {
                serde_json::to_writer_pretty(&mut out, &keys)?;
                return Ok(writeln!(out)?);
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
            let from = active_from.to_rfc3339_opts(SecondsFormat::Secs, true);
            writeln!(out, "{} new keys sign from {from}: {}", made.len(), made.join(", "))?;
            serde_json::json!({ "keys": "rotated", "kid": made })
        }
        Action::Retire { kid } => {
            if !life::retire(&mut tx, installation, &kid).await? {
                bail!("there is no key {kid}, or it is retired already: countersign keys list");
            }
            writeln!(out, "{kid} is taken out. Running nodes notice within a minute.")?;
            serde_json::json!({ "keys": "retired", "kid": kid })
        }
    };
    Event::new(Kind::Administered, &installation.clock, &installation.random).detail(detail).append(&mut tx).await?;
    Ok(tx.commit().await?)
}
