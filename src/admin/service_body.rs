//! A service as the document describes it. `apply` reads and writes it by name.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::ServiceId;

/// A tool that people log in to. All but `slug` may be left out, and has the default that docs/directory.md names.
#[derive(Serialize, ToSchema)]
pub struct Service {
    /// Its id.
    #[schema(read_only)]
    pub id: Option<ServiceId>,
    /// The slug of its organization.
    #[schema(read_only)]
    pub organization: Option<String>,
    /// When it was made.
    #[schema(read_only)]
    pub created_at: Option<DateTime<Utc>>,
    /// Whether it has a secret. When it is made, and not later: `true` draws one.
    pub confidential: Option<bool>,
    /// What can be changed.
    #[serde(flatten)]
    pub change: ServiceChange,
}

/// What can be said of a service that is there.
#[derive(Serialize, ToSchema)]
pub struct ServiceChange {
    /// Its secret, of at least 22 characters; `null`: it has none, and is public. Told once, by the answer that drew it.
    #[schema(min_length = 22)]
    pub client_secret: Option<String>,
    /// Its name in addresses and files. It never changes.
    #[schema(example = "cli")]
    pub slug: Option<String>,
    /// Its name to people.
    pub name: Option<String>,
    /// Its name in OAuth requests.
    #[schema(example = "acme-cli")]
    pub client_id: Option<String>,
    /// Whether people can log in to it.
    pub device_login: Option<bool>,
    /// Its own scopes, in the order in which people are asked.
    pub scopes: Option<Vec<Scope>>,
    /// What is granted when nothing is asked.
    pub default_scopes: Option<Vec<String>>,
    /// What can't be unticked.
    pub required_scopes: Option<Vec<String>>,
    /// How long a code can be approved.
    #[schema(example = "15m")]
    pub code_lifetime: Option<String>,
    /// Seconds between polls.
    #[schema(minimum = 1)]
    pub interval: Option<u8>,
    /// How long an access token is good.
    #[schema(example = "15m")]
    pub access_token_lifetime: Option<String>,
    /// `offline_access`, `always` or `never`.
    pub refresh: Option<String>,
    /// How long a session lives unused.
    #[schema(example = "30d")]
    pub refresh_idle: Option<String>,
    /// How long a session lives at most.
    #[schema(example = "90d")]
    pub refresh_absolute: Option<String>,
    /// Whether the code may stand in a link.
    pub prefill: Option<bool>,
    /// `off`, `warn` or `block`.
    pub proximity: Option<String>,
    /// `off` or `number`.
    pub verification: Option<String>,
    /// Networks whose devices count as near to everybody.
    pub trusted_networks: Option<Vec<String>>,
    /// Whether somebody responsible has looked at it.
    pub verified: Option<bool>,
    /// `required`, `if_enrolled` or `off`; `null`: as the organization says.
    pub mfa: Option<String>,
    /// How old a proof of the same browser may be; `null`: each device asks again.
    pub mfa_max_age: Option<String>,
    /// How fresh every proof has to be.
    pub max_age: Option<String>,
    /// `mfa` or `otp`.
    pub factor: Option<String>,
    /// `RS256`, `ES256` or `EdDSA`.
    pub id_token_algorithm: Option<String>,
    /// The organization's own activation page.
    pub activation_uri: Option<String>,
    /// Whether it may introspect the tokens of its organization.
    pub resource_server: Option<bool>,
    /// `off`, `optional` or `required`.
    pub dpop: Option<String>,
    /// The APIs for which it may ask for tokens (RFC 8707).
    pub resources: Option<Vec<String>>,
}

/// A scope of a service's own.
#[derive(Serialize, ToSchema)]
pub struct Scope {
    /// As clients ask for it.
    #[schema(example = "read")]
    pub name: String,
    /// The words in which a person is asked.
    #[schema(example = "Read your projects")]
    pub text: String,
    /// How fresh the proof has to be.
    #[schema(nullable = false)]
    pub max_age: Option<String>,
    /// `mfa` or `otp`.
    #[schema(nullable = false)]
    pub factor: Option<String>,
}

/// A secret, told once.
#[derive(Serialize, ToSchema)]
pub struct NewSecret {
    /// 256 bits, as base64url.
    pub client_secret: String,
}
