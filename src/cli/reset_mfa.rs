//! `countersign reset-mfa`: for the day on which somebody lost their phone.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::json;

use crate::audit::{Event, Kind};
use crate::directory::user::User;
use crate::ids::SessionId;
use crate::installation::Installation;
use crate::mfa::{self, totp};

use super::opening::Where;
use super::person::{PersonArgs, devices};

/// Take a person's second factors away, and sign them out everywhere
///
/// Their authenticator and recovery codes are worth nothing from then on. All their devices and browsers are signed out, and
/// at their next login they set up a new authenticator: make sure that it is they who asked for this.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    person: PersonArgs,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    installation: Where,
}

/// Resets, and says what ended.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let opened = args.installation.open().await?;
    let outcome = reset(&opened.installation, &args).await;
    opened.close().await?;
    let (enrolled, sessions) = outcome?;
    let mut out = io::stdout();
    if args.json {
        writeln!(
            out,
            "{}",
            json!({ "email": args.person.email, "was_enrolled": enrolled, "sessions_ended": sessions })
        )?;
    } else {
        let had = if enrolled { "has no second factor any more" } else { "had no second factor" };
        writeln!(out, "{} {had}, and is signed out everywhere: {}.", args.person.email, devices(sessions.len()))?;
        writeln!(out, "At their next login they set up a new authenticator, if their organization asks for one.")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn reset(installation: &Installation, args: &Args) -> anyhow::Result<(bool, Vec<SessionId>)> {
    let now = installation.clock.now();
    let mut tx = installation.pool.begin().await?;
    let person = args.person.find(&mut tx).await?;
    let enrolled = totp::set_up_at(&mut tx, person.id).await?.is_some();
    let sessions = mfa::reset(&mut tx, person.id, now).await?;
    let event = |kind| about(installation, kind, &person);
    event(Kind::Administered).detail(json!({ "mfa": "reset" })).append(&mut tx).await?;
    for session in &sessions {
        let because = json!({ "because": "the second factor was reset" });
        event(Kind::Revoked).session(*session).detail(because).append(&mut tx).await?;
    }
    tx.commit().await?;
    Ok((enrolled, sessions))
}

fn about(installation: &Installation, kind: Kind, person: &User) -> Event {
    Event::new(kind, &installation.clock, &installation.random).of(person.organization_id).user(person.id)
}
