//! `countersign whoami`: who acts when this device calls an API.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Choice, Login, Person, SessionError, who_is};

use super::kept::{ChoiceArgs, EXIT_CODES, StoreArgs, date, failed, not_cut_off, print_json};

/// Show who is logged in, as the server tells it.
///
/// Asks the server; where it can't be reached, what it said at the login.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct WhoamiArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Print a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Shows the person, or tells why not.
pub(super) async fn run(args: WhoamiArgs) -> ExitCode {
    let as_json = args.json;
    match not_cut_off(who(args)).await {
        Ok(Ok((login, person))) if as_json => print_json(&in_json(&login, &person)),
        Ok(Ok((login, person))) => drop(io::stdout().write_all(in_words(&login, &person).as_bytes())),
        Ok(Err(error)) => return failed(&error, as_json),
        Err(interrupted) => return interrupted,
    }
    ExitCode::SUCCESS
}

async fn who(args: WhoamiArgs) -> Result<(Login, Person), SessionError> {
    let credentials = args.store.open()?;
    let choice = Choice::from(args.choice);
    let login = choice.one(&credentials)?;
    let person = who_is(&credentials, &login).await?;
    // A refresh may have narrowed the scopes.
    let login = credentials.logins()?.into_iter().find(|other| other.key == login.key).unwrap_or(login);
    Ok((login, person))
}

fn in_json(login: &Login, person: &Person) -> Value {
    json!({
        "issuer": login.key.issuer,
        "client_id": login.key.client_id,
        "account": person.claims.account().or_else(|| login.account.clone()),
        "organization": person.claims.text("org"),
        "service": person.claims.text("service"),
        "scope": login.scope,
        "signed_in_at": login.signed_in_at,
        "access_token_expires_at": person.access.expires_at(),
        "refresh": person.access.refreshes(),
        "claims": person.claims.all(),
        "claims_from": person.source,
        "problem": person.not_asked,
    })
}

fn in_words(login: &Login, person: &Person) -> String {
    let claims = &person.claims;
    let account = claims.account().or_else(|| login.account.clone());
    let mut lines = vec![account.clone().unwrap_or_else(|| "Somebody: the server doesn't say who".to_owned())];
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("  {name:<13} {value}"));
        }
    };
    line("name", claims.text("name").filter(|name| Some(name) != account.as_ref()));
    line("organization", claims.text("org"));
    line("service", claims.text("service"));
    line("server", Some(login.key.issuer.clone()));
    line("client", Some(login.key.client_id.clone()));
    line("scopes", login.scope.clone());
    line("signed in", login.signed_in_at.map(date));
    line("access", Some(access(person)));
    if let Some(problem) = &person.not_asked {
        let from = if person.source.is_some() { " This is what it said at the login." } else { "" };
        lines.push(format!("{problem}{from}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// `until 2026-03-01 14:05 UTC, then renewed`.
fn access(person: &Person) -> String {
    let renewed = if person.access.refreshes() { "then renewed" } else { "then it ends" };
    match person.access.expires_at() {
        Some(end) => format!("until {}, {renewed}", date(end)),
        None => "until the server ends it".to_owned(),
    }
}
