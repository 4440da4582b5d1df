//! The configuration: `countersign.toml`, over it the environment, and secrets from files.
//!
//! A key `database.url` is `COUNTERSIGN_DATABASE_URL` in the environment, and `COUNTERSIGN_DATABASE_URL_FILE` names a
//! file that holds it. `settings` describes each setting, the structs here are what the program reads: [`Reading`] finds the
//! values, holds each against both, and tells everything that is wrong at once.

mod environment;
mod fault;
mod file;
mod kind;
mod limits;
mod nearest;
mod public_url;
mod reading;
pub mod reference;
mod retention;
pub mod schema;
pub mod settings;
mod spans;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::secrets::{InstallationSecret, InstallationSecretError, SecretText};
use crate::telemetry::LogFormat;

pub use fault::{ConfigError, Fault, Place};
pub use limits::Limits;
pub use public_url::{PublicUrl, PublicUrlError, is_whole};
pub use reading::{Found, Reading};
pub use retention::Retention;

use spans::{DAY, a_minute_to_a_day, at_least_a_day, at_most_an_hour};

/// Everything that can be set. An unknown key is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The issuer: where clients and browsers reach this installation. Never taken from a request.
    pub public_url: PublicUrl,
    /// The address to listen on.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// How long requests that are under way may take once the server was asked to end: `15s`. At most an hour.
    #[serde(default = "default_drain", deserialize_with = "at_most_an_hour")]
    pub drain: Duration,
    /// Where the installation's own files are: its secret when none is configured, the managed PostgreSQL.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The installation's secrets, in base64: the first makes, all open. None: one is made in `data_dir`.
    #[serde(default)]
    pub secrets: Vec<SecretText>,
    /// Proxies whose X-Forwarded-For counts.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNet>,
    /// PostgreSQL.
    #[serde(default)]
    pub database: Database,
    /// Signing keys.
    #[serde(default)]
    pub keys: Keys,
    /// Where addresses are.
    #[serde(default)]
    pub geo: Geo,
    /// What looks like phishing.
    #[serde(default)]
    pub phishing: Phishing,
    /// How many codes may be asked for.
    #[serde(default)]
    pub limits: Limits,
    /// How long what is over is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Mails.
    #[serde(default)]
    pub mail: Mail,
    /// Where the server lets itself be sent.
    #[serde(default)]
    pub outbound: Outbound,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Health and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// TLS in the process.
    #[serde(default)]
    pub tls: Tls,
    /// Files with secrets that every account of this machine can read.
    #[serde(skip)]
    pub exposed_files: Vec<PathBuf>,
}

/// Where the database is. No URL: the managed PostgreSQL in `data_dir`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host/database`.
    pub url: Option<SecretText>,
    /// The same database as the role that owns the tables, and that the server itself isn't.
    pub owner_url: Option<SecretText>,
    /// The same database past a pooler that `url` leads through: for what needs one connection for long.
    pub listen_url: Option<SecretText>,
    /// The most connections that this process opens.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, owner_url: None, listen_url: None, max_connections: 10 }
    }
}

/// How signing keys live.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// How long a key signs before the next one does: `90d`. At least a day.
    #[serde(deserialize_with = "at_least_a_day")]
    pub rotation: Duration,
}

impl Default for Keys {
    fn default() -> Self {
        Self { rotation: 90 * DAY }
    }
}

/// Where addresses are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// A file in MaxMind's format that tells countries, and cities if it does.
    pub database: Option<PathBuf>,
}

/// When a device's address looks like that of a phishing kit: so many people elsewhere approved its codes within a time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phishing {
    /// How many other people; 0: never.
    pub people: u32,
    /// Within which time: `1h`. A minute to a day.
    #[serde(deserialize_with = "a_minute_to_a_day")]
    pub within: Duration,
}

impl Default for Phishing {
    fn default() -> Self {
        Self { people: 5, within: Duration::from_hours(1) }
    }
}

/// How mails are sent. Without it there are none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// `smtps://user:password@host`, or `smtp://` for STARTTLS.
    pub smtp: Option<SecretText>,
    /// Whom they are from: `Acme sign-in <login@acme.example>`.
    pub from: Option<String>,
}

/// Where the server lets itself be sent by people who reach it over the network.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Networks besides public addresses.
    pub allow: Vec<IpNet>,
}

/// How to log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// As in `RUST_LOG`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// Where health and metrics are told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The address to listen on for `/healthz` and `/metrics`; none: nowhere. Never the one that everybody reaches.
    pub listen: Option<SocketAddr>,
}

/// The certificate that `listen` shows. Both files are read again when they change.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file with the certificate, and those that lead to its authority behind it.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its key.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Certificate and key. None: `listen` speaks plain HTTP, and something before it TLS.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.certificate.as_deref().zip(self.key.as_deref())
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_drain() -> Duration {
    Duration::from_secs(15)
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/countersign")
}

/// The environment of this process: the one place where it is read.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    // What is no text is nothing of ours.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let variables = std::env::vars_os();
    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Config {
    /// Reads `file`, when there is one, and the given environment over it.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Reading::of(file, environment).config()
    }

    /// The configured secrets; empty when one is to be made in `data_dir`.
    pub fn installation_secrets(&self) -> Result<Vec<InstallationSecret>, InstallationSecretError> {
        self.secrets.iter().map(InstallationSecret::parse).collect()
    }
}

/// Whether the file's mode lets every account of this machine read it. A group may: that is how secrets are handed to
/// containers.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests;
