//! The proofs that were accepted lately, on all nodes (RFC 9449 §11.1).

use chrono::{DateTime, TimeDelta, Utc};

use crate::postgres::PgConnection;

use super::Proof;

/// How long a proof is remembered: longer than it could be accepted for its `iat` (five minutes and one ahead) or its
/// nonce (six minutes).
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// Notes that a proof was used; `false` when it had been, here or on another node.
pub async fn spend(conn: &mut PgConnection, proof: &Proof, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let spent = sqlx::query!(
        "INSERT INTO dpop_proof (jti_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        proof.id.as_slice(),
        now + REMEMBERED,
    )
    .execute(conn)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// Forgets proofs that are too old to be accepted again, at most so many, and says how many.
pub async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let swept = sqlx::query!(
        "DELETE FROM dpop_proof WHERE jti_hash = ANY(ARRAY(
             SELECT jti_hash FROM dpop_proof WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(swept.rows_affected())
}
