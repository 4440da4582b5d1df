//! One thing, told by a program: what it says is read as if a file said it, by the same rules and with the same words for
//! what is wrong.

use serde_json::{Map, Value};
use toml::Table;

use crate::directory::organization::Organization;
use crate::secrets::SecretText;

use super::fault::{Fault, Faults};
use super::file::File;
use super::reader::SecretSource;

/// Under which name a given secret is looked up. It stands in no text.
const GIVEN: &str = "given";

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The organization itself.
    Organization,
    /// One of its services.
    Service,
    /// One of its providers.
    Provider,
    /// One of its users.
    User,
    /// One of its webhooks.
    Webhook,
}

impl Kind {
    /// As files call its table.
    const fn table(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Service => "service",
            Self::Provider => "provider",
            Self::User => "user",
            Self::Webhook => "webhook",
        }
    }
}

/// What a program says of one thing.
#[derive(Debug)]
pub struct Given<'a> {
    /// What it is.
    pub kind: Kind,
    /// The keys of a file and their values. `null` is absent; `scopes` of a service are a list.
    pub members: &'a Map<String, Value>,
    /// The key of its secret, and the secret.
    pub secret: Option<(&'static str, &'a SecretText)>,
}

impl File {
    /// Reads what is said of an organization, which otherwise is as it is.
    pub fn of_one(organization: &Organization, given: &Given<'_>) -> Result<Self, Faults> {
        let mut told = table(given.members)?;
        if let Some((key, _)) = given.secret {
            let source = Table::from_iter([("env".to_owned(), GIVEN.into())]);
            told.insert(key.to_owned(), source.into());
        }
        let owner = if given.kind == Kind::Organization {
            told
        } else {
            let as_it_is = [
                ("slug", organization.slug.as_str()),
                ("name", &organization.name),
                ("mfa", organization.mfa.as_str()),
            ];
            let mut owner = Table::from_iter(as_it_is.map(|(key, value)| (key.to_owned(), value.into())));
            owner.insert(given.kind.table().to_owned(), vec![toml::Value::from(told)].into());
            owner
        };
        let whole = Table::from_iter([("organization".to_owned(), vec![toml::Value::from(owner)].into())]);
        let text = toml::to_string(&whole).map_err(|error| fault("", error.to_string()))?;
        let secret = |source: &SecretSource| match (given.secret, source) {
            (Some((_, secret)), SecretSource::Env(name)) if name == GIVEN => Ok(secret.clone()),
            _ => Err("a secret is given as text".to_owned()),
        };
        Self::read(&[(String::new(), text)], &secret)
    }
}

/// The members as a table of a file.
fn table(members: &Map<String, Value>) -> Result<Table, Faults> {
    let mut table = Table::new();
    for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let value = if key == "scopes" { scopes(value)? } else { written(key, value)? };
        table.insert(key.clone(), value);
    }
    Ok(table)
}

/// `[{"name": "read", "text": "Read your projects"}, …]` as files write it.
fn scopes(list: &Value) -> Result<toml::Value, Faults> {
    const FORM: &str = "scopes: it is a list, such as [{\"name\": \"read\", \"text\": \"Read your projects\"}]";
    let wrong = || fault("scopes", FORM.to_owned());
    let mut scopes = Table::new();
    for scope in list.as_array().ok_or_else(wrong)? {
        let mut scope = scope.as_object().ok_or_else(wrong)?.clone();
        let Some(Value::String(name)) = scope.remove("name") else { return Err(wrong()) };
        if scopes.contains_key(&name) {
            return Err(fault("scopes", format!("scopes: {name:?} stands twice")));
        }
        let scope = written("scopes", &scope.into())?;
        scopes.insert(name, scope);
    }
    Ok(scopes.into())
}

/// A value as files write it.
fn written(key: &str, value: &Value) -> Result<toml::Value, Faults> {
    Ok(match value {
        Value::Null => return Err(fault(key, format!("{key}: there is a null in it"))),
        Value::Bool(value) => (*value).into(),
        Value::String(text) if text.contains('\0') => {
            return Err(fault(key, format!("{key}: there is a NUL character in it")));
        }
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, number) => number.unwrap_or_default().into(),
        },
        Value::Array(list) => toml::Value::Array(list.iter().map(|item| written(key, item)).collect::<Result<_, _>>()?),
        Value::Object(members) => {
            let mut table = Table::new();
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                table.insert(name.clone(), written(key, value)?);
            }
            table.into()
        }
    })
}

fn fault(key: &str, message: String) -> Faults {
    Faults(vec![Fault { file: String::new(), line: 1, place: String::new(), key: key.to_owned(), message }])
}
