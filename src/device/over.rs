//! Device logins that are over are kept for some days, for who asks what happened, and then deleted.
//!
//! A grant's id says when it was asked for, and within [`LONGEST_LIFE`] its code's time is over, whatever became of it. So the
//! primary key has them in the order in which they go, and nothing is written for it when a code is made.

use chrono::{DateTime, Utc};

use crate::ids::GrantId;
use crate::postgres::PgConnection;

use super::grant::LONGEST_LIFE;

/// Whose code's time was over before which moment.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    /// Those that nobody approved.
    pub before: DateTime<Utc>,
    /// Those that somebody approved: never later than the other.
    pub approved_before: DateTime<Utc>,
}

/// Deletes grants with what was reported of them, at most so many, and says how many. The audit has to say first that a
/// grant expired.
pub async fn sweep(conn: &mut PgConnection, over: Over, most: i64) -> Result<u64, sqlx::Error> {
    // By the index `device_grant_over`.
    let deleted = sqlx::query!(
        "DELETE FROM device_grant WHERE id = ANY(ARRAY(
             SELECT id FROM device_grant
             WHERE id < $1 AND granted_scopes IS NULL AND (expiry_noted OR state = 'denied')
             ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))",
        asked_at(over.before),
        most,
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let most = most.saturating_sub_unsigned(deleted);
    if most <= 0 {
        return Ok(deleted);
    }
    // By the primary key: whatever is so old goes.
    let of_approved = sqlx::query!(
        "DELETE FROM device_grant WHERE id = ANY(ARRAY(
             SELECT id FROM device_grant WHERE id < $1 AND (expiry_noted OR state IN ('denied', 'redeemed'))
             ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))",
        asked_at(over.approved_before),
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted + of_approved.rows_affected())
}

/// The first id that a grant can have whose code's time may not have been over by then.
fn asked_at(over_at: DateTime<Utc>) -> uuid::Uuid {
    GrantId::new(over_at - LONGEST_LIFE, &[0; 10]).0
}
