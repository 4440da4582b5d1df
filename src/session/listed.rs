//! Sessions as an organization's administrators see them: those that go on, of everybody.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::directory::user::Role;
use crate::directory::word;
use crate::ids::{GrantId, OrganizationId, ServiceId, SessionId, UserId};
use crate::postgres::PgConnection;

/// A signed-in device, whose it is, and what acts there.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The session.
    pub id: SessionId,
    /// The device login that it came from.
    pub grant_id: GrantId,
    /// As whom it acts.
    pub user_id: UserId,
    /// Their address.
    pub email: Option<String>,
    /// What they may administer.
    pub role: Role,
    /// What acts as them.
    pub service_id: ServiceId,
    /// Its slug.
    pub service: String,
    /// What the person calls the device.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What its program calls itself.
    pub user_agent: Option<String>,
    /// Whether its tokens are bound to a key.
    pub bound: bool,
    /// Where it was signed in.
    pub first_ip: IpAddr,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Where it was last.
    pub last_ip: IpAddr,
    /// When it was there.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends if it isn't used.
    pub idle_expires_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Which sessions, in the order in which they began. The default is all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Select {
    /// The one with this id.
    pub only: Option<SessionId>,
    /// Those of this person.
    pub user: Option<UserId>,
    /// Those after this one.
    pub after: Option<SessionId>,
    /// So many of them.
    pub most: Option<i64>,
}

/// Finds sessions of an organization that go on. One that gets no refresh tokens is over with its access token.
pub async fn find(
    conn: &mut PgConnection,
    organization: OrganizationId,
    select: Select,
    now: DateTime<Utc>,
) -> Result<Vec<Listed>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT s.id, s.grant_id, s.user_id, u.email, u.role, s.service_id, v.slug, s.name, s.scopes, s.user_agent,
                s.dpop_jkt, s.ip, s.created_at, s.last_ip, s.last_seen_at, s.idle_expires_at, s.expires_at
         FROM session s JOIN service v ON v.id = s.service_id JOIN app_user u ON u.id = s.user_id
         WHERE s.organization_id = $1 AND ($2::uuid IS NULL OR s.id = $2) AND ($3::uuid IS NULL OR s.user_id = $3)
           AND ($4::uuid IS NULL OR s.id > $4)
           AND s.revoked_at IS NULL AND s.idle_expires_at > $5 AND s.expires_at > $5
           AND (v.refresh = 'always'
                OR v.refresh = 'offline_access' AND 'offline_access' = ANY(s.scopes)
                OR s.created_at + make_interval(secs => v.access_token_lifetime_seconds) > $5)
         ORDER BY s.id LIMIT $6",
        organization.0,
        select.only.map(|id| id.0),
        select.user.map(|id| id.0),
        select.after.map(|id| id.0),
        now,
        select.most,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(Listed {
            id: row.id.into(),
            grant_id: row.grant_id.into(),
            user_id: row.user_id.into(),
            email: row.email,
            role: word(&row.role)?,
            service_id: row.service_id.into(),
            service: row.slug,
            name: row.name,
            scopes: row.scopes,
            user_agent: row.user_agent,
            bound: row.dpop_jkt.is_some(),
            first_ip: row.ip.addr(),
            created_at: row.created_at,
            last_ip: row.last_ip.addr(),
            last_seen_at: row.last_seen_at,
            idle_expires_at: row.idle_expires_at,
            expires_at: row.expires_at,
        });
    }
    Ok(found)
}

/// Counts an organization's sessions that go on.
pub async fn count(
    conn: &mut PgConnection,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM session s JOIN service v ON v.id = s.service_id
           WHERE s.organization_id = $1 AND s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2
             AND (v.refresh = 'always'
                  OR v.refresh = 'offline_access' AND 'offline_access' = ANY(s.scopes)
                  OR s.created_at + make_interval(secs => v.access_token_lifetime_seconds) > $2)"#,
        organization.0,
        now,
    )
    .fetch_one(conn)
    .await
}
