//! `countersign reset-password`: for who forgot theirs, or fears that somebody else knows it.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::account::password_reset;
use crate::directory::provider::{self, Kind};
use crate::directory::user::Status;
use crate::ids::SessionId;
use crate::installation::Installation;
use crate::pages::password;
use crate::secrets::SecretText;

use super::opening::Where;
use super::person::{PersonArgs, devices};
use super::secret_input::{self, Source};

/// Give a person another password, and sign them out everywhere
///
/// For accounts of Countersign's own. The old password is worth nothing from then on, all their devices and browsers are signed
/// out, and what they approved without a device having come for it is denied. Their authenticator stays as it is. Make sure that
/// it is they who asked for this, and have them change the password in their account.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    person: PersonArgs,
    /// Give a password to somebody who has none here, but signs in elsewhere or never did
    #[arg(long)]
    first: bool,
    /// The file with the new password; `-` is standard input. Without it a terminal is asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    installation: Where,
}

/// What a reset found, and ended.
struct Reset {
    had_one: bool,
    locked: bool,
    sessions: Vec<SessionId>,
}

/// Resets, and says what ended.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = Source::of(args.password_file.as_deref());
    let password = secret_input::read(&source, &format!("New password of {}", args.person.email)).await?;
    if let Some(unfit) = password::unfit(password.expose()) {
        bail!("{unfit}");
    }
    let opened = args.installation.open().await?;
    let outcome = reset(&opened.installation, &args, &password).await;
    opened.close().await?;
    let Reset { had_one, locked, sessions } = outcome?;
    let mut out = io::stdout();
    if args.json {
        let said = json!({ "email": args.person.email, "had_password": had_one, "locked": locked, "sessions_ended": sessions });
        writeln!(out, "{said}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let another = if had_one { "another password" } else { "a password, their first" };
    writeln!(out, "{} has {another}, and is signed out everywhere: {}.", args.person.email, devices(sessions.len()))?;
    writeln!(
        out,
        "If a file that you apply has a password for them, put this one there: the next apply sets what the file says."
    )?;
    if locked {
        writeln!(out, "They are locked, and can't sign in before they are unlocked.")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn reset(installation: &Installation, args: &Args, password: &SecretText) -> anyhow::Result<Reset> {
    // Before the transaction: hashing takes long.
    let hash = installation.passwords.hash(password).await;
    if hash.is_empty() {
        bail!("the password could not be hashed");
    }
    let mut tx = installation.pool.begin().await?;
    let PersonArgs { email, organization } = &args.person;
    let person = args.person.find(&mut tx).await?;
    let providers = provider::of_organization(&mut tx, person.organization_id).await?;
    if !providers.iter().any(|provider| provider.kind == Kind::Password) {
        bail!("nobody of {organization} signs in with a password: {organization} has no provider of the kind password");
    }
    let had_one = person.password_hash.is_some();
    if !had_one && !args.first {
        bail!(
            "{email} has no password here, and one would last whatever becomes of their account elsewhere: \
             say --first to give one"
        );
    }
    let sessions = password_reset::reset(&mut tx, installation, &person, &hash).await?;
    let sessions = sessions.with_context(|| format!("{email} was deleted meanwhile"))?;
    tx.commit().await?;
    Ok(Reset { had_one, locked: person.status == Status::Locked, sessions })
}
