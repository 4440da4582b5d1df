//! The proofs that were accepted lately, on all nodes (RFC 9449 §11.1).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::installation::Installation;
use crate::postgres::PgConnection;

use super::Proof;

/// How long a proof is remembered: longer than it could be accepted for its `iat` (five minutes and one ahead) or its
/// nonce (six minutes).
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// How often to sweep.
const EVERY: Duration = Duration::from_mins(1);

/// How many in one statement.
const BATCH: i64 = 5_000;

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

/// Forgets proofs that are too old to be accepted again, until `stop`.
pub async fn watch(installation: Installation, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        loop {
            match sweep(&installation).await {
                Ok(swept) if i64::try_from(swept) == Ok(BATCH) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "old proofs can't be swept now");
                    break;
                }
            }
        }
    }
}

/// Forgets a batch, and says how many. Nodes that sweep at once don't wait for each other.
pub async fn sweep(installation: &Installation) -> Result<u64, sqlx::Error> {
    let swept = sqlx::query!(
        "DELETE FROM dpop_proof WHERE jti_hash IN (
             SELECT jti_hash FROM dpop_proof WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        installation.clock.now(),
        BATCH,
    )
    .execute(&installation.pool)
    .await?;
    Ok(swept.rows_affected())
}
