//! What the database holds of an organization that a file names.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::directory::fresh_proof::FreshProof;
use crate::directory::provider::{self, Provider};
use crate::directory::service::Scope;
use crate::directory::webhook::{self, Webhook};
use crate::directory::{organization, word};
use crate::ids::{OrganizationId, ProviderId, ServiceId, UserId};
use crate::postgres::PgConnection;

use super::Select;
use super::file::Organization;
use super::settings::{OrganizationSettings, ProviderSettings, ServiceSettings, UserSettings, WebhookSettings};

/// An organization and what it owns.
pub(super) struct Stored {
    pub id: OrganizationId,
    pub settings: OrganizationSettings,
    pub services: Vec<StoredService>,
    pub providers: Vec<StoredProvider>,
    /// Those that the file names, or everybody.
    pub users: Vec<StoredUser>,
    pub webhooks: Vec<StoredWebhook>,
}

pub(super) struct StoredService {
    pub id: ServiceId,
    pub settings: ServiceSettings,
    pub secret_mac: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
}

pub(super) struct StoredProvider {
    pub provider: Provider,
    pub settings: ProviderSettings,
    /// How many people's accounts there are linked.
    pub linked: i64,
}

pub(super) struct StoredUser {
    pub id: UserId,
    /// Its address is empty for those who have none.
    pub settings: UserSettings,
    pub password_hash: Option<String>,
    /// Where they have accounts.
    pub linked: Vec<ProviderId>,
}

pub(super) struct StoredWebhook {
    pub webhook: Webhook,
    pub settings: WebhookSettings,
}

/// Reads the organization of the same slug. `everybody`: also users whom the file doesn't name.
pub(super) async fn load(
    conn: &mut PgConnection,
    wanted: &Organization,
    everybody: bool,
) -> Result<Option<Stored>, sqlx::Error> {
    let Some(id) = organization::id_by_slug(conn, &wanted.settings.slug).await? else {
        return Ok(None);
    };
    let Some(found) = organization::by_id(conn, id).await? else {
        return Ok(None);
    };
    let emails: Vec<String> = wanted.users.iter().map(|user| user.settings.email.clone()).collect();
    Ok(Some(Stored {
        id,
        settings: OrganizationSettings { slug: found.slug, name: found.name, status: found.status, mfa: found.mfa },
        services: services(conn, id, Select::default()).await?,
        providers: providers(conn, id).await?,
        users: users(conn, id, &emails, everybody).await?,
        webhooks: webhooks(conn, id).await?,
    }))
}

async fn webhooks(conn: &mut PgConnection, id: OrganizationId) -> Result<Vec<StoredWebhook>, sqlx::Error> {
    let webhooks = webhook::of_organization(conn, id).await?.into_iter().map(|webhook| {
        let settings = WebhookSettings { url: webhook.url.clone(), events: webhook.events.clone() };
        StoredWebhook { webhook, settings }
    });
    Ok(webhooks.collect())
}

pub(super) async fn services(
    conn: &mut PgConnection,
    id: OrganizationId,
    select: Select<'_>,
) -> Result<Vec<StoredService>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT * FROM service
         WHERE organization_id = $1 AND ($2::text IS NULL OR slug = $2) AND ($3::text IS NULL OR slug > $3)
         ORDER BY slug LIMIT $4",
        id.0,
        select.only,
        select.after,
        select.most,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let settings = ServiceSettings {
                slug: row.slug,
                name: row.name,
                client_id: row.client_id,
                device_login: row.device_login,
                scopes: Scope::read(row.scopes)?,
                default_scopes: row.default_scopes,
                required_scopes: row.required_scopes,
                code_lifetime: seconds(row.code_lifetime_seconds),
                interval: u8::try_from(row.poll_interval_seconds)
                    .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                access_token_lifetime: seconds(row.access_token_lifetime_seconds),
                refresh: word(&row.refresh)?,
                refresh_idle: seconds(row.refresh_idle_seconds),
                refresh_absolute: seconds(row.refresh_absolute_seconds),
                prefill: row.prefill,
                proximity: word(&row.proximity)?,
                verification: word(&row.verification)?,
                trusted_networks: row.trusted_networks,
                verified: row.verified,
                mfa: row.mfa.as_deref().map(word).transpose()?,
                mfa_max_age: row.mfa_max_age_seconds.map(seconds),
                fresh_proof: FreshProof::stored(row.max_age_seconds, row.factor.as_deref())?,
                id_token_algorithm: word(&row.id_token_algorithm)?,
                activation_uri: row.activation_uri,
                resource_server: row.resource_server,
                dpop: word(&row.dpop)?,
                resources: row.resources,
            };
            Ok(StoredService {
                id: row.id.into(),
                settings,
                secret_mac: row.client_secret_mac,
                created_at: row.created_at,
            })
        })
        .collect()
}

async fn providers(conn: &mut PgConnection, id: OrganizationId) -> Result<Vec<StoredProvider>, sqlx::Error> {
    let mut stored = Vec::new();
    for provider in provider::of_organization(conn, id).await? {
        let linked =
            sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM identity WHERE provider_id = $1"#, provider.id.0)
                .fetch_one(&mut *conn)
                .await?;
        let settings = ProviderSettings {
            slug: provider.slug.clone(),
            kind: provider.kind,
            name: provider.name.clone(),
            issuer: provider.issuer.clone(),
            api_url: provider.api_url.clone(),
            client_id: provider.client_id.clone(),
            extra_scopes: provider.extra_scopes.clone(),
            admit: provider.admission.clone(),
            groups_claim: provider.groups_claim.clone(),
            trust_mfa: provider.trust_mfa,
        };
        stored.push(StoredProvider { provider, settings, linked });
    }
    Ok(stored)
}

async fn users(
    conn: &mut PgConnection,
    id: OrganizationId,
    emails: &[String],
    everybody: bool,
) -> Result<Vec<StoredUser>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id, email, name, role, status, password_hash,
                  ARRAY(SELECT provider_id FROM identity WHERE user_id = app_user.id) AS "linked!"
           FROM app_user
           WHERE organization_id = $1 AND ($2 OR email = ANY($3))
           ORDER BY email, id"#,
        id.0,
        everybody,
        emails,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let settings = UserSettings {
                email: row.email.unwrap_or_default(),
                name: row.name,
                role: word(&row.role)?,
                status: word(&row.status)?,
            };
            let linked = row.linked.into_iter().map(ProviderId).collect();
            Ok(StoredUser { id: row.id.into(), settings, password_hash: row.password_hash, linked })
        })
        .collect()
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::from(seconds.unsigned_abs()))
}
