//! Sessions that are over are kept for some time, for who asks what a device was, and then deleted.
//!
//! A refresh token of a session that is gone is one that the server doesn't know: refused, as it was before.

use chrono::{DateTime, Utc};

use crate::postgres::PgConnection;

/// Deletes sessions that were revoked, or had lived as long as they can, before this moment: at most so many, and says how
/// many. One that only was not used any more could be prolonged nowhere, and counts until its longest life is over: when it is
/// used last changes with each refresh, for which no index is to be written.
pub async fn sweep(conn: &mut PgConnection, before: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM session WHERE id = ANY(ARRAY(
             SELECT id FROM session WHERE coalesce(revoked_at, expires_at) <= $1
             ORDER BY coalesce(revoked_at, expires_at) LIMIT $2 FOR UPDATE SKIP LOCKED))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
