//! `countersign token`: an access token for whoever calls an API.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Args;
use serde_json::{Value, json};
use url::Url;

use crate::client::{Access, Choice, Login, Need, Secret, SessionError, access};

use super::kept::{ChoiceArgs, EXIT_CODES, StoreArgs, failed, not_cut_off, print_json, say};

/// Print an access token that is valid, or the headers of a request with it, and nothing else.
///
/// A new one is fetched when the one that is kept expires soon; many processes may ask at once. For example:
/// countersign token --for "$URL" | curl -H @- "$URL"
/// and where the login has a bearer token (countersign login --bearer):
/// curl -H "Authorization: Bearer $(countersign token)" "$URL"
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct TokenArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Seconds that the token has to be valid for. A server's tokens may live shorter; then it is a new one
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    min_valid: u32,

    /// Print the headers with which an API at this address takes the token: Authorization, and a proof for this one request
    /// (DPoP) where the token is bound to this login's key
    #[arg(long = "for", value_name = "URL")]
    target: Option<Url>,

    /// Method of that request
    #[arg(long, value_name = "METHOD", default_value = "GET", requires = "target")]
    method: String,

    /// Nonce that the API has asked for, in its header DPoP-Nonce
    #[arg(long, value_name = "NONCE", requires = "target")]
    nonce: Option<String>,

    /// Print a JSON object: `access_token`, `token_type`, `expires_at`, `issuer`, `client_id`, `scope`, and `headers`
    /// with --for
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

const BOUND: &str = "This token is bound to the key of this login: an API may refuse it without a proof. Let \
                     countersign token --for URL make one, or log in with --bearer.";

/// What is printed.
struct Printed {
    login: Login,
    access: Access,
    headers: Option<Vec<(&'static str, Secret)>>,
}

/// Prints the token, or tells why there is none.
pub(super) async fn run(args: TokenArgs) -> ExitCode {
    let as_json = args.json;
    match not_cut_off(token(args)).await {
        Ok(Ok(printed)) if as_json => print_json(&printed.in_json()),
        Ok(Ok(printed)) => return printed.in_words(),
        Ok(Err(error)) => return failed(&error, as_json),
        Err(interrupted) => return interrupted,
    }
    ExitCode::SUCCESS
}

async fn token(args: TokenArgs) -> Result<Printed, SessionError> {
    let credentials = args.store.open()?;
    let login = Choice::from(args.choice).one(&credentials)?;
    let need = Need::of(TimeDelta::seconds(args.min_valid.into()));
    let access = access(&credentials, &login.key, &need).await?;
    if access.left_the_keyring {
        say(&format!(
            "The keyring doesn't take the tokens any more. They are in {} now.",
            credentials.path().display()
        ));
    }
    let headers = |url| access.headers(&credentials, &args.method, url, args.nonce.as_deref());
    let headers = args.target.as_ref().map(headers).transpose()?;
    Ok(Printed { login, access, headers })
}

impl Printed {
    fn in_json(&self) -> Value {
        let Self { login, access, headers } = self;
        let mut object = json!({
            "access_token": access.token().expose(),
            "token_type": access.token_type(),
            "expires_at": access.expires_at(),
            "issuer": login.key.issuer,
            "client_id": login.key.client_id,
            "scope": login.scope,
        });
        if let (Some(headers), Some(members)) = (headers, object.as_object_mut()) {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.expose().into()));
            members.insert("headers".to_owned(), Value::Object(headers.collect()));
        }
        object
    }

    fn in_words(&self) -> ExitCode {
        let mut out = io::stdout();
        let written = match &self.headers {
            Some(headers) => headers.iter().try_for_each(|(name, value)| writeln!(out, "{name}: {}", value.expose())),
            None => writeln!(out, "{}", self.access.token().expose()),
        };
        // Somebody who looks on wonders why an API refuses it; a script's log is left alone.
        if self.headers.is_none() && self.access.is_bound() && io::stderr().is_terminal() {
            say(BOUND);
        }
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("Can't write to the output: {error}."));
                ExitCode::FAILURE
            }
        }
    }
}
