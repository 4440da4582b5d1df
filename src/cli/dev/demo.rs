//! What dev mode sets up, and the login that it shows.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::mpsc;

use crate::client::{Credentials, Event, Options, Screen, SignedIn, login_and_keep};
use crate::directory::apply::File;
use crate::directory::{organization, user};
use crate::installation::Installation;
use crate::mfa::totp;
use crate::secrets::{SecretText, from_base64url};

use super::super::apply;
use super::super::login::exit_code;
use super::person::Person;

/// The demo person.
pub const EMAIL: &str = "demo@example.com";
/// Known to everybody.
pub const PASSWORD: &str = "countersign-demo";
/// Known to everybody.
pub const TOTP_SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

const DEMO: &str = include_str!("demo.toml");

/// Makes the demo organization be as it should, whatever an earlier run left.
pub async fn set_up(installation: &Installation) -> anyhow::Result<()> {
    let texts = [("the demo organization".to_owned(), DEMO.to_owned())];
    let file = File::read(&texts, &|_| Ok(SecretText::from(PASSWORD)))?;
    apply::apply_and_audit(installation, &file, apply::AS_WRITTEN).await?;
    let mut tx = installation.pool.begin().await?;
    let demo = organization::id_by_slug(&mut tx, "demo").await?.context("the demo organization is missing")?;
    let person = user::by_email(&mut tx, demo, EMAIL).await?.context("the demo person is missing")?;
    let secret = totp::read_secret(TOTP_SECRET)?;
    totp::set_factor(&mut tx, &installation.keyring, person.id, &secret, 0, installation.clock.now()).await?;
    Ok(tx.commit().await?)
}

/// Refuses an installation in which the demo person can sign in with the password, or prove the second factor, that
/// everybody knows: the data directory of a `countersign dev`, served to others.
pub async fn refuse(installation: &Installation) -> anyhow::Result<()> {
    let mut conn = installation.pool.acquire().await?;
    let Some(demo) = organization::id_by_slug(&mut conn, "demo").await? else { return Ok(()) };
    let Some(person) = user::by_email(&mut conn, demo, EMAIL).await? else { return Ok(()) };
    let now = installation.clock.now();
    let shown = totp::current_code(&mut conn, &installation.keyring, person.id, now).await?;
    let password = SecretText::from(PASSWORD);
    let known_factor = shown.is_some_and(|code| totp::code_of(TOTP_SECRET, now).is_ok_and(|known| known == code));
    let known_password = installation.passwords.verify(&password, person.password_hash.as_deref()).await;
    if known_factor || known_password {
        bail!(
            "this database has the person of countersign dev, {EMAIL}, whose password and second factor everybody knows. \
             Serve another database, or remove the organization demo from this one"
        );
    }
    Ok(())
}

/// Logs in with the reference client as `countersign login` would. With `approve` the demo person approves.
pub async fn log_in(issuer: &str, credentials: Credentials, approve: bool) -> anyhow::Result<Option<ExitCode>> {
    let options = Options {
        scope: Some("openid email read write offline_access".to_owned()),
        device_name: crate::client::environment::device_name(),
        ..Options::new(issuer.parse().map_err(|error| anyhow!("{error}"))?, "demo-cli".to_owned())
    };
    let (codes, mut shown) = mpsc::unbounded_channel();
    let mut screen = Screen::of_process();
    let mut reporter = move |event: &Event<'_>| {
        if let Event::Code(code) = event {
            // Nobody listens when nobody approves.
            let _unheard = codes.send(code.verification_uri_complete.clone());
        }
        crate::client::Reporter::report(&mut screen, event)
    };
    let login = login_and_keep(&options, &credentials, &mut reporter);
    if !approve {
        return Ok(Some(login.await.map_or_else(|error| ExitCode::from(exit_code(&error)), |_| ExitCode::SUCCESS)));
    }
    let person = async {
        let uri = shown.recv().await.flatten().context("the server gives no complete address")?;
        Person { issuer, email: EMAIL, password: PASSWORD, totp_secret: TOTP_SECRET }.approve(&uri).await
    };
    let (signed_in, approved) = tokio::join!(login, person);
    approved.context("the demo person could not approve")?;
    match signed_in {
        Ok(signed_in) => show_claims(&signed_in).map(Some),
        Err(error) => Ok(Some(ExitCode::from(exit_code(&error)))),
    }
}

/// The claims of the access token, for people to see what a tool gets.
fn show_claims(signed_in: &SignedIn) -> anyhow::Result<ExitCode> {
    let token = signed_in.tokens.access_token.expose();
    let claims = token.split('.').nth(1).and_then(from_base64url).context("the access token is no JWT")?;
    let claims: serde_json::Value = serde_json::from_slice(&claims)?;
    if claims.get("sub").is_none() {
        bail!("the access token says of nobody whom it is for");
    }
    writeln!(io::stdout(), "\nThe access token says:\n{claims:#}")?;
    Ok(ExitCode::SUCCESS)
}
