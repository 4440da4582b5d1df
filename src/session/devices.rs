//! The sessions of a person, as the list of devices shows them. Every statement names the person: nobody reaches a
//! session of somebody else.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::ids::{GrantId, ServiceId, SessionId, UserId};
use crate::postgres::PgConnection;

/// A signed-in device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its session.
    pub id: SessionId,
    /// What acts as the person on it.
    pub service_id: ServiceId,
    /// What the person calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What its program calls itself.
    pub user_agent: Option<String>,
    /// Where it was signed in.
    pub first_ip: IpAddr,
    /// When it was signed in.
    pub first_seen_at: DateTime<Utc>,
    /// Where it was last.
    pub last_ip: IpAddr,
    /// When it was there.
    pub last_seen_at: DateTime<Utc>,
}

/// The devices that act as a person, the one seen last at first. One that gets no refresh tokens is over with its
/// access token.
pub async fn of_user(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<Vec<Device>, sqlx::Error> {
    select(conn, user, None, now).await
}

/// One of the devices that act as a person.
pub async fn one(
    conn: &mut PgConnection,
    user: UserId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Device>, sqlx::Error> {
    Ok(select(conn, user, Some(id), now).await?.pop())
}

async fn select(
    conn: &mut PgConnection,
    user: UserId,
    id: Option<SessionId>,
    now: DateTime<Utc>,
) -> Result<Vec<Device>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT s.id, s.service_id, s.name, s.scopes, s.user_agent, s.ip, s.created_at, s.last_ip, s.last_seen_at
         FROM session s JOIN service v ON v.id = s.service_id
         WHERE s.user_id = $1 AND ($2::uuid IS NULL OR s.id = $2)
           AND s.revoked_at IS NULL AND s.idle_expires_at > $3 AND s.expires_at > $3
           AND (v.refresh = 'always'
                OR v.refresh = 'offline_access' AND 'offline_access' = ANY(s.scopes)
                OR s.created_at + make_interval(secs => v.access_token_lifetime_seconds) > $3)
         ORDER BY s.last_seen_at DESC, s.id DESC",
        user.0,
        id.map(|id| id.0),
        now,
    )
    .fetch_all(conn)
    .await?;
    let devices = rows.into_iter().map(|row| Device {
        id: row.id.into(),
        service_id: row.service_id.into(),
        name: row.name,
        scopes: row.scopes,
        user_agent: row.user_agent,
        first_ip: row.ip.addr(),
        first_seen_at: row.created_at,
        last_ip: row.last_ip.addr(),
        last_seen_at: row.last_seen_at,
    });
    Ok(devices.collect())
}

/// Gives a device another name; `false` when it is not the person's or has ended.
pub async fn rename(conn: &mut PgConnection, user: UserId, id: SessionId, name: &str) -> Result<bool, sqlx::Error> {
    let renamed = sqlx::query!(
        "UPDATE session SET name = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
        id.0,
        user.0,
        name,
    )
    .execute(conn)
    .await?;
    Ok(renamed.rows_affected() == 1)
}

/// Which of a person's devices to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one.
    One(SessionId),
    /// All but this one.
    AllBut(SessionId),
    /// All.
    All,
}

/// A device that was ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its session.
    pub id: SessionId,
    /// What acted as the person on it.
    pub service_id: ServiceId,
    /// The device login that it came from.
    pub grant_id: GrantId,
}

/// Ends devices of a person, and says which. `because` ends the sentence that the device is told.
pub async fn end(
    conn: &mut PgConnection,
    user: UserId,
    which: Which,
    because: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Ended>, sqlx::Error> {
    let (one, all_but) = match which {
        Which::One(id) => (Some(id.0), None),
        Which::AllBut(id) => (None, Some(id.0)),
        Which::All => (None, None),
    };
    let rows = sqlx::query!(
        "UPDATE session SET revoked_at = $5, revoked_because = $4
         WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) AND id IS DISTINCT FROM $3
           AND revoked_at IS NULL AND expires_at > $5
         RETURNING id, service_id, grant_id",
        user.0,
        one,
        all_but,
        because,
        now,
    )
    .fetch_all(conn)
    .await?;
    let ended = rows.into_iter().map(|row| Ended {
        id: row.id.into(),
        service_id: row.service_id.into(),
        grant_id: row.grant_id.into(),
    });
    Ok(ended.collect())
}
