//! `countersign audit export`: the audit as lines of JSON.

use std::io::{self, BufWriter, Write};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use futures_util::TryStreamExt as _;

use crate::audit::chain::{self, Which};
use crate::audit::linker;
use crate::cli::moment::Moment;
use crate::cli::opening::Where;
use crate::installation::Installation;

/// Write events to standard output, one JSON object a line
///
/// docs/audit.md names the members, and shows how anybody can check the lines without Countersign.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// From this moment on: 2026-11-25T12:00:00Z, 2026-11-25, or a time span before now like 24h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Of the organization with this slug only
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    #[command(flatten)]
    installation: Where,
}

/// Writes until everything is written, or nobody reads any more.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let opened = args.installation.open().await?;
    let outcome = write(&opened.installation, &args, BufWriter::new(io::stdout())).await;
    opened.close().await?;
    match outcome {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

async fn write(installation: &Installation, args: &Args, mut out: impl Write) -> anyhow::Result<()> {
    let now = installation.clock.now();
    // What was just done is to be in it too. What has waited for longer is for `verify` to tell.
    if let Err(error) = linker::link_recent(&installation.pool, &installation.keyring, now - super::LATE).await {
        if linker::is_long_turn(&error) {
            bail!(
                "another node holds the turn to link the audit's events and doesn't end it: pg_locks says which session has \
                 the advisory lock; pg_terminate_backend ends it ({error})"
            );
        }
        return Err(error.into());
    }
    let mut conn = installation.pool.acquire().await?;
    let organization = super::organization(&mut conn, args.org.as_deref()).await?;
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.before(now));
    let spans = match (moment(args.since), moment(args.until)) {
        (None, None) => None,
        (since, until) => Some(chain::spans(&mut conn, organization, since, until).await?),
    };
    let which = Which { organization, spans };
    let mut missing = 0;
    let mut links = pin!(chain::links(&mut conn, which));
    while let Some(link) = links.try_next().await? {
        if let Some(line) = link.line() {
            writeln!(out, "{line}")?;
        } else {
            missing += 1;
        }
    }
    out.flush()?;
    if missing > 0 {
        bail!("{missing} of the events are missing: countersign audit verify says from where on");
    }
    Ok(())
}

/// Whether whoever read this has gone, `head` for one.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
