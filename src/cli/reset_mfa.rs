//! `countersign reset-mfa`: for the day on which somebody lost their phone.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use crate::audit::{Event, Kind};
use crate::directory::user::User;
use crate::directory::{organization, user};
use crate::ids::SessionId;
use crate::installation::Installation;
use crate::mfa::{self, totp};

use super::opening::Where;

/// Take a person's second factors away, and sign them out everywhere
///
/// Their authenticator and recovery codes are worth nothing from then on. All their devices and browsers are signed out, and
/// at their next login they set up a new authenticator: make sure that it is they who asked for this.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The person's e-mail address
    email: String,
    /// Slug of their organization
    #[arg(long, value_name = "SLUG")]
    organization: String,
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
        writeln!(out, "{}", json!({ "email": args.email, "was_enrolled": enrolled, "sessions_ended": sessions }))?;
    } else {
        let had = if enrolled { "has no second factor any more" } else { "had no second factor" };
        writeln!(out, "{} {had}, and is signed out everywhere: {}.", args.email, in_words(sessions.len()))?;
        writeln!(out, "At their next login they set up a new authenticator, if their organization asks for one.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many devices were signed out.
pub fn in_words(devices: usize) -> String {
    match devices {
        0 => "no device was signed in".to_owned(),
        1 => "1 device".to_owned(),
        more => format!("{more} devices"),
    }
}

async fn reset(installation: &Installation, args: &Args) -> anyhow::Result<(bool, Vec<SessionId>)> {
    let now = installation.clock.now();
    let mut tx = installation.pool.begin().await?;
    let organization = organization::id_by_slug(&mut tx, &args.organization).await?;
    let organization = organization.with_context(|| format!("there is no organization {}", args.organization))?;
    let person = user::by_email(&mut tx, organization, &args.email).await?;
    let person = person.with_context(|| format!("{} has nobody with the address {}", args.organization, args.email))?;
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
