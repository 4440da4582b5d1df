//! When a signing key is made, when it signs, and when it is gone.
//!
//! A new key is published before it signs, for longer than anybody caches the JWKS, and stays published after its last
//! signature until the longest token has died. Rotation is by age, on one node at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Algorithm;
use tokio_util::sync::CancellationToken;

use crate::installation::Installation;
use crate::postgres::PgConnection;

use super::{ALGORITHMS, SigningKeys, SigningKeysError, making};

/// How long a key is published before it signs: the JWKS may be kept for five minutes, and a node reads keys each minute.
pub const PUBLISHED_BEFORE: TimeDelta = TimeDelta::minutes(10);

/// How long a key is published after its last signature: tokens live for a day at most, clocks differ.
const PUBLISHED_AFTER: TimeDelta = TimeDelta::hours(25);

/// How often a node looks.
const EVERY: Duration = Duration::from_mins(1);

/// How keys are rotated.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long a key signs.
    pub rotation: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { rotation: Duration::from_hours(90 * 24) }
    }
}

/// Rotates by age and reads the keys again, until `stop`.
pub async fn watch(keys: SigningKeys, installation: Installation, policy: Policy, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let outcome = match rotate_by_age(&installation, policy).await {
            Ok(()) => keys.reload(&installation).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "signing keys can't be looked after now");
        }
    }
}

/// Makes a key of every algorithm that has none, active at once.
pub async fn make_missing(installation: &Installation) -> Result<(), SigningKeysError> {
    let mut tx = installation.pool.begin().await?;
    lock(&mut tx).await?;
    for algorithm in ALGORITHMS {
        if newest(&mut tx, algorithm).await?.is_none() {
            making::make(&mut tx, installation, algorithm, installation.clock.now()).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Makes successors of keys that are about to be too old, and deletes those that nothing needs any more.
pub async fn rotate_by_age(installation: &Installation, policy: Policy) -> Result<(), SigningKeysError> {
    let now = installation.clock.now();
    let rotation = TimeDelta::from_std(policy.rotation).unwrap_or(TimeDelta::days(90));
    let mut tx = installation.pool.begin().await?;
    if !try_lock(&mut tx).await? {
        // Another node is at it.
        return Ok(());
    }
    for algorithm in ALGORITHMS {
        let newest = newest(&mut tx, algorithm).await?;
        if newest.is_none_or(|active_from| active_from + rotation - PUBLISHED_BEFORE <= now) {
            making::make(&mut tx, installation, algorithm, now + PUBLISHED_BEFORE).await?;
        }
    }
    sqlx::query!(
        "DELETE FROM signing_key old
         WHERE coalesce(old.retired_at, (
             SELECT min(successor.active_from) FROM signing_key successor
             WHERE successor.algorithm = old.algorithm AND successor.active_from > old.active_from
               AND successor.retired_at IS NULL)) < $1",
        now - PUBLISHED_AFTER,
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Makes a successor of each key, which signs from `active_from`; gives their names.
pub async fn rotate(
    conn: &mut PgConnection,
    installation: &Installation,
    active_from: DateTime<Utc>,
) -> Result<Vec<String>, SigningKeysError> {
    lock(conn).await?;
    let mut made = Vec::with_capacity(ALGORITHMS.len());
    for algorithm in ALGORITHMS {
        made.push(making::make(conn, installation, algorithm, active_from).await?);
    }
    Ok(made)
}

/// Takes a key out at once: nothing that it signed is good any more, as soon as others read the JWKS again. A successor
/// is made when no other key of its algorithm is active. `false`: there is no such key.
pub async fn retire(conn: &mut PgConnection, installation: &Installation, kid: &str) -> Result<bool, SigningKeysError> {
    lock(conn).await?;
    let now = installation.clock.now();
    let retired = sqlx::query_scalar!(
        "UPDATE signing_key SET retired_at = $2 WHERE kid = $1 AND retired_at IS NULL RETURNING algorithm",
        kid,
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(algorithm) = retired else { return Ok(false) };
    let active = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM signing_key WHERE algorithm = $1 AND retired_at IS NULL AND active_from <= $2) AS "active!""#,
        algorithm,
        now,
    )
    .fetch_one(&mut *conn)
    .await?;
    if !active {
        making::make(conn, installation, algorithm.parse().map_err(super::unusable)?, now).await?;
    }
    Ok(true)
}

/// A key as a list shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Listed {
    /// Its name.
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when it signs.
    pub active_from: DateTime<Utc>,
    /// When it was taken out by hand.
    pub retired_at: Option<DateTime<Utc>>,
    /// `published`, `signing`, `verifying` or `retired`.
    pub stage: &'static str,
}

/// All keys, by algorithm, the newest first.
pub async fn list(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Listed>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT kid, algorithm, created_at, active_from, retired_at FROM signing_key
         ORDER BY algorithm, active_from DESC, created_at DESC"
    )
    .fetch_all(conn)
    .await?;
    let mut signing: Option<String> = None;
    let listed = rows.into_iter().map(|row| {
        let stage = if row.retired_at.is_some() {
            "retired"
        } else if row.active_from > now {
            "published"
        } else if signing.as_deref() == Some(&row.algorithm) {
            "verifying"
        } else {
            signing = Some(row.algorithm.clone());
            "signing"
        };
        Listed {
            kid: row.kid,
            algorithm: row.algorithm,
            created_at: row.created_at,
            active_from: row.active_from,
            retired_at: row.retired_at,
            stage,
        }
    });
    Ok(listed.collect())
}

/// From when the newest key of an algorithm signs.
async fn newest(conn: &mut PgConnection, algorithm: Algorithm) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT max(active_from) FROM signing_key WHERE algorithm = $1 AND retired_at IS NULL",
        format!("{algorithm:?}"),
    )
    .fetch_one(conn)
    .await
}

/// One node at a time, until the transaction ends: waits for its turn.
pub async fn lock(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('countersign signing keys'))").execute(conn).await?;
    Ok(())
}

/// The same without waiting.
async fn try_lock(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock(hashtext('countersign signing keys')) AS "locked!""#)
        .fetch_one(conn)
        .await
}
