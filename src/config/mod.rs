//! The configuration: `countersign.toml`, over it the environment, and secrets from files.
//!
//! A key `database.url` is `COUNTERSIGN_DATABASE_URL` in the environment, and `COUNTERSIGN_DATABASE_URL_FILE` names a
//! file that holds it.

mod environment;
mod limits;
mod public_url;
mod retention;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::secrets::{InstallationSecret, SecretText};
use crate::telemetry::LogFormat;

pub use limits::Limits;
pub use public_url::{PublicUrl, PublicUrlError};
pub use retention::Retention;

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
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Health and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// TLS in the process. None: `listen` speaks plain HTTP, and something before it TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
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

const DAY: Duration = Duration::from_hours(24);

fn at_least_a_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text).map_err(D::Error::custom)?;
    if duration < DAY { Err(D::Error::custom("it must be at least a day (\"1d\")")) } else { Ok(duration) }
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

fn a_minute_to_a_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text).map_err(D::Error::custom)?;
    let fits = (Duration::from_mins(1)..=DAY).contains(&duration);
    if fits { Ok(duration) } else { Err(D::Error::custom("it must be between a minute (\"1m\") and a day (\"1d\")")) }
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

/// The certificate that `listen` shows. Both are read again when they change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificate, and those that lead to its authority behind it.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_drain() -> Duration {
    Duration::from_secs(15)
}

fn at_most_an_hour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text).map_err(D::Error::custom)?;
    let fits = duration <= Duration::from_hours(1);
    if fits { Ok(duration) } else { Err(D::Error::custom("it must be an hour (\"1h\") at most")) }
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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not TOML, has an unknown key, or a value is of another kind.
    #[error("{path} can't be understood: {what}")]
    Malformed {
        /// The file and its line, or "the environment".
        path: String,
        /// What, without the values that were found: one may be a secret.
        what: String,
    },
    /// An environment variable that names no setting.
    #[error("the environment variable {0} names no setting")]
    UnknownVariable(String),
    /// Health and metrics would be told to everybody.
    #[error("telemetry.listen must have an address or a port of its own, and not that of listen")]
    TelemetryInPublic,
    /// Whoever is told an http:// address doesn't speak TLS there.
    #[error("tls needs a public_url that begins with https://")]
    TlsInsecure,
    /// A secret of the installation is no secret.
    #[error("secrets[{index}] can't be used: {error}")]
    BadSecret {
        /// Which of the list.
        index: usize,
        /// Why.
        error: crate::secrets::InstallationSecretError,
    },
}

impl Config {
    /// Reads `file`, when there is one, and the given environment over it.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(path) => {
                let text = read(path)?;
                // Checked alone first, so that a fault is told with its line.
                text.parse::<toml::Table>().map_err(|error| malformed(&path.display().to_string(), &text, &error))?
            }
            None => toml::Table::new(),
        };
        let mut exposed: Vec<PathBuf> =
            file.filter(|_| holds_secrets(&table)).map(Path::to_owned).into_iter().collect();
        exposed.extend(environment::overlay(&mut table, environment)?);
        exposed.retain(|path| is_open_to_all(path));
        let source = file.map_or_else(|| "the environment".into(), |path| path.display().to_string());
        let config = Self::deserialize(table).map_err(|error| malformed(&source, "", &error))?;
        if config.telemetry.listen.is_some_and(|telemetry| is_same_listener(telemetry, config.listen)) {
            return Err(ConfigError::TelemetryInPublic);
        }
        if config.tls.is_some() && !config.public_url.is_secure() {
            return Err(ConfigError::TlsInsecure);
        }
        Ok(Self { exposed_files: exposed, ..config })
    }

    /// The configured secrets; empty when one is to be made in `data_dir`.
    pub fn installation_secrets(&self) -> Result<Vec<InstallationSecret>, ConfigError> {
        let parse =
            |(index, text)| InstallationSecret::parse(text).map_err(|error| ConfigError::BadSecret { index, error });
        self.secrets.iter().enumerate().map(parse).collect()
    }
}

/// Whether one socket would take what is meant for the other. Port 0 is another one each time.
fn is_same_listener(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}

/// Whether a file sets anything that nobody else should know.
fn holds_secrets(table: &toml::Table) -> bool {
    let has = |part: &str, key: &str| {
        table.get(part).and_then(toml::Value::as_table).is_some_and(|part| part.contains_key(key))
    };
    let urls = ["url", "owner_url", "listen_url"];
    table.contains_key("secrets") || urls.iter().any(|url| has("database", url)) || has("mail", "smtp")
}

/// Whether the file's mode lets every account of this machine read it. A group may: that is how secrets are handed to
/// containers.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// What is wrong with a file, and in which line; nothing of what stands there.
fn malformed(path: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let path = before.map_or_else(|| path.to_owned(), |before| format!("{path}:{}", before.lines().count().max(1)));
    ConfigError::Malformed { path, what: without_values(error.message()) }
}

/// serde says `invalid type: string "…", expected …`: what was found may be a secret in the wrong place, and only its
/// kind is told.
fn without_values(message: &str) -> String {
    let found = message.find(['"', '`']).and_then(|at| message.split_at_checked(at));
    match (found, message.rsplit_once(", expected")) {
        (Some((before, _)), Some((_, after))) if message.starts_with("invalid ") => {
            format!("{}, expected{after}", before.trim_end())
        }
        _ => message.to_owned(),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests;
