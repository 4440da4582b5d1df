//! Webhooks: where an organization's own programs hear of what happened.
//!
//! They are signed as Standard Webhooks says (<https://www.standardwebhooks.com>), with a secret that the organization
//! chose: `whsec_` and base64 of 24 to 64 bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sqlx::Connection as _;
use zeroize::Zeroizing;

use crate::ids::{OrganizationId, WebhookId};
use crate::postgres::PgConnection;
use crate::secrets::resealing::{self, Resealed};
use crate::secrets::{Keyring, SealError, Sealed, SecretText};

use super::{stored_as_text, word};

/// What a secret begins with, so that a secret scanner knows one.
const PREFIX: &str = "whsec_";

/// What a sealed secret is bound to.
const SECRET_TABLE: &[u8] = b"webhook.secret";

/// A program of an organization that is told.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where messages are posted: https, or http on this machine.
    pub url: String,
    /// What they are signed with.
    pub secret: Sealed,
    /// What it is told of.
    pub events: Vec<Event>,
    /// Whether its address was written over the network: then it is told at a public one only ([`crate::outbound`]).
    pub public_only: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a webhook can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Somebody approved a device.
    Approved,
    /// Somebody said of an approval that it wasn't them.
    Reported,
}
stored_as_text!("event of webhooks", Event { Approved = "approved", Reported = "reported" });

impl Event {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Approved, Self::Reported];
}

/// The key in a secret as it is written; `None` when it is none.
#[must_use]
pub fn signing_key(secret: &str) -> Option<Zeroizing<Vec<u8>>> {
    let key = Zeroizing::new(STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?);
    (24..=64).contains(&key.len()).then_some(key)
}

/// A secret of these bytes, as it is written.
#[must_use]
pub fn written_secret(key: &[u8; 32]) -> SecretText {
    let key = Zeroizing::new(STANDARD.encode(key));
    SecretText::from(format!("{PREFIX}{}", *key))
}

/// Seals a webhook's secret.
pub fn seal_secret(keyring: &Keyring, id: WebhookId, secret: &SecretText) -> Result<Sealed, SealError> {
    keyring.seal(&[SECRET_TABLE, id.0.as_bytes()], secret.expose().as_bytes())
}

/// Opens a webhook's secret.
pub fn open_secret(keyring: &Keyring, id: WebhookId, sealed: &Sealed) -> Result<SecretText, SealError> {
    let opened = keyring.open(&[SECRET_TABLE, id.0.as_bytes()], sealed)?;
    std::str::from_utf8(&opened).map(SecretText::from).map_err(|_| SealError)
}

/// Seals again, under the current secret, the secrets of webhooks that an older one sealed.
pub async fn reseal(conn: &mut PgConnection, keyring: &Keyring) -> Result<Resealed, sqlx::Error> {
    let (mut done, mut after) = (Resealed::default(), uuid::Uuid::nil());
    loop {
        let mut tx = conn.begin().await?;
        let rows = sqlx::query!(
            "SELECT id, secret_sealed AS \"sealed!\" FROM webhook
             WHERE id > $1 AND substring(secret_sealed FROM 2 FOR 4) <> $2 ORDER BY id LIMIT $3 FOR UPDATE",
            after,
            keyring.current_id(),
            resealing::BATCH,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = last.id;
        let rows = rows.into_iter().map(|row| (row.id, row.sealed));
        let (ids, sealed) = done.seal(keyring, SECRET_TABLE, rows);
        sqlx::query!(
            "UPDATE webhook SET secret_sealed = new.sealed
             FROM unnest($1::uuid[], $2::bytea[]) AS new (id, sealed) WHERE webhook.id = new.id",
            &ids,
            &sealed,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
}

/// The organization's webhooks, in the order of their addresses.
pub async fn of_organization(
    conn: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<Webhook>, sqlx::Error> {
    select(conn, organization, Which::default()).await
}

/// So many of the organization's webhooks, in the order of their addresses, from the one after this address.
pub async fn page(
    conn: &mut PgConnection,
    organization: OrganizationId,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<Webhook>, sqlx::Error> {
    select(conn, organization, Which { after, most: Some(most), ..Which::default() }).await
}

/// The organization's webhook with this id.
pub async fn by_id(
    conn: &mut PgConnection,
    organization: OrganizationId,
    id: WebhookId,
) -> Result<Option<Webhook>, sqlx::Error> {
    Ok(select(conn, organization, Which { id: Some(id), ..Which::default() }).await?.pop())
}

/// The organization's webhook at this address.
pub async fn by_url(
    conn: &mut PgConnection,
    organization: OrganizationId,
    url: &str,
) -> Result<Option<Webhook>, sqlx::Error> {
    Ok(select(conn, organization, Which { url: Some(url), ..Which::default() }).await?.pop())
}

/// Which of an organization's webhooks; none of it: all.
#[derive(Default)]
struct Which<'a> {
    id: Option<WebhookId>,
    url: Option<&'a str>,
    after: Option<&'a str>,
    most: Option<i64>,
}

async fn select(
    conn: &mut PgConnection,
    organization: OrganizationId,
    which: Which<'_>,
) -> Result<Vec<Webhook>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, url, secret_sealed, events, public_only, created_at FROM webhook
         WHERE organization_id = $1
           AND ($2::uuid IS NULL OR id = $2)
           AND ($3::text IS NULL OR url = $3)
           AND ($4::text IS NULL OR url > $4)
         ORDER BY url LIMIT $5",
        organization.0,
        which.id.map(|id| id.0),
        which.url,
        which.after,
        which.most,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Webhook {
                id: row.id.into(),
                url: row.url,
                secret: Sealed::from(row.secret_sealed),
                events: row.events.iter().map(|event| word(event)).collect::<Result<_, _>>()?,
                public_only: row.public_only,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// The organization's webhooks that are told of this.
pub async fn told_of(
    conn: &mut PgConnection,
    organization: OrganizationId,
    event: Event,
) -> Result<Vec<WebhookId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM webhook WHERE organization_id = $1 AND $2 = ANY(events) ORDER BY url",
        organization.0,
        event.as_str(),
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(WebhookId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_as_the_convention_says() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert_eq!(signing_key(&of(32)).unwrap().len(), 32);
        assert!(signing_key(&of(24)).is_some() && signing_key(&of(64)).is_some());
        for bad in ["", "whsec_", "whsec_!", &of(23), &of(65), &STANDARD.encode([7; 32]), &format!("{}\n", of(32))] {
            assert!(signing_key(bad).is_none(), "{bad:?}");
        }
    }
}
