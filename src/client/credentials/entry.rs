//! One login, as it is kept.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::client::SignedIn;
use crate::client::answer::Tokens;
use crate::client::claims::Claims;
use crate::client::secret::Secret;

/// Which login: at which server, as which client, of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginKey {
    /// The server.
    pub issuer: String,
    /// Who asked.
    pub client_id: String,
    /// `sub` of the id token, where there was one: two accounts at one server are two logins.
    pub subject: Option<String>,
}

/// What is known of a login without looking at its tokens.
#[derive(Clone, Debug)]
pub struct Login {
    /// Which one.
    pub key: LoginKey,
    /// The account in words: email address, user name, name or `sub`; safe to print.
    pub account: Option<String>,
    /// Granted scopes, separated by spaces, if told.
    pub scope: Option<String>,
    /// When it was approved.
    pub signed_in_at: Option<DateTime<Utc>>,
    /// Where its tokens are.
    pub kept_in: KeptIn,
}

/// Where tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptIn {
    /// In the operating system's keyring.
    Keyring,
    /// In this file.
    File(PathBuf),
}

impl fmt::Display for KeptIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => f.write_str("the keyring"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl KeptIn {
    /// A word for scripts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File(_) => "file",
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::Keyring => None,
            Self::File(path) => Some(path),
        }
    }
}

/// A login in the file. Without `tokens` they are in the keyring. Members that this version doesn't know stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) signed_in_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<KeptTokens>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Tokens and their time, in the file or in the keyring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptTokens {
    #[serde(serialize_with = "exposed")]
    pub(crate) access_token: Secret,
    pub(crate) token_type: String,
    #[serde(serialize_with = "exposed_if_any")]
    pub(crate) refresh_token: Option<Secret>,
    #[serde(serialize_with = "exposed_if_any")]
    pub(crate) id_token: Option<Secret>,
    pub(crate) obtained_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// The key that the tokens are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub(crate) dpop_key: Option<Secret>,
}

impl Entry {
    pub(crate) fn new(signed_in: &SignedIn, now: DateTime<Utc>) -> (Self, KeptTokens) {
        let claims = signed_in.tokens.id_token.as_ref().and_then(Claims::of_id_token);
        let entry = Self {
            issuer: signed_in.issuer.clone(),
            client_id: signed_in.client_id.clone(),
            subject: claims.as_ref().and_then(|claims| claims.text("sub")),
            account: claims.as_ref().and_then(Claims::account),
            scope: signed_in.granted_scope().map(str::to_owned),
            signed_in_at: Some(now),
            tokens: None,
            rest: Map::new(),
        };
        (entry, KeptTokens::new(&signed_in.tokens, signed_in.key.clone(), now))
    }

    /// An entry of the file's first form, tokens and all in one object. `None`: it is none.
    pub(super) fn from_first(issuer: String, client_id: String, entry: Value) -> Option<Self> {
        let scope = entry.get("scope").and_then(Value::as_str).map(str::to_owned);
        let tokens: KeptTokens = serde_json::from_value(entry).ok()?;
        let claims = tokens.id_token.as_ref().and_then(Claims::of_id_token);
        Some(Self {
            issuer,
            client_id,
            subject: claims.as_ref().and_then(|claims| claims.text("sub")),
            account: claims.as_ref().and_then(Claims::account),
            scope,
            signed_in_at: Some(tokens.obtained_at),
            tokens: Some(tokens),
            rest: Map::new(),
        })
    }

    pub(crate) fn key(&self) -> LoginKey {
        LoginKey { issuer: self.issuer.clone(), client_id: self.client_id.clone(), subject: self.subject.clone() }
    }

    /// Whether a new login of `key` takes this one's place: the same account, or one that was never named.
    pub(crate) fn gives_way_to(&self, key: &LoginKey) -> bool {
        self.issuer == key.issuer
            && self.client_id == key.client_id
            && (self.subject.is_none() || self.subject == key.subject)
    }
}

impl KeptTokens {
    fn new(tokens: &Tokens, dpop_key: Option<Secret>, now: DateTime<Utc>) -> Self {
        Self {
            access_token: tokens.access_token.clone(),
            token_type: tokens.token_type.clone(),
            refresh_token: tokens.refresh_token.clone(),
            id_token: tokens.id_token.clone(),
            obtained_at: now,
            expires_at: tokens.expires_in.map(|life| now + life),
            dpop_key,
        }
    }

    /// What a refresh answered, in place of these: what it doesn't mention stays (RFC 6749 §6).
    pub(crate) fn refreshed(&self, tokens: &Tokens, now: DateTime<Utc>) -> Self {
        let new = Self::new(tokens, self.dpop_key.clone(), now);
        Self {
            refresh_token: new.refresh_token.or_else(|| self.refresh_token.clone()),
            id_token: new.id_token.or_else(|| self.id_token.clone()),
            ..new
        }
    }

    /// Whether the access token is good for `time` from now. One whose life was never told is taken to be.
    pub(crate) fn good_for(&self, time: TimeDelta, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| end > now + time)
    }
}

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
fn exposed_if_any<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}
