//! Notes in the audit that a grant's time ran out, once for each.

use crate::audit::{Event, Kind};
use crate::ids::{GrantId, UserId};
use crate::installation::Installation;
use crate::postgres::PgConnection;

/// Notes grants that expired undecided or unredeemed, at most so many, and says how many. In a transaction of the caller's.
pub async fn note(conn: &mut PgConnection, installation: &Installation, most: i64) -> Result<u64, sqlx::Error> {
    let expired = sqlx::query!(
        "UPDATE device_grant SET expiry_noted = true
         WHERE id IN (
             SELECT id FROM device_grant
             WHERE expires_at <= $1 AND state IN ('pending', 'claimed', 'approved') AND NOT expiry_noted
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id, organization_id, service_id, user_id, state",
        installation.clock.now(),
        most,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in &expired {
        let event = Event::new(Kind::Expired, &installation.clock, &installation.random)
            .of(row.organization_id.into())
            .service(row.service_id.into())
            .grant(GrantId(row.id))
            .detail(serde_json::json!({ "was": row.state }));
        // Known where it was approved, and no device came.
        let event = row.user_id.map(UserId).into_iter().fold(event, Event::user);
        event.append(conn).await?;
    }
    Ok(u64::try_from(expired.len()).unwrap_or(u64::MAX))
}
