//! `countersign setup`: the first owner, without a browser. And the link for those who have one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;
use zeroize::Zeroizing;

use crate::directory::apply::email as read_address;
use crate::directory::organization;
use crate::ids::UserId;
use crate::installation::Installation;
use crate::mfa::recovery::NewCodes;
use crate::mfa::totp::{self, Enrolment};
use crate::pages::password;
use crate::secrets::SecretText;
use crate::setup::SECRET_LENGTH;
use crate::setup::link;
use crate::setup::owner::{self, Made, NewOwner, Way};

use super::opening::Where;
use super::secret_input::{self, Source};

/// The fewest bytes of an authenticator's secret (RFC 4226 §4: 128 bits).
const SHORTEST_SECRET: usize = 16;

/// Make the first owner of the installation, without a browser
///
/// The owner belongs to the organization `platform`, signs in with a password and a code of an authenticator, and is one at once.
/// The authenticator's key and the recovery codes are printed, once. It refuses where there is an owner already.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Their e-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    /// As they are called
    #[arg(long, default_value = "")]
    name: String,
    /// The file with their password; `-` is standard input. Without it a terminal is asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The file with the key of an authenticator that is there already, in base32; without it one is drawn, and printed
    #[arg(long, value_name = "FILE")]
    totp_secret_file: Option<PathBuf>,
    /// Make one more, although there are owners: whoever may run this on the database may do so by `apply` too
    #[arg(long)]
    another: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    installation: Where,
}

/// Everything that is read before anything is opened.
struct Wanted {
    email: String,
    password: SecretText,
    secret: Option<Zeroizing<Vec<u8>>>,
}

/// What there is to print.
struct Printed {
    id: UserId,
    email: String,
    /// `None`: the secret was theirs already.
    uri: Option<Zeroizing<String>>,
    codes: Vec<SecretText>,
}

/// Makes the owner, and prints what nobody will be shown again.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wanted = read(&args).await?;
    let opened = args.installation.open().await?;
    let outcome = make(&opened.installation, &args, wanted).await;
    opened.close().await?;
    let printed = outcome?;
    let mut out = io::stdout();
    let said = if args.json { in_json(&printed, &mut out) } else { in_words(&printed, &mut out) };
    said.with_context(|| {
        format!(
            "{0} is an owner now, but what is shown only once could not be printed: \
             countersign reset-mfa {0} --organization platform",
            printed.email
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn read(args: &Args) -> anyhow::Result<Wanted> {
    let Ok(email) = read_address(args.email.trim().to_owned()) else {
        bail!("{:?} is no e-mail address", args.email);
    };
    if !crate::setup::is_name(&args.name) {
        bail!("a name has at most 100 characters, all on one line");
    }
    let source = Source::of(args.password_file.as_deref());
    let password = secret_input::read(&source, "Password of the new owner").await?;
    if let Some(unfit) = password::unfit(password.expose()) {
        bail!("{unfit}");
    }
    let secret = match &args.totp_secret_file {
        Some(file) => {
            let text = secret_input::read(&Source::of(Some(file.as_path())), "").await?;
            let secret = totp::read_secret(text.expose()).ok().filter(|secret| secret.len() >= SHORTEST_SECRET);
            Some(secret.with_context(|| format!("{} holds no key of 128 bits or more in base32", file.display()))?)
        }
        None => None,
    };
    Ok(Wanted { email, password, secret })
}

async fn make(installation: &Installation, args: &Args, wanted: Wanted) -> anyhow::Result<Printed> {
    let (now, random) = (installation.clock.now(), &installation.random);
    let drawn = wanted.secret.is_none();
    let secret = wanted.secret.unwrap_or_else(|| Zeroizing::new(random.bytes::<SECRET_LENGTH>().to_vec()));
    let mut conn = installation.pool.acquire().await?;
    let platform = owner::platform(&mut conn).await?;
    let platform = organization::by_id(&mut conn, platform).await?.context("there is no organization platform")?;
    drop(conn);
    let uri = if drawn { Some(Enrolment::of(&secret, &wanted.email, &platform.name)?.uri()?) } else { None };
    let password_hash = installation.passwords.hash(&wanted.password).await;
    if password_hash.is_empty() {
        bail!("the password could not be hashed");
    }
    let codes = NewCodes::draw(installation).await.ok().context("the recovery codes could not be hashed")?;
    let id = UserId::new(now, &random.bytes());
    let owner = NewOwner { id, email: wanted.email, name: args.name.trim().to_owned(), password_hash, secret, step: 0 };
    match owner::make(installation, &owner, codes, Way::Command { another: args.another }).await? {
        Made::Owner(codes) => Ok(Printed { id, email: owner.email, uri, codes }),
        Made::Taken => bail!(
            "platform has somebody with the address {0} already; for a lost phone there is countersign reset-mfa {0} --organization platform",
            owner.email
        ),
        Made::Owned | Made::Ended => bail!(
            "platform has an owner already: --another makes one more; for a lost phone there is countersign reset-mfa ADDRESS --organization platform"
        ),
    }
}

fn in_json(printed: &Printed, out: &mut impl Write) -> io::Result<()> {
    let codes: Vec<&str> = printed.codes.iter().map(SecretText::expose).collect();
    let mut object = json!({
        "organization": "platform",
        "user_id": printed.id.to_string(),
        "email": printed.email,
        "recovery_codes": codes,
    });
    if let (Some(uri), Some(members)) = (&printed.uri, object.as_object_mut()) {
        members.insert("otpauth_uri".to_owned(), uri.as_str().into());
    }
    writeln!(out, "{object}")
}

fn in_words(printed: &Printed, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} is an owner of this installation.", printed.email)?;
    if let Some(uri) = &printed.uri {
        writeln!(out, "\nAdd this to an authenticator app; it is shown only this once:\n\n  {}", uri.as_str())?;
    }
    writeln!(out, "\nRecovery codes, each good once in place of the authenticator, and shown only this once:\n")?;
    for code in &printed.codes {
        writeln!(out, "  {}", code.expose())?;
    }
    Ok(())
}

/// Prints a new setup link if the installation has no owner. It goes to people, and not into the log.
pub async fn print_link(installation: &Installation, out: &mut impl Write) -> anyhow::Result<()> {
    let Some(url) = link::issue(installation).await? else { return Ok(()) };
    writeln!(
        out,
        "This installation has no owner yet. Whoever opens this link within 30 minutes can become it:\n\n  {}\n\n\
         It is good once, and until the next start, which prints another. `countersign setup` does the same without a browser.",
        url.expose()
    )?;
    Ok(out.flush()?)
}
