//! Which login administers: what is said of it, and what is taken when nothing is.

use std::str::FromStr;

use clap::Args;

use crate::cli::environment;
use crate::cli::kept::StoreArgs;
use crate::cli::login::{OF_ADMINISTRATION, PLATFORM};
use crate::cli::opening::Where;
use crate::client::{Credentials, InvalidIssuer, Issuer, Login};

use super::failure::Failure;

/// What every command of the administration takes.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The server, where there are logins to several [default: that of the last countersign login --admin]
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<Issuer>,

    /// Print what the API answered, as JSON
    #[arg(long, global = true)]
    pub json: bool,

    #[command(flatten)]
    pub store: StoreArgs,
}

/// The same, for what an organization has.
#[derive(Args, Clone, Debug)]
pub struct OfOrganization {
    /// The organization [default: that of the login]
    #[arg(long, value_name = "SLUG", global = true, value_parser = name)]
    pub org: Option<String>,

    #[command(flatten)]
    pub common: Common,
}

/// Where a command works that works on a database unless it is told otherwise.
#[derive(Args, Clone, Debug)]
pub struct AtServer {
    /// Work at a server, by its administration API, instead of on a database on this machine: with the login of the last
    /// countersign login --admin, or of the last one at URL
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", global = true)]
    server: Option<Server>,

    #[command(flatten)]
    store: StoreArgs,
}

/// A server that a command works at.
#[derive(Clone, Debug)]
enum Server {
    /// That of the last login that administers.
    OfLastLogin,
    /// This one.
    At(Issuer),
}

impl FromStr for Server {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        if text.is_empty() { Ok(Self::OfLastLogin) } else { text.parse().map(Self::At) }
    }
}

impl AtServer {
    /// What a command of the administration takes; `None`: it is about a database.
    ///
    /// # Errors
    /// When both are named.
    pub fn common(self, json: bool, database: &Where) -> Result<Option<Common>, Failure> {
        let Some(server) = self.server else { return Ok(None) };
        // The variable stands in the environment for other commands.
        let configured = database.config.is_some() && environment::variable("COUNTERSIGN_CONFIG").is_none();
        if configured || database.data_dir.is_some() {
            let words = "error: --server is for an installation somewhere else, --config and --data-dir for one on this machine";
            return Err(Failure::Usage(words.to_owned()));
        }
        let server = if let Server::At(issuer) = server { Some(issuer) } else { None };
        Ok(Some(Common { server, json, store: self.store }))
    }
}

/// A name that can stand in an address.
pub fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().all(|c| c == '.') || text.chars().any(char::is_control) {
        return Err("that can't be the name of anything".to_owned());
    }
    Ok(text.to_owned())
}

/// The organization that a login administers, as far as its client's name tells.
pub fn organization_of(login: &Login) -> Option<&str> {
    login.key.client_id.strip_suffix(OF_ADMINISTRATION)
}

/// The login to use: the last one at the server, which is that of the last one when none is named; but if an organization is
/// meant, its own login comes first, and the platform's, which reaches all, second.
pub fn choose(
    credentials: &Credentials,
    server: Option<&Issuer>,
    organization: Option<&str>,
) -> Result<Login, Failure> {
    let mut logins = credentials.logins()?;
    logins.retain(|login| administers(login) && server.is_none_or(|server| server.as_str() == login.key.issuer));
    logins.sort_by_key(|login| login.signed_in_at);
    let Some(last) = logins.last().cloned() else {
        return Err(Failure::NotLoggedIn { server: server.map(ToString::to_string) });
    };
    let Some(wanted) = organization else { return Ok(last) };
    let there = |organization: &str| {
        let is = |login: &&Login| login.key.issuer == last.key.issuer && organization_of(login) == Some(organization);
        logins.iter().rfind(is).cloned()
    };
    Ok(there(wanted).or_else(|| there(PLATFORM)).unwrap_or(last))
}

fn administers(login: &Login) -> bool {
    let scopes = login.scope.as_deref().unwrap_or_default();
    scopes.split_whitespace().any(|scope| matches!(scope, "admin:read" | "admin:write"))
}
