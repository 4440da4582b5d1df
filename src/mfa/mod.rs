//! Second factors: one-time passwords (RFC 6238) and recovery codes.

pub mod recovery;
pub mod totp;

use chrono::{DateTime, Utc};

use crate::ids::{SessionId, UserId};
use crate::postgres::PgConnection;

/// Takes a person's second factors away, and ends what was proven by them: sessions, browser sign-ins, approvals that no
/// device has come for. Returns the sessions.
pub async fn reset(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<Vec<SessionId>, sqlx::Error> {
    let ended = sqlx::query_scalar!(r#"SELECT reset_mfa($1, $2) AS "session!""#, user.0, now).fetch_all(conn).await?;
    Ok(ended.into_iter().map(SessionId::from).collect())
}
