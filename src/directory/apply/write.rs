//! Writes a plan, in the caller's transaction.
//!
//! 1. Passwords are hashed before ([`hashes`]), which takes long: whoever logs in to a service waits while its row is written.
//! 2. Deletes, which frees names.
//! 3. Takes the client ids of services that get another one, so that two services can swap theirs.
//! 4. Adds and updates, organization before what it owns, each by id: updates keep ids, and all that hangs on them.
//! 5. Invites anew who lost the only way in.

use std::time::Duration;

use crate::directory::fresh_proof::Factor;
use crate::directory::service::Scope;
use crate::ids::{OrganizationId, ProviderId, ServiceId, UserId, WebhookId};
use crate::postgres::PgConnection;
use crate::secrets::{Sealed, SecretText};

use super::plan::{Secret, Step, Work};
use super::settings::{OrganizationSettings, ProviderSettings, ServiceSettings, UserSettings, WebhookSettings};
use super::{ApplyError, OWN_SERVICE, Subject, Tools};

/// For each step the hash of the password that it gives somebody.
pub(super) async fn hashes(tools: &Tools<'_>, steps: &[Step]) -> Result<Vec<Option<String>>, ApplyError> {
    let mut hashes = Vec::with_capacity(steps.len());
    for step in steps {
        hashes.push(hash(tools, &step.work).await?);
    }
    Ok(hashes)
}

/// Executes every step, with its [hash](hashes).
pub(super) async fn write(
    conn: &mut PgConnection,
    tools: &Tools<'_>,
    steps: &[Step],
    hashes: Vec<Option<String>>,
) -> Result<(), ApplyError> {
    for step in steps {
        delete(conn, &step.work).await?;
    }
    free_client_ids(conn, steps).await?;
    for (Step { change, work }, hash) in steps.iter().zip(hashes) {
        let writing = Writing { conn: &mut *conn, tools, organization: change.organization_id };
        match work {
            Work::Organization(id, settings) => writing.organization(*id, settings).await?,
            Work::Service { id, settings, secret_mac, .. } => writing.service(*id, settings, secret_mac).await?,
            Work::Provider { id, settings, secret, unlink, public_only } => {
                writing.provider(*id, settings, secret, (*unlink, *public_only)).await?;
            }
            Work::User { id, settings, password } => writing.user(*id, settings, password, hash).await?,
            Work::Webhook { id, settings, secret, public_only } => {
                writing.webhook(*id, settings, secret, *public_only).await?;
            }
            Work::DeleteService(_) | Work::DeleteProvider(_) | Work::DeleteUser(_) | Work::DeleteWebhook(_) => {}
        }
    }
    for step in steps {
        if let Work::Organization(id, _) = step.work {
            add_own_service(conn, tools, id).await?;
        }
        if let Work::DeleteProvider(_) | Work::Provider { unlink: true, .. } = step.work {
            invite_who_cannot_sign_in(conn, step.change.organization_id).await?;
        }
    }
    Ok(())
}

/// The hash of the password that this step gives somebody.
async fn hash(tools: &Tools<'_>, work: &Work) -> Result<Option<String>, ApplyError> {
    let Work::User { password: Secret::Put(password), .. } = work else { return Ok(None) };
    let hash = tools.passwords.hash(password).await;
    if hash.is_empty() { Err(ApplyError::NotHashed) } else { Ok(Some(hash)) }
}

/// Each organization is administered with a service of its own, from its first moment, whether a file names it or not.
/// Where somebody else has its client id there is none until a file gives it another.
async fn add_own_service(conn: &mut PgConnection, tools: &Tools<'_>, id: OrganizationId) -> Result<(), sqlx::Error> {
    let slug = sqlx::query_scalar!(
        "SELECT slug FROM organization o WHERE id = $1
           AND NOT EXISTS (SELECT FROM service WHERE organization_id = o.id AND slug = $2)
           AND NOT EXISTS (SELECT FROM service WHERE client_id = o.slug || '-' || $2)",
        id.0,
        OWN_SERVICE,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(slug) = slug else { return Ok(()) };
    let settings = ServiceSettings::of(&slug, OWN_SERVICE.to_owned());
    let writing = Writing { conn, tools, organization: id };
    writing.service(ServiceId(tools.new_id()), &settings, &Secret::Remove).await
}

/// Deletes one thing by itself; whoever lost the only way in by that is invited anew.
pub(super) async fn delete_one(
    conn: &mut PgConnection,
    organization: OrganizationId,
    subject: Subject,
) -> Result<(), sqlx::Error> {
    let work = match subject {
        Subject::Organization => {
            sqlx::query!("DELETE FROM organization WHERE id = $1", organization.0).execute(conn).await?;
            return Ok(());
        }
        Subject::Service(id) => Work::DeleteService(id),
        Subject::Provider(id) => Work::DeleteProvider(id),
        Subject::User(id) => Work::DeleteUser(id),
        Subject::Webhook(id) => Work::DeleteWebhook(id),
    };
    delete(conn, &work).await?;
    if let Work::DeleteProvider(_) = work {
        invite_who_cannot_sign_in(conn, organization).await?;
    }
    Ok(())
}

async fn delete(conn: &mut PgConnection, work: &Work) -> Result<(), sqlx::Error> {
    match work {
        Work::DeleteService(id) => sqlx::query!("DELETE FROM service WHERE id = $1", id.0).execute(conn).await?,
        Work::DeleteProvider(id) => sqlx::query!("DELETE FROM provider WHERE id = $1", id.0).execute(conn).await?,
        Work::DeleteUser(id) => sqlx::query!("DELETE FROM app_user WHERE id = $1", id.0).execute(conn).await?,
        Work::DeleteWebhook(id) => sqlx::query!("DELETE FROM webhook WHERE id = $1", id.0).execute(conn).await?,
        _ => return Ok(()),
    };
    Ok(())
}

async fn free_client_ids(conn: &mut PgConnection, steps: &[Step]) -> Result<(), sqlx::Error> {
    for step in steps {
        if let Work::Service { id, new_client_id: true, .. } = step.work {
            sqlx::query!("UPDATE service SET client_id = id::text WHERE id = $1", id.0).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Somebody who was known by a subject that is gone comes back by their address, as the first time.
async fn invite_who_cannot_sign_in(conn: &mut PgConnection, organization: OrganizationId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE app_user SET status = 'invited'
         WHERE organization_id = $1 AND status = 'active' AND email IS NOT NULL AND password_hash IS NULL
           AND NOT EXISTS (SELECT FROM identity WHERE user_id = app_user.id)",
        organization.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Writing<'a> {
    conn: &'a mut PgConnection,
    tools: &'a Tools<'a>,
    organization: OrganizationId,
}

impl Writing<'_> {
    async fn organization(self, id: OrganizationId, settings: &OrganizationSettings) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO organization (id, slug, name, status, mfa, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, status = excluded.status, mfa = excluded.mfa",
            id.0,
            settings.slug,
            settings.name,
            settings.status.as_str(),
            settings.mfa.as_str(),
            self.tools.clock.now(),
        )
        .execute(self.conn)
        .await?;
        Ok(())
    }

    async fn service(
        self,
        id: ServiceId,
        settings: &ServiceSettings,
        secret_mac: &Secret<Vec<u8>>,
    ) -> Result<(), sqlx::Error> {
        let (keep, mac) = secret_mac.parameters(Vec::as_slice);
        // The plan made it, under the current secret of the same keyring.
        let key = mac.map(|_| self.tools.keyring.current_id());
        sqlx::query!(
            "INSERT INTO service (
                 id, organization_id, slug, name, client_id, client_secret_mac, device_login,
                 scopes, default_scopes, required_scopes, code_lifetime_seconds, poll_interval_seconds,
                 access_token_lifetime_seconds, refresh, refresh_idle_seconds, refresh_absolute_seconds,
                 prefill, proximity, mfa, mfa_max_age_seconds, id_token_algorithm, activation_uri,
                 resource_server, dpop, resources, verification, trusted_networks, verified, max_age_seconds, factor,
                 created_at, client_secret_key)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                 $25, $26, $27, $28, $29, $30, $31, $32, $23, $33)
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name,
                 client_id = excluded.client_id,
                 client_secret_mac = CASE WHEN $24 THEN service.client_secret_mac ELSE excluded.client_secret_mac END,
                 client_secret_key = CASE WHEN $24 THEN service.client_secret_key ELSE excluded.client_secret_key END,
                 device_login = excluded.device_login,
                 scopes = excluded.scopes,
                 default_scopes = excluded.default_scopes,
                 required_scopes = excluded.required_scopes,
                 code_lifetime_seconds = excluded.code_lifetime_seconds,
                 poll_interval_seconds = excluded.poll_interval_seconds,
                 access_token_lifetime_seconds = excluded.access_token_lifetime_seconds,
                 refresh = excluded.refresh,
                 refresh_idle_seconds = excluded.refresh_idle_seconds,
                 refresh_absolute_seconds = excluded.refresh_absolute_seconds,
                 prefill = excluded.prefill,
                 proximity = excluded.proximity,
                 mfa = excluded.mfa,
                 mfa_max_age_seconds = excluded.mfa_max_age_seconds,
                 id_token_algorithm = excluded.id_token_algorithm,
                 activation_uri = excluded.activation_uri,
                 resource_server = excluded.resource_server,
                 dpop = excluded.dpop,
                 resources = excluded.resources,
                 verification = excluded.verification,
                 trusted_networks = excluded.trusted_networks,
                 verified = excluded.verified,
                 max_age_seconds = excluded.max_age_seconds,
                 factor = excluded.factor",
            id.0,
            self.organization.0,
            settings.slug,
            settings.name,
            settings.client_id,
            mac,
            settings.device_login,
            Scope::stored_form(&settings.scopes),
            &settings.default_scopes,
            &settings.required_scopes,
            seconds(settings.code_lifetime),
            i16::from(settings.interval),
            seconds(settings.access_token_lifetime),
            settings.refresh.as_str(),
            seconds(settings.refresh_idle),
            seconds(settings.refresh_absolute),
            settings.prefill,
            settings.proximity.as_str(),
            settings.mfa.map(crate::directory::organization::MfaPolicy::as_str),
            settings.mfa_max_age.map(seconds),
            settings.id_token_algorithm.as_str(),
            settings.activation_uri,
            self.tools.clock.now(),
            keep,
            settings.resource_server,
            settings.dpop.as_str(),
            &settings.resources,
            settings.verification.as_str(),
            &settings.trusted_networks,
            settings.verified,
            settings.fresh_proof.max_age.map(seconds),
            settings.fresh_proof.factor.map(Factor::as_str),
            key,
        )
        .execute(self.conn)
        .await?;
        Ok(())
    }

    async fn provider(
        self,
        id: ProviderId,
        settings: &ProviderSettings,
        secret: &Secret<Sealed>,
        (unlink, public_only): (bool, bool),
    ) -> Result<(), sqlx::Error> {
        let (keep, sealed) = secret.parameters(Sealed::as_bytes);
        let (admission, admitted) = settings.admit.stored();
        sqlx::query!(
            "INSERT INTO provider (
                 id, organization_id, slug, kind, name, issuer, api_url, client_id, client_secret_sealed,
                 extra_scopes, admission, admitted, groups_claim, trust_mfa, created_at, public_only)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $17)
             ON CONFLICT (id) DO UPDATE SET
                 kind = excluded.kind,
                 name = excluded.name,
                 issuer = excluded.issuer,
                 api_url = excluded.api_url,
                 client_id = excluded.client_id,
                 client_secret_sealed =
                     CASE WHEN $16 THEN provider.client_secret_sealed ELSE excluded.client_secret_sealed END,
                 extra_scopes = excluded.extra_scopes,
                 admission = excluded.admission,
                 admitted = excluded.admitted,
                 groups_claim = excluded.groups_claim,
                 trust_mfa = excluded.trust_mfa,
                 public_only = excluded.public_only",
            id.0,
            self.organization.0,
            settings.slug,
            settings.kind.as_str(),
            settings.name,
            settings.issuer,
            settings.api_url,
            settings.client_id,
            sealed,
            &settings.extra_scopes,
            admission,
            admitted,
            settings.groups_claim,
            settings.trust_mfa,
            self.tools.clock.now(),
            keep,
            public_only,
        )
        .execute(&mut *self.conn)
        .await?;
        if unlink {
            sqlx::query!("DELETE FROM identity WHERE provider_id = $1", id.0).execute(self.conn).await?;
        }
        Ok(())
    }

    async fn webhook(
        self,
        id: WebhookId,
        settings: &WebhookSettings,
        secret: &Secret<Sealed>,
        public_only: bool,
    ) -> Result<(), sqlx::Error> {
        let (_, sealed) = secret.parameters(Sealed::as_bytes);
        let events: Vec<String> = settings.events.iter().map(|event| event.as_str().to_owned()).collect();
        // One that stays has its secret already: what would be added without one is refused by the table.
        sqlx::query!(
            "INSERT INTO webhook (id, organization_id, url, secret_sealed, events, created_at, public_only)
             VALUES ($1, $2, $3, coalesce($4::bytea, (SELECT secret_sealed FROM webhook WHERE id = $1)), $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET
                 secret_sealed = excluded.secret_sealed, events = excluded.events, public_only = excluded.public_only",
            id.0,
            self.organization.0,
            settings.url,
            sealed,
            &events,
            self.tools.clock.now(),
            public_only,
        )
        .execute(self.conn)
        .await?;
        Ok(())
    }

    /// Whoever gives somebody a password for an address vouches for the address.
    async fn user(
        self,
        id: UserId,
        settings: &UserSettings,
        password: &Secret<SecretText>,
        hash: Option<String>,
    ) -> Result<(), ApplyError> {
        sqlx::query!(
            "INSERT INTO app_user (
                 id, organization_id, email, email_verified, name, role, status, password_hash, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (id) DO UPDATE SET
                 email_verified = app_user.email_verified OR excluded.email_verified,
                 name = excluded.name,
                 role = excluded.role,
                 status = excluded.status,
                 password_hash = CASE WHEN $10 THEN app_user.password_hash ELSE excluded.password_hash END",
            id.0,
            self.organization.0,
            settings.email,
            hash.is_some(),
            settings.name,
            settings.role.as_str(),
            settings.status.as_str(),
            hash,
            self.tools.clock.now(),
            matches!(password, Secret::Keep),
        )
        .execute(self.conn)
        .await?;
        Ok(())
    }
}

impl<T> Secret<T> {
    /// Whether the stored one stays, and otherwise the new one.
    fn parameters<'a>(&'a self, bytes: impl FnOnce(&'a T) -> &'a [u8]) -> (bool, Option<&'a [u8]>) {
        match self {
            Self::Keep => (true, None),
            Self::Remove => (false, None),
            Self::Put(secret) => (false, Some(bytes(secret))),
        }
    }
}

/// Read within the bounds of the column; anything longer is as long as it can be.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
