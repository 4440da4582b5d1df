//! `countersign status`: the logins of this device.

use std::io::{self, Write as _};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use crate::client::{Choice, Credentials, Login, SessionError, TokenState, token_state};

use super::kept::{ChoiceArgs, StoreArgs, date, failed, print_json};

const EXIT_CODES: &str = "\
Exit codes:
  0    shown, whatever state they are in
  1    anything not listed here
  2    wrong usage
  7    not logged in";

/// Show all logins of this device, without asking any server.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct StatusArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Print a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Shows them, or tells that there are none.
pub(super) async fn run(args: StatusArgs) -> ExitCode {
    let as_json = args.json;
    match look(args).await {
        Ok((logins, now)) if as_json => {
            let logins: Vec<_> = logins.iter().map(|(login, state)| in_json(login, state, now)).collect();
            let code = if logins.is_empty() { 7 } else { 0 };
            print_json(&json!({ "logins": logins }));
            ExitCode::from(code)
        }
        Ok((logins, now)) => {
            let texts: Vec<_> = logins.iter().map(|(login, state)| in_words(login, state, now)).collect();
            drop(io::stdout().write_all(texts.join("\n").as_bytes()));
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, as_json),
    }
}

type State = Result<TokenState, String>;

async fn look(args: StatusArgs) -> Result<(Vec<(Login, State)>, DateTime<Utc>), SessionError> {
    let credentials: Credentials = args.store.open()?;
    let choice = Choice::from(args.choice);
    let found = choice.all(&credentials)?;
    if found.is_empty() && !args.json {
        return Err(SessionError::NotLoggedIn { wanted: Box::new(choice) });
    }
    let mut logins = Vec::new();
    for login in found {
        let state = token_state(&credentials, &login.key).await.map_err(|error| error.to_string());
        logins.push((login, state));
    }
    Ok((logins, credentials.clock().now()))
}

fn in_json(login: &Login, state: &State, now: DateTime<Utc>) -> Value {
    let state = state.as_ref();
    json!({
        "issuer": login.key.issuer,
        "client_id": login.key.client_id,
        "account": login.account,
        "subject": login.key.subject,
        "scope": login.scope,
        "signed_in_at": login.signed_in_at,
        "access_token_expires_at": state.ok().and_then(|state| state.expires_at),
        "access_token_valid": state.ok().map(|state| state.expires_at.is_none_or(|end| end > now)),
        "refresh": state.ok().map(|state| state.refreshes),
        "kept_in": login.kept_in.word(),
        "credentials_file": login.kept_in.file(),
        "problem": state.err(),
    })
}

fn in_words(login: &Login, state: &State, now: DateTime<Utc>) -> String {
    let mut lines = vec![login.key.issuer.clone()];
    let mut line = |name: &str, value: &str| lines.push(format!("  {name:<10} {value}"));
    line("client", &login.key.client_id);
    line("account", login.account.as_deref().unwrap_or("not told: log in with the scope openid to see it"));
    if let Some(scope) = &login.scope {
        line("scopes", scope);
    }
    if let Some(time) = login.signed_in_at {
        line("signed in", &date(time));
    }
    match state {
        Ok(state) => {
            line("access", &access(state.expires_at, now));
            line("refresh", if state.refreshes { "yes" } else { "no" });
        }
        Err(problem) => line("access", problem),
    }
    line("kept in", &login.kept_in.to_string());
    lines.push(String::new());
    lines.join("\n")
}

fn access(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    match expires_at {
        None => "valid, for how long was not told".to_owned(),
        Some(end) if end > now => format!("valid until {}", date(end)),
        Some(end) => format!("expired at {}", date(end)),
    }
}
