//! Services: the tools that people log in to, OAuth's clients.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::ids::{OrganizationId, ServiceId};
use crate::postgres::PgConnection;
use crate::secrets::{Keyring, Purpose, SecretText};

use super::fresh_proof::{Factor, FreshProof};
use super::organization::{MfaPolicy, Status};
use super::{stored_as_text, word};

/// The scopes that every service may be asked for, with the words in which a person is asked.
pub const COMMON_SCOPES: [(&str, &str); 4] = [
    ("openid", "Know who you are"),
    ("profile", "See your name"),
    ("email", "See your e-mail address"),
    ("offline_access", "Stay signed in until you end it"),
];

/// A tool that people log in to, with what holds of its organization.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Which version of its row and its organization's this was read from: PostgreSQL has another one after each change. Services are
    /// remembered, and whoever writes on their account compares it.
    pub version: String,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The organization's slug.
    pub organization_slug: String,
    /// The organization's name.
    pub organization_name: String,
    /// Whether anybody can log in.
    pub organization_status: Status,
    /// Its name in URLs and files.
    pub slug: String,
    /// Its name to people.
    pub name: String,
    /// Its name in OAuth requests.
    pub client_id: String,
    /// MAC of its secret; without one it is a public client.
    pub client_secret_mac: Option<Vec<u8>>,
    /// Under which secret of the installation that was made ([`Keyring::current_id`]); `None`: before this was written down.
    pub client_secret_key: Option<Vec<u8>>,
    /// Whether device login is switched on.
    pub device_login: bool,
    /// Its own scopes, in the order in which they are shown.
    pub scopes: Vec<Scope>,
    /// What is granted when nothing is asked.
    pub default_scopes: Vec<String>,
    /// What can't be unticked.
    pub required_scopes: Vec<String>,
    /// How long a code can be approved.
    pub code_lifetime: Duration,
    /// Seconds between polls.
    pub poll_interval: u8,
    /// How long an access token is good.
    pub access_token_lifetime: Duration,
    /// When a refresh token is given.
    pub refresh: Refresh,
    /// How long a session lives unused.
    pub refresh_idle: Duration,
    /// How long a session lives at most.
    pub refresh_absolute: Duration,
    /// Whether the code may stand in a link.
    pub prefill: bool,
    /// What another network than the device's means.
    pub proximity: Proximity,
    /// What the person has to type into the device after approving.
    pub verification: Verification,
    /// Networks whose devices count as near to everybody, however many people's they are.
    pub trusted_networks: Vec<IpNet>,
    /// Whether somebody responsible has looked at it.
    pub verified: bool,
    /// The stricter of the organization's policy and the service's.
    pub mfa: MfaPolicy,
    /// How old a proof of the same browser may be.
    pub mfa_max_age: Option<Duration>,
    /// What has to be proven for every login, whatever it asks for.
    pub fresh_proof: FreshProof,
    /// What signs `id_token`s: `RS256` or `ES256`.
    pub id_token_algorithm: String,
    /// The organization's own activation page.
    pub activation_uri: Option<String>,
    /// Whether it may introspect the tokens of its organization.
    pub resource_server: bool,
    /// Whether its tokens are bound to a key of the device.
    pub dpop: Dpop,
    /// The APIs for which it may ask for tokens (RFC 8707): absolute URIs without a fragment.
    pub resources: Vec<String>,
}

/// A scope of a service's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// As clients ask for it.
    pub name: String,
    /// The words in which a person is asked for it.
    pub text: String,
    /// What has to be proven for it.
    pub fresh_proof: FreshProof,
}

impl Scope {
    /// Scopes as a row holds them: `[["read", "Read your projects"], ["deploy", "…", {"max_age": 300, "factor": "mfa"}]]`,
    /// since a JSON object keeps no order. The third member is there only when it says something.
    #[must_use]
    pub fn stored_form(scopes: &[Self]) -> Value {
        let one = |Self { name, text, fresh_proof }: &Self| {
            let mut asked = serde_json::Map::new();
            asked.extend(fresh_proof.max_age.map(|age| ("max_age".to_owned(), json!(age.as_secs()))));
            asked.extend(fresh_proof.factor.map(|factor| ("factor".to_owned(), json!(factor.as_str()))));
            if asked.is_empty() { json!([name, text]) } else { json!([name, text, asked]) }
        };
        scopes.iter().map(one).collect()
    }

    /// Reads them.
    pub(crate) fn read(scopes: Value) -> Result<Vec<Self>, sqlx::Error> {
        #[derive(Default, serde::Deserialize)]
        struct Asked {
            max_age: Option<u32>,
            factor: Option<Factor>,
        }
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Plain(String, String),
            Asking(String, String, Asked),
        }
        let stored: Vec<Stored> =
            serde_json::from_value(scopes).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let one = |stored| {
            let (name, text, asked) = match stored {
                Stored::Plain(name, text) => (name, text, Asked::default()),
                Stored::Asking(name, text, asked) => (name, text, asked),
            };
            let max_age = asked.max_age.map(|seconds| Duration::from_secs(u64::from(seconds)));
            Self { name, text, fresh_proof: FreshProof { max_age, factor: asked.factor } }
        };
        Ok(stored.into_iter().map(one).collect())
    }
}

/// When a refresh token is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// With the scope `offline_access` (OpenID Connect Core §11).
    OfflineAccess,
    /// Always.
    Always,
    /// Never.
    Never,
}
stored_as_text!("refresh policy", Refresh { OfflineAccess = "offline_access", Always = "always", Never = "never" });

/// What it means that the approver is on another network than the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proximity {
    /// Nothing.
    Off,
    /// The page says so.
    Warn,
    /// It can't be approved.
    Block,
}
stored_as_text!("proximity", Proximity { Off = "off", Warn = "warn", Block = "block" });

/// What the person has to type into the device after approving, as a proof that they sit at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing.
    Off,
    /// The number that the page shows.
    Number,
}
stored_as_text!("verification", Verification { Off = "off", Number = "number" });

/// Whether tokens are bound to a key that the device proves to hold (RFC 9449).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dpop {
    /// Never: a proof is ignored, unless a login was bound before.
    Off,
    /// When the client proves a key.
    Optional,
    /// Always, and each proof carries a nonce of this server.
    Required,
}
stored_as_text!("DPoP policy", Dpop { Off = "off", Optional = "optional", Required = "required" });

impl Service {
    /// Whether it authenticates with a secret.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        self.client_secret_mac.is_some()
    }

    /// The words in which a person is asked for `scope`; `None` when the service can't ask for it.
    #[must_use]
    pub fn describe_scope(&self, scope: &str) -> Option<&str> {
        let own = self.scopes.iter().find(|own| own.name == scope).map(|own| own.text.as_str());
        own.or_else(|| COMMON_SCOPES.iter().find(|(name, _)| *name == scope).map(|(_, words)| *words))
    }

    /// What a login that asks for these scopes has to prove: the strictest of what each of them and the service ask.
    #[must_use]
    pub fn asks_to_prove(&self, scopes: &[String]) -> FreshProof {
        let asked = self.scopes.iter().filter(|own| scopes.contains(&own.name));
        asked.fold(self.fresh_proof, |all, scope| all.and(scope.fresh_proof))
    }

    /// Whether a refresh token comes with these scopes.
    #[must_use]
    pub fn gives_refresh_token(&self, granted: &[String]) -> bool {
        match self.refresh {
            Refresh::Always => true,
            Refresh::Never => false,
            Refresh::OfflineAccess => granted.iter().any(|scope| scope == "offline_access"),
        }
    }

    /// Whether `secret` is this client's.
    #[must_use]
    pub fn has_secret(&self, keyring: &Keyring, secret: &SecretText) -> bool {
        self.client_secret_mac.as_deref().is_some_and(|mac| {
            keyring.verify(Purpose::ClientSecret, &[self.client_id.as_bytes(), secret.expose().as_bytes()], mac)
        })
    }
}

/// The keyed hash under which a client's secret is kept. Whoever stores it stores [`Keyring::current_id`] with it.
#[must_use]
pub fn client_secret_mac(keyring: &Keyring, client_id: &str, secret: &SecretText) -> Vec<u8> {
    keyring.mac(Purpose::ClientSecret, &[client_id.as_bytes(), secret.expose().as_bytes()]).to_vec()
}

/// Finds the services with these `client_id`s, each once, in any order.
pub async fn by_client_ids(conn: &mut PgConnection, client_ids: &[String]) -> Result<Vec<Service>, sqlx::Error> {
    find(conn, client_ids, None).await
}

/// Finds a service by its `client_id`.
pub async fn by_client_id(conn: &mut PgConnection, client_id: &str) -> Result<Option<Service>, sqlx::Error> {
    Ok(by_client_ids(conn, &[client_id.to_owned()]).await?.pop())
}

/// Finds a service by id.
pub async fn by_id(conn: &mut PgConnection, id: ServiceId) -> Result<Option<Service>, sqlx::Error> {
    Ok(find(conn, &[], Some(id)).await?.pop())
}

async fn find(
    conn: &mut PgConnection,
    client_ids: &[String],
    id: Option<ServiceId>,
) -> Result<Vec<Service>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT s.*, o.slug AS organization_slug, o.name AS organization_name,
                  o.status AS organization_status, o.mfa AS organization_mfa,
                  s.mfa AS "service_mfa?", s.xmin::text || '.' || o.xmin::text AS "version!"
           FROM service s JOIN organization o ON o.id = s.organization_id
           WHERE s.client_id = ANY($1) OR s.id = $2"#,
        client_ids,
        id.map(|id| id.0),
    )
    .fetch_all(conn)
    .await?;
    let mut services = Vec::with_capacity(rows.len());
    for row in rows {
        let organization_mfa: MfaPolicy = word(&row.organization_mfa)?;
        services.push(Service {
            id: row.id.into(),
            version: row.version,
            organization_id: row.organization_id.into(),
            organization_slug: row.organization_slug,
            organization_name: row.organization_name,
            organization_status: word(&row.organization_status)?,
            slug: row.slug,
            name: row.name,
            client_id: row.client_id,
            client_secret_mac: row.client_secret_mac,
            client_secret_key: row.client_secret_key,
            device_login: row.device_login,
            scopes: Scope::read(row.scopes)?,
            default_scopes: row.default_scopes,
            required_scopes: row.required_scopes,
            code_lifetime: seconds(row.code_lifetime_seconds),
            poll_interval: u8::try_from(row.poll_interval_seconds).unwrap_or(5),
            access_token_lifetime: seconds(row.access_token_lifetime_seconds),
            refresh: word(&row.refresh)?,
            refresh_idle: seconds(row.refresh_idle_seconds),
            refresh_absolute: seconds(row.refresh_absolute_seconds),
            prefill: row.prefill,
            proximity: word(&row.proximity)?,
            verification: word(&row.verification)?,
            trusted_networks: row.trusted_networks,
            verified: row.verified,
            mfa: organization_mfa.stricter(row.service_mfa.as_deref().map(word).transpose()?),
            mfa_max_age: row.mfa_max_age_seconds.map(seconds),
            fresh_proof: FreshProof::stored(row.max_age_seconds, row.factor.as_deref())?,
            id_token_algorithm: row.id_token_algorithm,
            activation_uri: row.activation_uri,
            resource_server: row.resource_server,
            dpop: word(&row.dpop)?,
            resources: row.resources,
        });
    }
    Ok(services)
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::from(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_this_and_older_versions_stored_them() {
        let stored = json!([["read", "Read"], ["deploy", "Deploy", { "max_age": 0, "factor": "otp" }]]);
        let scopes = Scope::read(stored.clone()).unwrap();
        assert_eq!(Scope::stored_form(&scopes), stored);
        let asked: Vec<FreshProof> = scopes.iter().map(|scope| scope.fresh_proof).collect();
        let now = FreshProof { max_age: Some(Duration::ZERO), factor: Some(Factor::Otp) };
        assert_eq!(asked, [FreshProof::default(), now]);
        assert!(Scope::read(json!([["read", "Read", { "factor": "sms" }]])).is_err());
        assert!(Scope::read(json!([["read", "Read", { "max_age": -1 }]])).is_err());
    }
}
