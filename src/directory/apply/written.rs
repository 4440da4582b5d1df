//! What is stored, as a program reads it: the keys of the files and their values.
//!
//! Scopes are a list here, since a JSON object keeps no order and people are asked in one.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::directory::fresh_proof::Factor;
use crate::directory::organization::{MfaPolicy, Organization};
use crate::directory::provider::{Admission, Provider};
use crate::directory::service::Scope;
use crate::ids::{OrganizationId, ServiceId};
use crate::postgres::PgConnection;

use super::read::meaningless;
use super::settings::{ServiceSettings, duration};
use super::stored;

/// Which of an organization's things, in the order of their slugs. The default is all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Select<'a> {
    /// The one with this slug.
    pub only: Option<&'a str>,
    /// Those after this slug.
    pub after: Option<&'a str>,
    /// So many of them.
    pub most: Option<i64>,
}

/// A service as it is stored.
#[derive(Clone, Debug)]
pub struct WrittenService {
    /// Its id.
    pub id: ServiceId,
    /// Its slug.
    pub slug: String,
    /// Whether it has a secret.
    pub confidential: bool,
    /// When it came to be.
    pub created_at: DateTime<Utc>,
    /// Every key that a file can give it, but its secret. `null`: the key is not given.
    pub members: Map<String, Value>,
}

/// Services of an organization.
pub async fn services_as_written(
    conn: &mut PgConnection,
    organization: OrganizationId,
    select: Select<'_>,
) -> Result<Vec<WrittenService>, sqlx::Error> {
    let stored = stored::services(conn, organization, select).await?;
    let written = stored.into_iter().map(|stored| WrittenService {
        id: stored.id,
        slug: stored.settings.slug.clone(),
        confidential: stored.secret_mac.is_some(),
        created_at: stored.created_at,
        members: service(&stored.settings),
    });
    Ok(written.collect())
}

/// The keys of an organization but for what it owns.
#[must_use]
pub fn organization_as_written(organization: &Organization) -> Map<String, Value> {
    members([
        ("slug", json!(organization.slug)),
        ("name", json!(organization.name)),
        ("status", json!(organization.status.as_str())),
        ("mfa", json!(organization.mfa.as_str())),
    ])
}

/// The keys of a provider, but its secret. `null`: the key is not given, or means nothing to one of this kind.
#[must_use]
pub fn provider_as_written(provider: &Provider) -> Map<String, Value> {
    let admit = match &provider.admission {
        Admission::Domains(domains) => json!({ "domains": domains }),
        Admission::Groups(groups) => json!({ "groups": groups }),
        Admission::Invited | Admission::Anyone => json!(provider.admission.stored().0),
    };
    let mut written = members([
        ("slug", json!(provider.slug)),
        ("kind", json!(provider.kind.as_str())),
        ("name", json!(provider.name)),
        ("issuer", json!(provider.issuer)),
        ("api_url", json!(provider.api_url)),
        ("client_id", json!(provider.client_id)),
        ("extra_scopes", json!(provider.extra_scopes)),
        ("admit", admit),
        ("groups_claim", json!(provider.groups_claim)),
        ("trust_mfa", json!(provider.trust_mfa)),
    ]);
    for key in meaningless(provider.kind) {
        written.entry(*key).and_modify(|value| *value = Value::Null);
    }
    written
}

fn service(settings: &ServiceSettings) -> Map<String, Value> {
    let lifetime = |lifetime| json!(duration(lifetime));
    let networks: Vec<String> = settings.trusted_networks.iter().map(ToString::to_string).collect();
    members([
        ("slug", json!(settings.slug)),
        ("name", json!(settings.name)),
        ("client_id", json!(settings.client_id)),
        ("device_login", json!(settings.device_login)),
        ("scopes", settings.scopes.iter().map(scope).collect()),
        ("default_scopes", json!(settings.default_scopes)),
        ("required_scopes", json!(settings.required_scopes)),
        ("code_lifetime", lifetime(settings.code_lifetime)),
        ("interval", json!(settings.interval)),
        ("access_token_lifetime", lifetime(settings.access_token_lifetime)),
        ("refresh", json!(settings.refresh.as_str())),
        ("refresh_idle", lifetime(settings.refresh_idle)),
        ("refresh_absolute", lifetime(settings.refresh_absolute)),
        ("prefill", json!(settings.prefill)),
        ("proximity", json!(settings.proximity.as_str())),
        ("verification", json!(settings.verification.as_str())),
        ("trusted_networks", json!(networks)),
        ("verified", json!(settings.verified)),
        ("mfa", json!(settings.mfa.map(MfaPolicy::as_str))),
        ("mfa_max_age", json!(settings.mfa_max_age.map(duration))),
        ("max_age", json!(settings.fresh_proof.max_age.map(duration))),
        ("factor", json!(settings.fresh_proof.factor.map(Factor::as_str))),
        ("id_token_algorithm", json!(settings.id_token_algorithm.as_str())),
        ("activation_uri", json!(settings.activation_uri)),
        ("resource_server", json!(settings.resource_server)),
        ("dpop", json!(settings.dpop.as_str())),
        ("resources", json!(settings.resources)),
    ])
}

fn scope(Scope { name, text, fresh_proof }: &Scope) -> Value {
    let mut written = members([("name", json!(name)), ("text", json!(text))]);
    written.extend(fresh_proof.max_age.map(|age| ("max_age".to_owned(), json!(duration(age)))));
    written.extend(fresh_proof.factor.map(|factor| ("factor".to_owned(), json!(factor.as_str()))));
    written.into()
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
