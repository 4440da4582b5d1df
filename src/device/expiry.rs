//! Notes in the audit that a grant's time ran out, once for each, on one node at a time.

use crate::audit::{Event, Kind};
use crate::ids::{GrantId, UserId};
use crate::installation::Installation;

/// How many in one transaction.
pub const BATCH: i64 = 200;

/// Notes a batch of grants that expired undecided or unredeemed, and says how many.
pub async fn note(installation: &Installation) -> Result<i64, sqlx::Error> {
    let mut tx = installation.pool.begin().await?;
    let expired = sqlx::query!(
        "UPDATE device_grant SET expiry_noted = true
         WHERE id IN (
             SELECT id FROM device_grant
             WHERE expires_at <= $1 AND state IN ('pending', 'claimed', 'approved') AND NOT expiry_noted
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id, organization_id, service_id, user_id, state",
        installation.clock.now(),
        BATCH,
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in &expired {
        let event = Event::new(Kind::Expired, &installation.clock, &installation.random)
            .of(row.organization_id.into())
            .service(row.service_id.into())
            .grant(GrantId(row.id))
            .detail(serde_json::json!({ "was": row.state }));
        // Known where it was approved, and no device came.
        let event = row.user_id.map(UserId).into_iter().fold(event, Event::user);
        event.append(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(i64::try_from(expired.len()).unwrap_or(BATCH))
}
