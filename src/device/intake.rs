//! New grants on their way into the database: those that come at the same time share a statement and its commit.
//!
//! None is answered for before its commit, and none waits for others while the database has nothing to do
//! ([`grouping`](crate::grouping)).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use uuid::Uuid;

use crate::audit::Kind;
use crate::grouping::{Groups, Limits, Undone, Work};
use crate::ids::{EventId, GrantId, OrganizationId, ServiceId};
use crate::postgres::{self, PgConnection, PgPool};

use super::codes::Length;
use super::grant::Device;

/// Two, so that one is written while the other's commit is on its way to the disk.
const LIMITS: Limits = Limits { flights: 2, together: 256, queue: 4096, patience: Duration::from_secs(3) };

/// Why it isn't known whether a grant was written; that it is nobody's is.
pub type NotWritten = Undone<Arc<sqlx::Error>>;

/// Where new grants are handed in. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Groups<Writing>);

impl Intake {
    /// Into the database of this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(Groups::new(Writing(pool), LIMITS))
    }

    /// Writes a pending grant and its event, and returns after the commit. `false`: its user code is somebody's already, draw another.
    pub async fn write(&self, grant: NewGrant) -> Result<bool, NotWritten> {
        self.0.submit(grant).await
    }
}

struct Writing(PgPool);

impl Work for Writing {
    type Item = NewGrant;
    type Outcome = bool;
    type Error = Arc<sqlx::Error>;

    async fn perform(&self, grants: &[NewGrant]) -> Result<Vec<bool>, Arc<sqlx::Error>> {
        let mut conn = self.0.acquire().await?;
        Ok(insert(&mut conn, grants).await?)
    }

    /// A grant's service may have been deleted since its client was looked up.
    fn may_be_of_one(error: &Arc<sqlx::Error>) -> bool {
        postgres::is_of_a_row(error)
    }
}

/// A grant to be written.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Its id, from which its codes are made.
    pub id: GrantId,
    /// That of the event which says that it was asked for.
    pub event: EventId,
    /// Whose users may approve it.
    pub organization: OrganizationId,
    /// What asks.
    pub service: ServiceId,
    /// MAC of its user code.
    pub user_code_mac: Vec<u8>,
    /// How its user code is drawn.
    pub user_code_length: Length,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// For which APIs (RFC 8707).
    pub resources: Vec<String>,
    /// The thumbprint of the key to which it is bound (RFC 9449).
    pub dpop_jkt: Option<String>,
    /// Seconds between polls.
    pub poll_interval: u8,
    /// What is known of the device.
    pub device: Device,
    /// Now.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Writes pending grants, each with its event, and says of each whether it was written. `false`: its user code is somebody's
/// already, draw another. One statement: it needs no transaction around it.
///
/// Of scopes and resources each list travels as one text: neither a scope (RFC 6749 §3.3) nor a URI has a space in it.
/// Codes are written in the order of their MACs, so that two nodes that have two codes in common don't lock each other out.
pub async fn insert(conn: &mut PgConnection, grants: &[NewGrant]) -> Result<Vec<bool>, sqlx::Error> {
    fn column<'a, T>(grants: &'a [NewGrant], of: impl Fn(&'a NewGrant) -> T) -> Vec<T> {
        grants.iter().map(of).collect()
    }
    let written = sqlx::query_scalar!(
        "WITH asked AS (
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bytea[], $6::smallint[], $7::text[],
                 $8::text[], $9::text[], $10::smallint[], $11::timestamptz[], $12::timestamptz[], $13::text[],
                 $14::text[], $15::inet[])
             AS asked (id, event_id, organization_id, service_id, user_code_mac, user_code_length, scopes,
                 resources, dpop_jkt, poll_interval_seconds, created_at, expires_at, device_name,
                 user_agent, ip)),
         made AS (
             INSERT INTO device_grant (id, organization_id, service_id, user_code_mac, user_code_length, scopes, resources,
                 dpop_jkt, poll_interval_seconds, created_at, expires_at, device_name, user_agent, ip)
             SELECT id, organization_id, service_id, user_code_mac, user_code_length, string_to_array(scopes, ' '),
                 string_to_array(resources, ' '), dpop_jkt, poll_interval_seconds, created_at, expires_at, device_name,
                 user_agent, ip
             FROM asked ORDER BY user_code_mac
             ON CONFLICT (user_code_mac) WHERE state IN ('pending', 'claimed') DO NOTHING
             RETURNING id),
         noted AS (
             INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, ip, user_agent)
             SELECT event_id, created_at, $16, organization_id, service_id, id, ip, user_agent
             FROM asked JOIN made USING (id))
         SELECT id FROM made",
        &column(grants, |grant| grant.id.0),
        &column(grants, |grant| grant.event.0),
        &column(grants, |grant| grant.organization.0),
        &column(grants, |grant| grant.service.0),
        &column(grants, |grant| grant.user_code_mac.as_slice()) as &[&[u8]],
        &column(grants, |grant| i16::try_from(grant.user_code_length.letters()).unwrap_or(8)),
        &column(grants, |grant| grant.scopes.join(" ")),
        &column(grants, |grant| grant.resources.join(" ")),
        &column(grants, |grant| grant.dpop_jkt.as_deref()) as &[Option<&str>],
        &column(grants, |grant| i16::from(grant.poll_interval)),
        &column(grants, |grant| grant.created_at),
        &column(grants, |grant| grant.expires_at),
        &column(grants, |grant| grant.device.name.as_deref()) as &[Option<&str>],
        &column(grants, |grant| grant.device.user_agent.as_deref()) as &[Option<&str>],
        &column(grants, |grant| IpNet::from(grant.device.ip)),
        Kind::Requested.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let written: HashSet<Uuid> = written.into_iter().collect();
    for _ in &written {
        Kind::Requested.count();
    }
    Ok(column(grants, |grant| written.contains(&grant.id.0)))
}
