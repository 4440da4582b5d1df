//! The SQL of sessions. A rotation is one conditional UPDATE: however many refreshes arrive at once, one rotates.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use uuid::Uuid;

use crate::http::client_address::Caller;
use crate::ids::{GrantId, ServiceId, SessionId};
use crate::postgres::PgConnection;

use super::Session;

/// How long after a rotation the token before is answered with the same successor: its answer may have been lost, or
/// another process of the client asked at the same time (SPEC §2.3).
const REPEATABLE: TimeDelta = TimeDelta::seconds(30);

/// Writes a new session.
pub async fn insert(conn: &mut PgConnection, session: &Session, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO session (id, organization_id, service_id, user_id, grant_id, scopes, resources, dpop_jkt,
             auth_time, amr, name, user_agent, ip, last_ip, created_at, last_seen_at, generation, idle_expires_at,
             expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $14, $15, $16, $17)",
        session.id.0,
        session.organization_id.0,
        session.service_id.0,
        session.user_id.0,
        session.grant_id.0,
        &session.scopes,
        &session.resources,
        session.dpop_jkt,
        session.auth_time,
        &session.amr,
        session.name,
        session.user_agent,
        IpNet::from(session.ip),
        now,
        session.generation,
        session.idle_expires_at,
        session.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session; `false` when it had ended.
pub async fn revoke(
    conn: &mut PgConnection,
    session: SessionId,
    because: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let revoked = sqlx::query!(
        "UPDATE session SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL",
        session.0,
        now,
        because,
    )
    .execute(conn)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Ends the session that a grant became; `None` when there is none, or it had ended.
pub async fn revoke_of_grant(
    conn: &mut PgConnection,
    grant: GrantId,
    because: &str,
    now: DateTime<Utc>,
) -> Result<Option<SessionId>, sqlx::Error> {
    let revoked = sqlx::query_scalar!(
        "UPDATE session SET revoked_at = $2, revoked_because = $3 WHERE grant_id = $1 AND revoked_at IS NULL RETURNING id",
        grant.0,
        now,
        because,
    )
    .fetch_optional(conn)
    .await?;
    Ok(revoked.map(SessionId))
}

/// Binds a session that was bound to no key to this one; from now on its refreshes need it.
pub async fn bind(conn: &mut PgConnection, session: SessionId, jkt: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE session SET dpop_jkt = $2 WHERE id = $1 AND dpop_jkt IS NULL", session.0, jkt)
        .execute(conn)
        .await?;
    Ok(())
}

/// A session and whether it goes on.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The session.
    pub session: Session,
    /// When its current refresh token came to be.
    pub rotated_at: Option<DateTime<Utc>>,
    /// Why it doesn't go on, in words that end a sentence; `None` while it does.
    pub ended_because: Option<String>,
}

/// Finds a session, with what its account and organization say of it.
pub async fn by_id(
    conn: &mut PgConnection,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT s.*, u.status AS "user_status!", o.status AS "organization_status!"
           FROM session s JOIN app_user u ON u.id = s.user_id JOIN organization o ON o.id = s.organization_id
           WHERE s.id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.standing(now)))
}

/// What became of a refresh token.
#[derive(Clone, Debug)]
pub enum Rotation {
    /// It was the current one; the session holds its successor now.
    Rotated(Session),
    /// It was the current one a moment ago: the same successor again.
    Repeated(Session),
    /// It was replaced before: it is in two hands, and the session is over.
    Reused(Session),
    /// The session is over, for this reason.
    Ended(String),
    /// No session of this client has had it.
    Unknown,
}

/// Uses a refresh token: session and generation, of this client.
pub async fn rotate(
    conn: &mut PgConnection,
    (id, generation): (SessionId, i32),
    service: ServiceId,
    idle: Duration,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<Rotation, sqlx::Error> {
    let rotated = sqlx::query_as!(
        Row,
        r#"UPDATE session s
           SET generation = s.generation + 1, rotated_at = $4, idle_expires_at = $5, last_seen_at = $4, last_ip = $6
           FROM app_user u, organization o
           WHERE s.id = $1 AND s.service_id = $2 AND s.generation = $3
             AND s.revoked_at IS NULL AND s.idle_expires_at > $4 AND s.expires_at > $4
             AND u.id = s.user_id AND u.status = 'active' AND o.id = s.organization_id AND o.status = 'active'
           RETURNING s.*, u.status AS "user_status!", o.status AS "organization_status!""#,
        id.0,
        service.0,
        generation,
        now,
        now + TimeDelta::from_std(idle).unwrap_or(TimeDelta::days(30)),
        caller.ip_net(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = rotated {
        return Ok(Rotation::Rotated(row.standing(now).session));
    }
    let Some(standing) = by_id(conn, id, now).await?.filter(|standing| standing.session.service_id == service) else {
        return Ok(Rotation::Unknown);
    };
    let current = standing.session.generation;
    if let Some(because) = standing.ended_because {
        return Ok(Rotation::Ended(because));
    }
    let repeatable = standing.rotated_at.is_some_and(|at| now - at <= REPEATABLE);
    if generation == current - 1 && repeatable {
        return Ok(Rotation::Repeated(standing.session));
    }
    if generation < current {
        revoke(conn, id, "an old refresh token of it was used: somebody may have copied it", now).await?;
        return Ok(Rotation::Reused(standing.session));
    }
    // A later generation than there is: the database was restored from before it.
    Ok(Rotation::Unknown)
}

/// A row as it is stored, with what decides on it.
struct Row {
    id: Uuid,
    organization_id: Uuid,
    service_id: Uuid,
    user_id: Uuid,
    grant_id: Uuid,
    scopes: Vec<String>,
    resources: Vec<String>,
    dpop_jkt: Option<String>,
    auth_time: DateTime<Utc>,
    amr: Vec<String>,
    name: String,
    user_agent: Option<String>,
    ip: IpNet,
    #[expect(dead_code, reason = "rows are read whole")]
    last_ip: IpNet,
    #[expect(dead_code, reason = "rows are read whole")]
    created_at: DateTime<Utc>,
    #[expect(dead_code, reason = "rows are read whole")]
    last_seen_at: DateTime<Utc>,
    generation: i32,
    rotated_at: Option<DateTime<Utc>>,
    idle_expires_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_because: Option<String>,
    user_status: String,
    organization_status: String,
}

impl Row {
    fn standing(self, now: DateTime<Utc>) -> Standing {
        let ended_because = match &self.revoked_because {
            Some(because) => Some(because.clone()),
            None if self.revoked_at.is_some() => Some("it was revoked".to_owned()),
            None if self.expires_at <= now => Some("it reached its longest life".to_owned()),
            None if self.idle_expires_at <= now => Some("it was not used for too long".to_owned()),
            None if self.organization_status != "active" => Some("the organization is suspended".to_owned()),
            None if self.user_status != "active" => Some("the account is locked".to_owned()),
            None => None,
        };
        let session = Session {
            id: self.id.into(),
            organization_id: self.organization_id.into(),
            service_id: self.service_id.into(),
            user_id: self.user_id.into(),
            grant_id: self.grant_id.into(),
            scopes: self.scopes,
            resources: self.resources,
            dpop_jkt: self.dpop_jkt,
            auth_time: self.auth_time,
            amr: self.amr,
            name: self.name,
            user_agent: self.user_agent,
            ip: self.ip.addr(),
            generation: self.generation,
            idle_expires_at: self.idle_expires_at,
            expires_at: self.expires_at,
        };
        Standing { session, rotated_at: self.rotated_at, ended_because }
    }
}
