//! Settings from the environment, laid over those of the file.

use std::path::PathBuf;

use super::{ConfigError, read};

/// What a setting's text becomes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    /// Separated by commas.
    List,
}

/// Every setting: its variable without the prefix, where it stands in the file, what it is.
const SETTINGS: [(&str, &[&str], Kind); 28] = [
    ("PUBLIC_URL", &["public_url"], Kind::Text),
    ("LISTEN", &["listen"], Kind::Text),
    ("DRAIN", &["drain"], Kind::Text),
    ("DATA_DIR", &["data_dir"], Kind::Text),
    ("SECRETS", &["secrets"], Kind::List),
    ("TRUSTED_PROXIES", &["trusted_proxies"], Kind::List),
    ("DATABASE_URL", &["database", "url"], Kind::Text),
    ("DATABASE_OWNER_URL", &["database", "owner_url"], Kind::Text),
    ("DATABASE_LISTEN_URL", &["database", "listen_url"], Kind::Text),
    ("DATABASE_MAX_CONNECTIONS", &["database", "max_connections"], Kind::Number),
    ("KEYS_ROTATION", &["keys", "rotation"], Kind::Text),
    ("GEO_DATABASE", &["geo", "database"], Kind::Text),
    ("PHISHING_PEOPLE", &["phishing", "people"], Kind::Number),
    ("PHISHING_WITHIN", &["phishing", "within"], Kind::Text),
    ("LIMITS_REQUESTS_PER_ADDRESS", &["limits", "requests_per_address"], Kind::Number),
    ("LIMITS_REQUESTS_PER_CLIENT", &["limits", "requests_per_client"], Kind::Number),
    ("LIMITS_LIVE_CODES_PER_ADDRESS", &["limits", "live_codes_per_address"], Kind::Number),
    ("LIMITS_LIVE_CODES_PER_CLIENT", &["limits", "live_codes_per_client"], Kind::Number),
    ("RETENTION_GRANTS", &["retention", "grants"], Kind::Text),
    ("RETENTION_SESSIONS", &["retention", "sessions"], Kind::Text),
    ("RETENTION_AUDIT", &["retention", "audit"], Kind::Text),
    ("MAIL_SMTP", &["mail", "smtp"], Kind::Text),
    ("MAIL_FROM", &["mail", "from"], Kind::Text),
    ("TELEMETRY_LISTEN", &["telemetry", "listen"], Kind::Text),
    ("TLS_CERTIFICATE", &["tls", "certificate"], Kind::Text),
    ("TLS_KEY", &["tls", "key"], Kind::Text),
    ("LOG_FORMAT", &["log", "format"], Kind::Text),
    ("LOG_FILTER", &["log", "filter"], Kind::Text),
];

/// Variables that belong to the commands and not to the configuration.
const OF_COMMANDS: [&str; 3] = ["CONFIG", "CLIENT_ID", "KEYRING"];

const PREFIX: &str = "COUNTERSIGN_";

/// Lays every `COUNTERSIGN_…` variable over `table`; `…_FILE` names a file that holds the value. Returns these files.
pub fn overlay(
    table: &mut toml::Table,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if OF_COMMANDS.contains(&name) {
            continue;
        }
        let (name, value) = match name.strip_suffix("_FILE") {
            Some(name) => {
                let text = read(value.as_ref())?;
                files.push(value.into());
                (name, text.trim_end().to_owned())
            }
            None => (name, value),
        };
        let (_, path, kind) = SETTINGS
            .iter()
            .find(|(setting, ..)| *setting == name)
            .ok_or_else(|| ConfigError::UnknownVariable(variable.clone()))?;
        put(table, path, kind.read(&value));
    }
    Ok(files)
}

impl Kind {
    fn read(self, text: &str) -> toml::Value {
        match self {
            Self::Text => text.into(),
            // What is no number stays text, and is complained of where numbers are read.
            Self::Number => text.parse::<i64>().map_or_else(|_| text.into(), toml::Value::Integer),
            Self::List => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect::<Vec<_>>().into(),
        }
    }
}

fn put(table: &mut toml::Table, path: &[&str], value: toml::Value) {
    match path {
        [] => {}
        [name] => {
            table.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner = table.entry((*name).to_owned()).or_insert_with(|| toml::Table::new().into());
            if let toml::Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
