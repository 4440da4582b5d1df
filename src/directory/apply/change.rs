//! One difference between file and directory, for people and for the audit.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::ids::{OrganizationId, ProviderId, ServiceId, UserId, WebhookId};

use super::settings::{Fact, NONE, Settings};

/// Something that was, or would be, created, changed or deleted. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which organization; the organization itself when that is what changes.
    pub organization_id: OrganizationId,
    /// That organization's slug.
    pub organization_slug: String,
    /// What it is about.
    pub subject: Subject,
    /// The subject's slug, or the address of a user or a webhook.
    pub name: String,
    /// What happens to it.
    pub action: Action,
}

/// What a [`Change`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The organization.
    Organization,
    /// One of its services.
    Service(ServiceId),
    /// One of its providers.
    Provider(ProviderId),
    /// One of its users.
    User(UserId),
    /// One of its webhooks.
    Webhook(WebhookId),
}

/// What happens to the subject of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It wasn't there. All its fields.
    Created(Vec<Field>),
    /// It was there. Its fields that differ.
    Changed(Vec<Field>),
    /// It was there, and the file doesn't name it.
    Deleted,
}

/// A key and its value, in words. Of a secret they say only what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key in the file.
    pub key: &'static str,
    /// What it was; none for what is new, and for secrets.
    pub from: Option<String>,
    /// What it is.
    pub to: String,
    /// Whether something new has it without being told.
    pub is_default: bool,
}

impl Field {
    /// What happens to a secret; `None` when it stays.
    pub(super) fn of_secret(key: &'static str, had: bool, wanted: bool, same: bool) -> Option<Self> {
        let to = match (had, wanted) {
            (false, true) => "set",
            (true, true) if !same => "changed",
            (true, false) => "removed",
            _ => return None,
        };
        Some(Self { key, from: None, to: to.to_owned(), is_default: false })
    }

    /// What becomes of the mark of something whose address was written over the network; `None` when it stays.
    pub(super) fn of_mark(had: Option<bool>, wanted: bool) -> Option<Self> {
        let from = had.map(|had| had.to_string());
        (had.unwrap_or(false) != wanted).then(|| Self {
            key: "public_only",
            from,
            to: wanted.to_string(),
            is_default: false,
        })
    }

    /// A secret that stays, and is kept under the installation's newer secret from now on.
    pub(super) fn of_renewed_secret(key: &'static str) -> Self {
        Self { key, from: None, to: "the same, under the newer secret".to_owned(), is_default: false }
    }
}

/// All fields of something new, with those that are as by default marked.
pub(super) fn fields_of_new<S: Settings>(defaults: &S, new: &S) -> Vec<Field> {
    /// What people look for first, whether they chose it or not.
    const TELLING: [&str; 2] = ["client_id", "kind"];
    let field = |((_, default), (key, to)): (Fact, Fact)| {
        let is_default = default == to && (to == NONE || !TELLING.contains(&key));
        Field { key, from: None, to, is_default }
    };
    defaults.facts().into_iter().zip(new.facts()).map(field).collect()
}

/// The fields in which something differs from what it was.
pub(super) fn fields_that_differ<S: Settings>(old: &S, new: &S) -> Vec<Field> {
    let differing = |((_, from), (key, to)): (Fact, Fact)| {
        (from != to).then_some(Field { key, from: Some(from), to, is_default: false })
    };
    old.facts().into_iter().zip(new.facts()).filter_map(differing).collect()
}

impl Subject {
    /// As files call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Service(_) => "service",
            Self::Provider(_) => "provider",
            Self::User(_) => "user",
            Self::Webhook(_) => "webhook",
        }
    }

    /// What goes with it when it is deleted.
    fn consequence(self) -> &'static str {
        match self {
            Self::Organization => "",
            Self::Service(_) => " and its sessions",
            Self::Provider(_) => " and its links to accounts",
            Self::User(_) => " and their sessions and factors",
            Self::Webhook(_) => " and what it has not been told yet",
        }
    }
}

impl Action {
    /// `created`, `changed` or `deleted`, and the fields.
    fn parts(&self) -> (&'static str, &[Field]) {
        match self {
            Self::Created(fields) => ("created", fields),
            Self::Changed(fields) => ("changed", fields),
            Self::Deleted => ("deleted", &[]),
        }
    }

    /// `created`, `changed` or `deleted`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.parts().0
    }

    /// What a key is to be, in words; `None`: it isn't said, or stays.
    #[must_use]
    pub fn to(&self, key: &str) -> Option<&str> {
        self.parts().1.iter().find(|field| field.key == key).map(|field| field.to.as_str())
    }
}

impl Change {
    /// The service that it is about.
    #[must_use]
    pub fn service_id(&self) -> Option<ServiceId> {
        if let Subject::Service(id) = self.subject { Some(id) } else { None }
    }

    /// The user that it is about.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        if let Subject::User(id) = self.subject { Some(id) } else { None }
    }

    /// For the audit: `{"by":"apply","action":"changed","what":"service","name":"cli","fields":{"name":{"from":…,"to":…}}}`.
    #[must_use]
    pub fn detail(&self) -> Value {
        self.detail_by(&"apply".into())
    }

    /// The same, of a change that somebody else made.
    #[must_use]
    pub fn detail_by(&self, by: &Value) -> Value {
        let (action, fields) = self.action.parts();
        let fields: Map<String, Value> = fields
            .iter()
            .map(|field| {
                let value = match &field.from {
                    Some(from) => json!({ "from": from, "to": field.to }),
                    None => json!({ "to": field.to }),
                };
                (field.key.to_owned(), value)
            })
            .collect();
        json!({ "by": by, "action": action, "what": self.subject.as_str(), "name": self.name, "fields": fields })
    }
}

/// One line that begins with `+`, `~` or `-`, and one line per field below it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, fields): (_, &[Field]) = match &self.action {
            Action::Created(fields) => ('+', fields),
            Action::Changed(fields) => ('~', fields),
            Action::Deleted => ('-', &[]),
        };
        write!(f, "{sign} {} {:?}", self.subject.as_str(), self.name)?;
        if self.subject != Subject::Organization {
            write!(f, " of {:?}", self.organization_slug)?;
        }
        if self.action == Action::Deleted {
            f.write_str(self.subject.consequence())?;
        }
        for Field { key, from, to, .. } in fields.iter().filter(|field| !field.is_default) {
            match from {
                Some(from) => write!(f, "\n    {key}: {from} → {to}")?,
                None => write!(f, "\n    {key}: {to}")?,
            }
        }
        Ok(())
    }
}
