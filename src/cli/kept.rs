//! What the commands about logins that are kept have in common: where those are, which one is meant, how it ends.

use std::io::{self, Write as _};
use std::pin::pin;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::client::{Choice, Credentials, CredentialsError, Issuer, Keyring, SessionError, environment};
use crate::clock::Clock;

use super::login;
use super::stopping::asked_to_stop;

/// For `after_help`, and in docs/clients.md.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    anything not listed here
  2    wrong usage, or several logins that could be meant
  5    the server can't be reached, or its answer is not understood
  6    the server refused (invalid_client, …)
  7    not logged in, or not any more: log in again
  130  interrupted";

/// Of a process that was asked to stop.
const INTERRUPTED: u8 = 130;

/// Whether the keyring is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UseOfKeyring {
    /// Where there is one
    Auto,
    /// Never
    Off,
}

/// Where tokens are kept.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Leave the operating system's keyring alone: tokens are kept in a file that you alone can read
    #[arg(long, global = true)]
    no_keyring: bool,

    // Off is the word for the environment of a machine; on the command line there is the switch above.
    #[arg(
        long,
        hide = true,
        global = true,
        value_name = "auto|off",
        env = "COUNTERSIGN_KEYRING",
        default_value = "auto"
    )]
    keyring: UseOfKeyring,
}

/// Which login is meant.
#[derive(Args, Debug)]
pub struct ChoiceArgs {
    /// Address of the server, where there are logins to several
    #[arg(value_name = "URL")]
    issuer: Option<Issuer>,

    /// Client, where there are logins of several
    #[arg(long, value_name = "ID", env = "COUNTERSIGN_CLIENT_ID")]
    client_id: Option<String>,

    /// Account as `countersign status` shows it, where there are several
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

impl StoreArgs {
    /// The credentials of whoever runs this.
    pub fn open(&self) -> Result<Credentials, CredentialsError> {
        let configuration = environment::configuration_directory().ok_or(CredentialsError::NoDirectory)?;
        let off = self.no_keyring || self.keyring == UseOfKeyring::Off;
        let keyring = (!off).then(|| Keyring::of_session(environment::has_display()));
        Ok(Credentials::under(&configuration, Clock::system()).with_keyring(keyring))
    }
}

impl From<ChoiceArgs> for Choice {
    fn from(args: ChoiceArgs) -> Self {
        let client_id = args.client_id.filter(|id| !id.trim().is_empty());
        Self { issuer: args.issuer, client_id, account: args.account }
    }
}

/// Says on standard error, or as JSON on standard output, why not.
pub fn failed(error: &SessionError, as_json: bool) -> ExitCode {
    if as_json {
        print_json(&json!({ "error": error.code(), "error_description": error.to_string() }));
    } else {
        say(&error.to_string());
    }
    ExitCode::from(exit_code(error))
}

/// One JSON object on a line of its own.
pub fn print_json(value: &Value) {
    // Whoever has closed the pipe reads no complaint either.
    drop(writeln!(io::stdout(), "{value}"));
}

/// A line on standard error.
pub fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Lets `work` end although the process is asked to stop: a refresh that is cut off between its answer and the file would
/// cost the login. A second signal says that it is meant. `Err`: it was asked, and how it ends now.
pub async fn not_cut_off<F: Future>(work: F) -> Result<F::Output, ExitCode> {
    let mut work = pin!(work);
    tokio::select! {
        output = &mut work => return Ok(output),
        () = asked_to_stop() => {}
    }
    tokio::select! {
        _ = &mut work => {}
        () = asked_to_stop() => {}
    }
    Err(ExitCode::from(INTERRUPTED))
}

/// See [`EXIT_CODES`].
pub const fn exit_code(error: &SessionError) -> u8 {
    match error {
        SessionError::Several { .. } => 2,
        SessionError::NotLoggedIn { .. } | SessionError::SignedOut { .. } | SessionError::Expired { .. } => 7,
        SessionError::Server(error) => login::exit_code(error),
    }
}

/// `2026-03-01 14:05 UTC`.
pub fn date(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
