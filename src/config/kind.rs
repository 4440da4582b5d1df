//! What a setting takes: how it is called, read from the environment, and described to editors.

use serde_json::{Value as Json, json};
use toml::Value;

/// A kind of setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The issuer.
    PublicUrl,
    /// A URL with credentials.
    Url,
    /// A URL of PostgreSQL.
    DatabaseUrl,
    /// An IP address and a port.
    Address,
    /// As people write it: `15s`, `90d`.
    Span {
        /// The shortest that is accepted.
        least: &'static str,
        /// The longest that is accepted, if there is one.
        most: Option<&'static str>,
    },
    /// A file or directory.
    Path,
    /// Secrets of the installation.
    Secrets,
    /// Networks in CIDR form.
    Networks,
    /// A whole number that fits into 32 bits.
    Number {
        /// The smallest that is accepted.
        least: u32,
    },
    /// An address of mail, with a name or without.
    Mailbox,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
}

impl Kind {
    /// The type, as the reference names it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::PublicUrl | Self::Url | Self::DatabaseUrl => "URL".to_owned(),
            Self::Address => "address and port".to_owned(),
            Self::Span { least: "0s", most: None } => "time span".to_owned(),
            Self::Span { least, most: None } => format!("time span, at least `\"{least}\"`"),
            Self::Span { least, most: Some(most) } => format!("time span, `\"{least}\"` to `\"{most}\"`"),
            Self::Path => "path".to_owned(),
            Self::Secrets => "list of text".to_owned(),
            Self::Networks => "list of networks".to_owned(),
            Self::Number { .. } => "number".to_owned(),
            Self::Mailbox => "address, with a name or without".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
            Self::Text => "text".to_owned(),
        }
    }

    /// What a value has to be, to complete "it must be …".
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::PublicUrl => "the URL of this installation".to_owned(),
            Self::Url => "a URL".to_owned(),
            Self::DatabaseUrl => "a URL of PostgreSQL".to_owned(),
            Self::Address => "an IP address and a port".to_owned(),
            Self::Span { .. } => "a time span".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Secrets => "a list of text".to_owned(),
            Self::Networks => "a list of networks".to_owned(),
            Self::Number { least } => format!("a whole number from {least} to {}", u32::MAX),
            Self::Mailbox => "an address of mail".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or "),
            Self::Text => "text".to_owned(),
        }
    }

    /// Whether it is a list, which the environment separates by commas.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Secrets | Self::Networks)
    }

    /// What a variable's text becomes.
    #[must_use]
    pub(super) fn read(self, text: &str) -> Value {
        match self {
            // What is no number stays text, and is complained of where numbers are checked.
            Self::Number { .. } => text.trim().parse::<i64>().map_or_else(|_| text.into(), Value::Integer),
            _ if self.is_list() => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect::<Vec<_>>().into()
            }
            _ => text.into(),
        }
    }

    /// Whether a value is of TOML's type for this kind; the words of a choice and the range of a number are looked at too.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Number { least } => {
                value.as_integer().and_then(|number| u32::try_from(number).ok()).is_some_and(|number| number >= least)
            }
            Self::Choice(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            _ if self.is_list() => value.as_array().is_some_and(|items| items.iter().all(Value::is_str)),
            _ => value.is_str(),
        }
    }

    /// As JSON Schema (draft 2020-12), without words.
    #[must_use]
    pub(super) fn schema(self) -> Json {
        match self {
            Self::PublicUrl => json!({ "type": "string", "format": "uri", "pattern": "^https?://" }),
            Self::Url => json!({ "type": "string", "format": "uri", "pattern": "^smtps?://" }),
            Self::DatabaseUrl => json!({ "type": "string", "format": "uri", "pattern": "^postgres(ql)?://" }),
            Self::Address => json!({ "type": "string", "pattern": "^(\\[[0-9A-Fa-f:.%]+\\]|[0-9.]+):[0-9]{1,5}$" }),
            Self::Span { .. } => json!({ "type": "string", "pattern": "^(0|([0-9]+ *[A-Za-zµ]+ *)+)$" }),
            Self::Path | Self::Text => json!({ "type": "string" }),
            Self::Mailbox => json!({ "type": "string", "pattern": "@" }),
            Self::Secrets => json!({ "type": "array", "items": { "type": "string" } }),
            Self::Networks => {
                json!({ "type": "array", "items": { "type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" } })
            }
            Self::Number { least } => json!({ "type": "integer", "minimum": least, "maximum": u32::MAX }),
            Self::Choice(words) => json!({ "enum": words }),
        }
    }
}

/// A value in TOML as the environment writes it.
pub(super) fn in_environment(literal: &str) -> String {
    let literal = literal.trim_start_matches('[').trim_end_matches(']');
    literal.replace('"', "").replace(", ", ",")
}

/// TOML's types as people call them.
pub(super) const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
