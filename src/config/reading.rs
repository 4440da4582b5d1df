//! What is set where, and whether it can be used.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use crate::postgres;
use crate::secrets::InstallationSecret;

use super::fault::{ConfigError, Fault, Place};
use super::kind::{Kind, type_of};
use super::settings::{self, SETTINGS, Setting, Unset};
use super::{Config, environment, file, is_open_to_all};

/// A value that is set. `Debug` says nothing of it.
#[derive(Clone)]
pub struct Found {
    /// The value.
    pub value: Value,
    /// Where it is set.
    pub place: Place,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found(… in {})", self.place)
    }
}

/// A configuration as it was found.
#[derive(Debug)]
pub struct Reading {
    /// What counts: the environment's value where both set one.
    found: BTreeMap<&'static str, Found>,
    faults: Vec<Fault>,
    exposed: Vec<PathBuf>,
}

impl Reading {
    /// Reads `file`, when there is one, and the given environment over it.
    #[must_use]
    pub fn of(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Self {
        let from_file = file.map(file::read);
        let (from_environment, faults_of_environment) = environment::read(environment);
        let whole = from_file.as_ref().is_none_or(|read| read.whole);
        let (mut found, mut faults, mut exposed) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (in_file, faults_of_file) = from_file.map(|read| (read.found, read.faults)).unwrap_or_default();
        // Each value is looked at, one that is overlaid too: it would count on the day the other is gone.
        for (setting, value) in in_file.into_iter().chain(from_environment) {
            faults.extend(fault_of(setting, &value));
            let holder = match &value.place {
                Place::File(path, _) | Place::NamedBy(_, path) => Some(path.clone()),
                Place::Variable(_) => None,
            };
            exposed.extend(holder.filter(|path| setting.secret && is_open_to_all(path)));
            found.insert(setting.key, value);
        }
        exposed.dedup();
        faults.extend(faults_of_file);
        faults.extend(faults_of_environment);
        let mut reading = Self { found, faults, exposed };
        reading.complain_of_what_is_missing(file, whole);
        reading.complain_of_what_does_not_go_together();
        // By line, and the environment by name. What is missing everywhere comes last.
        reading.faults.sort_by_key(|fault| match &fault.place {
            Some(Place::File(_, line)) => (0, line.unwrap_or_default(), String::new()),
            Some(Place::Variable(name) | Place::NamedBy(name, _)) => (1, 0, name.clone()),
            None => (2, 0, String::new()),
        });
        reading
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The value of a setting that is set.
    #[must_use]
    pub fn found(&self, setting: &Setting) -> Option<&Found> {
        self.found.get(setting.key)
    }

    /// The configuration, when nothing is wrong.
    pub fn config(self) -> Result<Config, ConfigError> {
        if !self.faults.is_empty() {
            return Err(ConfigError { faults: self.faults });
        }
        let mut table = Table::new();
        for (key, found) in self.found {
            put(&mut table, key, found.value);
        }
        // Every value was looked at, so this is a fault of the description.
        let config = Config::deserialize(table).map_err(|_| {
            let what =
                "the configuration can't be understood: this is a fault of Countersign, please report it".to_owned();
            ConfigError { faults: vec![Fault { place: None, key: None, what, mend: String::new() }] }
        })?;
        Ok(Config { exposed_files: self.exposed, ..config })
    }

    fn complain_of_what_is_missing(&mut self, file: Option<&Path>, whole: bool) {
        for setting in SETTINGS.iter().filter(|setting| setting.default == Unset::Needed) {
            let elsewhere = self.faults.iter().any(|fault| fault.key.as_deref() == Some(setting.key));
            if whole && !elsewhere && !self.found.contains_key(setting.key) {
                let file = file.unwrap_or_else(|| Path::new("countersign.toml")).display();
                self.faults.push(Fault {
                    place: None,
                    key: Some(setting.key.to_owned()),
                    what: "it is needed, and set nowhere".to_owned(),
                    mend: format!("write {} in {file}, or set {}", setting.in_file(), setting.variable()),
                });
            }
        }
    }

    fn complain_of_what_does_not_go_together(&mut self) {
        let address = |key: &str| -> Option<SocketAddr> {
            let set = self.found.get(key).and_then(|found| found.value.as_str());
            let default = settings::of_key(key).and_then(|setting| match setting.default {
                Unset::Is(literal) => Some(literal.trim_matches('"')),
                _ => None,
            });
            set.or(default)?.parse().ok()
        };
        let mut told = Vec::new();
        if let (Some(listen), Some(telemetry)) = (address("listen"), address("telemetry.listen"))
            && is_same_listener(telemetry, listen)
        {
            told.push((
                "telemetry.listen",
                "it must have an address or a port of its own, and not that of listen",
                "health and metrics are for your own network: choose another port",
            ));
        }
        let text = |key: &str| self.found.get(key).and_then(|found| found.value.as_str());
        if text("tls.certificate").is_some() && text("public_url").is_some_and(|url| url.starts_with("http://")) {
            told.push((
                "tls.certificate",
                "it is set, and public_url begins with http://",
                "whoever is told an http:// address doesn't speak TLS there: let public_url begin with https://",
            ));
        }
        for (key, needed, what, mend) in [
            (
                "database.owner_url",
                "database.url",
                "it is set without database.url, which the server itself uses",
                "set database.url too",
            ),
            (
                "database.listen_url",
                "database.url",
                "it is set without database.url, which requests use",
                "set database.url too",
            ),
            (
                "mail.smtp",
                "mail.from",
                "it is set without mail.from",
                "mails need both: set mail.from, such as \"Acme sign-in <login@acme.example>\"",
            ),
            (
                "mail.from",
                "mail.smtp",
                "it is set without mail.smtp",
                "mails need both: set mail.smtp, such as \"smtps://user:password@mail.acme.example\"",
            ),
            ("tls.certificate", "tls.key", "it is set without tls.key", "TLS needs both: set tls.key"),
            ("tls.key", "tls.certificate", "it is set without tls.certificate", "TLS needs both: set tls.certificate"),
        ] {
            let has_fault = |key: &str| self.faults.iter().any(|fault| fault.key.as_deref() == Some(key));
            if self.found.contains_key(key) && !self.found.contains_key(needed) && !has_fault(needed) {
                told.push((key, what, mend));
            }
        }
        for (key, what, mend) in told {
            let place = self.found.get(key).map(|found| found.place.clone());
            self.faults.push(Fault { place, key: Some(key.to_owned()), what: what.to_owned(), mend: mend.to_owned() });
        }
    }
}

/// Whether one socket would take what is meant for the other. Port 0 is another one each time.
fn is_same_listener(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}

/// What is wrong with one value by itself.
fn fault_of(setting: &'static Setting, found: &Found) -> Option<Fault> {
    let from_file = matches!(found.place, Place::File(..));
    let what = wrong(setting, &found.value, from_file)?;
    let example = if from_file { setting.in_file() } else { setting.in_environment() };
    let mend = match &found.place {
        Place::NamedBy(..) => {
            format!("write it into the file as in {}", example.split_once('=').map_or("", |(_, value)| value))
        }
        _ => format!("write it as in {example}"),
    };
    Some(Fault { place: Some(found.place.clone()), key: Some(setting.key.to_owned()), what, mend })
}

fn wrong(setting: &Setting, value: &Value, from_file: bool) -> Option<String> {
    let expected = || format!("it must be {}", setting.kind.expected());
    if !setting.kind.takes(value) {
        let wants_text = !matches!(setting.kind, Kind::Number { .. }) && !setting.kind.is_list();
        let right_type = match setting.kind {
            Kind::Number { .. } => value.is_integer(),
            _ => wants_text && value.is_str(),
        };
        let told =
            if from_file && !right_type { format!("{}, and not {}", expected(), type_of(value)) } else { expected() };
        return Some(if setting.kind.is_list() && value.is_array() {
            format!("{}, each of them text", expected())
        } else {
            told
        });
    }
    match setting.kind {
        Kind::DatabaseUrl => return value.as_str().is_none_or(|url| postgres::options(url).is_err()).then(expected),
        Kind::Secrets => {
            let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            return items.enumerate().find_map(|(index, text)| {
                let error = InstallationSecret::parse(&text.into()).err()?;
                Some(format!("secrets[{index}] can't be used: {error}"))
            });
        }
        _ => {}
    }
    // As the program itself reads it, and nothing else beside it.
    let mut table = Table::new();
    put(&mut table, "public_url", "https://acme.example".into());
    put(&mut table, setting.key, value.clone());
    let error = Config::deserialize(table).err()?;
    // Only these say why, and nothing of what they read.
    let own_words = matches!(setting.kind, Kind::PublicUrl | Kind::Span { .. });
    Some(if own_words { error.message().to_owned() } else { expected() })
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, name)) => {
            let inner = table.entry(section.to_owned()).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                inner.insert(name.to_owned(), value);
            }
        }
    }
}
