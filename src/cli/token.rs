//! `countersign token`: an access token for whoever calls an API.

use std::io::{self, Write as _};
use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Args;
use serde_json::json;

use crate::client::{Access, Choice, Login, Need, SessionError, access};

use super::kept::{ChoiceArgs, EXIT_CODES, StoreArgs, failed, not_cut_off, print_json, say};

/// Print an access token that is valid, and nothing else.
///
/// A new one is fetched when the one that is kept expires soon; many processes may ask at once. For example:
/// curl -H "Authorization: Bearer $(countersign token)" "$URL"
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct TokenArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Seconds that the token has to be valid for. A server's tokens may live shorter; then it is a new one
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    min_valid: u32,

    /// Print a JSON object: `access_token`, `token_type`, `expires_at`, `issuer`, `client_id`, `scope`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Prints the token, or tells why there is none.
pub(super) async fn run(args: TokenArgs) -> ExitCode {
    let as_json = args.json;
    match not_cut_off(token(args)).await {
        Ok(Ok((login, access))) => print(&login, &access, as_json),
        Ok(Err(error)) => failed(&error, as_json),
        Err(interrupted) => interrupted,
    }
}

async fn token(args: TokenArgs) -> Result<(Login, Access), SessionError> {
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
    Ok((login, access))
}

fn print(login: &Login, access: &Access, as_json: bool) -> ExitCode {
    if as_json {
        print_json(&json!({
            "access_token": access.token().expose(),
            "token_type": access.token_type(),
            "expires_at": access.expires_at(),
            "issuer": login.key.issuer,
            "client_id": login.key.client_id,
            "scope": login.scope,
        }));
        return ExitCode::SUCCESS;
    }
    match writeln!(io::stdout(), "{}", access.token().expose()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("Can't write to the output: {error}."));
            ExitCode::FAILURE
        }
    }
}
