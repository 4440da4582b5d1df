//! `countersign logout`: the end of a login, here and at the server.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{Choice, LoggedOut, Login, SessionError, log_out};

use super::kept::{ChoiceArgs, StoreArgs, failed, print_json, say};

const EXIT_CODES: &str = "\
Exit codes:
  0    logged out here and at the server; with --all also if there was nothing to do
  1    anything not listed here
  2    wrong usage, or several logins that could be meant
  5    logged out here, but the server could not be told
  7    not logged in
  130  interrupted";
/// Logged out here, but not there.
const NOT_TOLD: u8 = 5;

/// Log out: revoke the tokens at the server and forget them.
///
/// Where the server can't be reached, they are forgotten all the same, and it is said.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct LogoutArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// All logins, or all of the server, client or account that is named
    #[arg(long)]
    all: bool,

    /// Print a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Ends the login, or tells why not.
pub(super) async fn run(args: LogoutArgs) -> ExitCode {
    let as_json = args.json;
    let results = match end(args).await {
        Ok(results) => results,
        Err(error) => return failed(&error, as_json),
    };
    let mut code = ExitCode::SUCCESS;
    let mut ended = Vec::new();
    for result in results {
        match result {
            Ok(out) => {
                if out.not_told.is_some() {
                    code = ExitCode::from(NOT_TOLD);
                }
                ended.push(out);
            }
            Err(error) => code = failed(&error, as_json),
        }
    }
    if as_json {
        print_json(&json!({ "logged_out": ended.iter().map(in_json).collect::<Vec<_>>() }));
    } else {
        ended.iter().for_each(tell);
    }
    code
}

async fn end(args: LogoutArgs) -> Result<Vec<Result<LoggedOut, SessionError>>, SessionError> {
    let credentials = args.store.open()?;
    let choice = Choice::from(args.choice);
    let logins: Vec<Login> = if args.all { choice.all(&credentials)? } else { vec![choice.one(&credentials)?] };
    Ok(join_all(logins.into_iter().map(|login| log_out(&credentials, login))).await)
}

fn in_json(out: &LoggedOut) -> Value {
    json!({
        "issuer": out.login.key.issuer,
        "client_id": out.login.key.client_id,
        "account": out.login.account,
        "revoked": out.not_told.is_none(),
        "problem": out.not_told,
    })
}

fn tell(out: &LoggedOut) {
    let key = &out.login.key;
    let account = out.login.account.as_ref().map(|account| format!(" ({account})")).unwrap_or_default();
    drop(writeln!(io::stdout(), "Logged out of {} as {}{account}.", key.issuer, key.client_id));
    if let Some(problem) = &out.not_told {
        let problem = problem.trim_end_matches('.');
        say(&format!(
            "The server could not be told: {problem}. The tokens are gone from this device; the session ends by itself, or where the account's devices are listed."
        ));
    }
}
