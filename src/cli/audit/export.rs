//! `countersign audit export`: the audit as lines of JSON.

use std::io::{self, BufWriter, Write};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;

use crate::audit::chain::{self, Which};
use crate::audit::linker;
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

/// A moment as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl std::str::FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = |text| DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok();
        let day = |text: &str| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
        let ago = |text| TimeDelta::from_std(humantime::parse_duration(text).ok()?).ok();
        let moment = at(text).or_else(|| day(text)).map(Self::At).or_else(|| ago(text).map(Self::Ago));
        moment.ok_or("it is a time like 2026-11-25T12:00:00Z, a day like 2026-11-25, or a time span like 24h")
    }
}

impl Moment {
    fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub_signed(span).unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = DateTime::parse_from_rfc3339("2026-11-25T12:00:00Z").unwrap().to_utc();
        let read = |text: &str| text.parse::<Moment>().map(|moment| moment.before(now).to_rfc3339());
        assert_eq!(read("2026-11-25T12:00:00+02:00").unwrap(), "2026-11-25T10:00:00+00:00");
        assert_eq!(read("2026-11-25").unwrap(), "2026-11-25T00:00:00+00:00");
        assert_eq!(read("24h").unwrap(), "2026-11-24T12:00:00+00:00");
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-25T12:00:00", "24", "-1h"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
