//! What is taken back from a person's browsers, when they say that it wasn't them, or when their password is replaced: codes
//! that the browsers hold, and approvals that no device has come for.

use chrono::{DateTime, Utc};

use crate::ids::{BrowserSessionId, GrantId, OrganizationId, ServiceId, UserId};
use crate::postgres::PgConnection;

use super::store;

/// Whose codes are taken back, and because of what.
#[derive(Clone, Copy, Debug)]
pub struct Recall<'a> {
    /// Where the person belongs.
    pub organization: OrganizationId,
    /// The person.
    pub user: UserId,
    /// The browsers in which they were signed in there until now.
    pub browsers: &'a [BrowserSessionId],
    /// The approval that wasn't theirs, which is taken back even if its time is over. `None`: none of them is, and every one is
    /// taken back of which the audit doesn't say that its time ran out, whatever this machine's clock says.
    pub grant: Option<GrantId>,
}

/// `claimed → denied` for what these browsers claimed, then `approved → denied` for what the person approved, and says
/// which those were. In this order an approval that is made meanwhile is in one of the two: it waits for the first
/// UPDATE and finds its grant denied, or the second waits for it and finds the grant approved.
pub async fn deny_all(
    conn: &mut PgConnection,
    recall: Recall<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<(GrantId, ServiceId)>, sqlx::Error> {
    let browsers: Vec<_> = recall.browsers.iter().map(|id| id.0).collect();
    let claimed = sqlx::query!(
        "UPDATE device_grant SET state = 'denied', decided_at = $4, user_id = $3
         WHERE state = 'claimed' AND claimed_by = ANY($1) AND organization_id = $2 AND expires_at > $4
         RETURNING id, service_id",
        &browsers,
        recall.organization.0,
        recall.user.0,
        now,
    )
    .fetch_all(&mut *conn)
    .await?;
    let approved = sqlx::query!(
        "UPDATE device_grant SET state = 'denied'
         WHERE state = 'approved' AND user_id = $1
           AND (id = $2 OR expires_at > $3 OR $2 IS NULL AND NOT expiry_noted)
         RETURNING id, service_id",
        recall.user.0,
        recall.grant.map(|grant| grant.0),
        now,
    )
    .fetch_all(&mut *conn)
    .await?;
    let claimed = claimed.into_iter().map(|row| (GrantId(row.id), ServiceId(row.service_id)));
    let approved = approved.into_iter().map(|row| (GrantId(row.id), ServiceId(row.service_id)));
    let denied: Vec<_> = claimed.chain(approved).collect();
    for (grant, _) in &denied {
        store::notify(conn, *grant).await?;
    }
    Ok(denied)
}
