//! The SQL of sessions.

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use crate::ids::SessionId;
use crate::postgres::PgConnection;

use super::Session;

/// Writes a new session.
pub async fn insert(conn: &mut PgConnection, session: &Session, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO session (id, organization_id, service_id, user_id, grant_id, scopes, resources, dpop_jkt,
             auth_time, amr, name, user_agent, ip, created_at, last_seen_at, generation, idle_expires_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15, $16, $17)",
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
