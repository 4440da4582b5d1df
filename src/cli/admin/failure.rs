//! What went wrong, for the person who types: what it means and what to do, and an exit code for scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::kept::{self, print_json, say};
use crate::client::{CredentialsError, Login, LoginError, Reply, SessionError, printable};

use super::choice::organization_of;

/// A thing that a command is about, for words about it.
#[derive(Clone, Debug)]
pub struct Thing {
    /// `service`, `user`, …: also the command.
    pub kind: &'static str,
    /// What it is called. Empty: all of them.
    pub name: String,
    /// Whose it is.
    pub organization: Option<String>,
}

impl Thing {
    /// Of an organization.
    pub fn of(kind: &'static str, name: &str, organization: &str) -> Self {
        Self { kind, name: name.to_owned(), organization: Some(organization.to_owned()) }
    }

    /// An organization.
    pub fn organization(slug: &str) -> Self {
        Self { kind: "organization", name: slug.to_owned(), organization: None }
    }

    /// The command that shows it.
    fn look(&self) -> String {
        let command = if self.kind == "organization" { "org" } else { self.kind };
        let organization = self.organization.as_ref().map(|slug| format!(" --org {slug}")).unwrap_or_default();
        match self.name.as_str() {
            "" => format!("countersign {command} list{organization}"),
            name => format!("countersign {command} show {name}{organization}"),
        }
    }
}

/// `service cli of acme`, `services of acme`.
impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}s", self.kind)?,
            name => write!(f, "{} {}", self.kind, printable(name))?,
        }
        self.organization.as_ref().map_or(Ok(()), |slug| write!(f, " of {}", printable(slug)))
    }
}

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// No login administers, or none there.
    NotLoggedIn {
        /// The server that was named.
        server: Option<String>,
    },
    /// The login can't be used.
    Session {
        /// Why.
        error: SessionError,
        /// What follows `countersign login URL` when it is made again.
        again: String,
    },
    /// The API refused.
    Refused {
        /// What it was about.
        about: Thing,
        /// What it said.
        reply: Box<Reply>,
        /// The command that logs in again.
        login: String,
    },
    /// The API did what it was asked, and it didn't go well.
    Undone {
        /// What it said.
        answer: Value,
        /// The same, for people.
        words: String,
    },
    /// Found by looking through a list.
    NotThere(Thing),
    /// The command line, or a file that it names, can't be used.
    Usage(String),
    /// What a file says doesn't hold, as this program sees without asking.
    Faults(String),
    /// A person said no.
    NotConfirmed,
    /// Ctrl-C while a person was asked.
    Interrupted,
    /// The output or a file.
    Io(String, io::Error),
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        Self::Session { error: error.into(), again: String::new() }
    }
}

impl Failure {
    /// Of a login.
    pub fn session(error: impl Into<SessionError>, login: &Login) -> Self {
        Self::Session { error: error.into(), again: again(login) }
    }

    /// Of an answer.
    pub fn refused(about: &Thing, reply: Reply, login: &Login) -> Self {
        let login = format!("countersign login {}{}", login.key.issuer, again(login));
        Self::Refused { about: about.clone(), reply: Box::new(reply), login }
    }

    /// Tells it, and ends.
    pub fn end(&self, as_json: bool) -> ExitCode {
        match self {
            Self::Refused { reply, .. } if as_json && reply.body.is_object() => print_json(&reply.body),
            Self::Undone { answer, .. } if as_json => print_json(answer),
            _ if as_json => print_json(&json!({ "error": self.word(), "error_description": self.to_string() })),
            _ => say(&self.to_string()),
        }
        ExitCode::from(self.exit_code())
    }

    /// For scripts.
    fn word(&self) -> &str {
        match self {
            Self::NotLoggedIn { .. } => "not_logged_in",
            Self::Session { error, .. } => error.code(),
            Self::Refused { .. } => "refused",
            Self::Undone { .. } => "undone",
            Self::NotThere(_) => "not_found",
            Self::Usage(_) => "usage",
            Self::Faults(_) => "invalid",
            Self::NotConfirmed => "not_confirmed",
            Self::Interrupted => "interrupted",
            Self::Io(..) => "io",
        }
    }

    /// See [`super::EXIT_CODES`].
    const fn exit_code(&self) -> u8 {
        match self {
            Self::NotLoggedIn { .. } => 7,
            Self::Session { error, .. } => kept::exit_code(error),
            Self::Refused { reply, .. } => match reply.status {
                401 => 7,
                403 => 3,
                404 => 4,
                429 | 502..=504 => 5,
                400 | 413 | 422 => 6,
                412 => 8,
                409 => 9,
                _ => 1,
            },
            Self::NotThere(_) => 4,
            Self::Usage(_) => 2,
            Self::Faults(_) => 6,
            Self::NotConfirmed | Self::Undone { .. } | Self::Io(..) => 1,
            Self::Interrupted => 130,
        }
    }
}

/// What follows `countersign login URL` to log in like this again.
fn again(login: &Login) -> String {
    match organization_of(login) {
        Some(crate::cli::login::PLATFORM) => " --admin".to_owned(),
        Some(organization) => format!(" --admin --org {organization}"),
        None => format!(" --admin={}", login.key.client_id),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoggedIn { server } => {
                let (to, url) = match server {
                    Some(server) => (format!(" to {server}"), server.as_str()),
                    None => (String::new(), "URL"),
                };
                write!(
                    f,
                    "No login{to} administers. Log in: countersign login {url} --admin, and with --org SLUG to administer \
                     your own organization only"
                )
            }
            // Their words end in the command that logs in again.
            Self::Session {
                error:
                    error @ (SessionError::SignedOut { .. }
                    | SessionError::Expired { .. }
                    | SessionError::NotLoggedIn { .. }),
                again,
            } => write!(f, "{error}{again}"),
            Self::Session { error: SessionError::Server(LoginError::NotUnderstood { address, reason }), .. } => {
                write!(f, "{address} has no administration API that this program understands: {reason}.")
            }
            Self::Session { error, .. } => write!(f, "{error}"),
            Self::Refused { about, reply, login } => refused(f, about, reply, login),
            Self::Undone { words, .. } => f.write_str(words),
            Self::NotThere(thing) => write!(f, "There is no {thing}, or none that you may administer."),
            Self::Usage(text) | Self::Faults(text) => f.write_str(text),
            Self::NotConfirmed => f.write_str("Nothing was changed."),
            Self::Interrupted => f.write_str("Interrupted. Nothing was changed."),
            Self::Io(what, error) => write!(f, "{what}: {error}."),
        }
    }
}

fn refused(f: &mut fmt::Formatter<'_>, about: &Thing, reply: &Reply, login: &str) -> fmt::Result {
    let detail = reply.body.get("detail").and_then(Value::as_str).map(printable).unwrap_or_default();
    let kind = reply.body.get("type").and_then(Value::as_str).and_then(|kind| kind.rsplit_once('#'));
    match (reply.status, kind.map_or("", |(_, kind)| kind)) {
        (401, _) => write!(f, "The server doesn't take this login any more. Log in again: {login}"),
        (403, "insufficient-scope") => write!(f, "This login was not granted what that takes. Log in again: {login}"),
        (403, _) => write!(f, "You may not do that to {about}. {detail}"),
        (404, "not-found") if about.kind == "file" => {
            f.write_str("This server takes no files: it is older than this program.")
        }
        (404, "not-found") => match about.name.as_str() {
            "" => write!(f, "There are no {about}: no such organization, or none that you may administer."),
            _ => write!(f, "There is no {about}, or none that you may administer."),
        },
        (404, _) => f.write_str("This server has no administration API: it is an older one, or another program."),
        (409, _) => write!(f, "{about}: {detail}"),
        (412, _) => write!(
            f,
            "{about} was changed meanwhile, and nothing was done to it now. See how it is: {}. If you still mean it, run this \
             again.",
            about.look()
        ),
        (429 | 503, _) => {
            let seconds = reply.retry_after.unwrap_or(5);
            let what = if reply.status == 429 { "You ask too often." } else { "The server can't reach its database." };
            write!(f, "{what} {detail} Asked again in {seconds} s, it may answer.")
        }
        _ => {
            let errors = reply.body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if errors.is_empty() {
                return write!(f, "{about}: the server answers HTTP {}. {detail}", reply.status);
            }
            write!(f, "{about}: nothing was changed.")?;
            errors.iter().try_for_each(|error| write!(f, "\n  {}", fault(error)))
        }
    }
}

/// A member and what is wrong with it; most messages name it already.
fn fault(error: &Value) -> String {
    let text = |member| error.get(member).and_then(Value::as_str).map(printable).unwrap_or_default();
    let (field, message) = (text("field"), text("message"));
    if field.is_empty() || message.starts_with(&field) { message } else { format!("{field}: {message}") }
}
