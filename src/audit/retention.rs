//! How long the audit is kept. The owner of the database says it, and the server deletes within that: the function
//! `prune_audit` of the database decides what goes (`migrations/`).

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::Connection as _;

use super::{Event, Kind};
use crate::clock::Clock;
use crate::postgres::PgConnection;
use crate::secrets::Random;

/// For how many days; none: for ever.
pub async fn days(conn: &mut PgConnection) -> Result<Option<u32>, sqlx::Error> {
    let days = sqlx::query_scalar!("SELECT days FROM audit_retention").fetch_one(conn).await?;
    Ok(days.map(i32::unsigned_abs))
}

/// Has it kept for so many days from now on, and says so in the audit. Only the owner of the tables can.
pub async fn keep_for(
    conn: &mut PgConnection,
    (clock, random): (&Clock, &Random),
    days: Option<u32>,
) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin().await?;
    let changed = sqlx::query!(
        "UPDATE audit_retention SET days = $1 WHERE days IS DISTINCT FROM $1",
        days.map(|days| i32::try_from(days).unwrap_or(i32::MAX)),
    )
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() == 1 {
        let detail = json!({ "retention": "audit", "days": days });
        Event::new(Kind::Administered, clock, random).detail(detail).append(&mut tx).await?;
        tracing::info!(?days, "how long the audit's events are kept was changed");
    }
    tx.commit().await
}

/// Deletes events past retention with their links, at most so many, and says how many. What is old is for the database's own
/// clock to say; this one's can only make it later.
pub async fn prune(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let pruned = sqlx::query_scalar!(r#"SELECT prune_audit($1, $2) AS "pruned!""#, now, most).fetch_one(conn).await?;
    Ok(pruned.unsigned_abs())
}
