//! Device logins in progress as an organization's administrators see them: never their codes, which aren't even stored.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::ids::{GrantId, OrganizationId, ServiceId, UserId};
use crate::postgres::PgConnection;

use super::store;

/// A device login that waits for somebody: for a browser, a decision, or its device.
#[derive(Clone, Debug)]
pub struct InProgress {
    /// Its id.
    pub id: GrantId,
    /// What wants to act as a person.
    pub service_id: ServiceId,
    /// Its slug.
    pub service: String,
    /// `pending`, `claimed` or `approved`.
    pub state: String,
    /// Who approved it.
    pub user_id: Option<UserId>,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// What the device calls itself: a claim.
    pub device_name: Option<String>,
    /// What its program calls itself: a claim.
    pub user_agent: Option<String>,
    /// Where it is.
    pub ip: IpAddr,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Which logins, in the order in which they were asked for. The default is all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Select {
    /// The one with this id.
    pub only: Option<GrantId>,
    /// Those after this one.
    pub after: Option<GrantId>,
    /// So many of them.
    pub most: Option<i64>,
}

/// Finds logins of an organization that are in progress.
pub async fn find(
    conn: &mut PgConnection,
    organization: OrganizationId,
    select: Select,
    now: DateTime<Utc>,
) -> Result<Vec<InProgress>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT g.id, g.service_id, v.slug, g.state, g.user_id, g.scopes, g.device_name, g.user_agent, g.ip,
                g.created_at, g.expires_at
         FROM device_grant g JOIN service v ON v.id = g.service_id
         WHERE g.organization_id = $1 AND ($2::uuid IS NULL OR g.id = $2) AND ($3::uuid IS NULL OR g.id > $3)
           AND g.state IN ('pending', 'claimed', 'approved') AND NOT g.expiry_noted AND g.expires_at > $4
         ORDER BY g.id LIMIT $5",
        organization.0,
        select.only.map(|id| id.0),
        select.after.map(|id| id.0),
        now,
        select.most,
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().map(|row| InProgress {
        id: row.id.into(),
        service_id: row.service_id.into(),
        service: row.slug,
        state: row.state,
        user_id: row.user_id.map(UserId),
        scopes: row.scopes,
        device_name: row.device_name,
        user_agent: row.user_agent,
        ip: row.ip.addr(),
        created_at: row.created_at,
        expires_at: row.expires_at,
    });
    Ok(found.collect())
}

/// `pending | claimed | approved → denied`, by an administrator; `false` when it is none of these any more, or another
/// organization's.
pub async fn deny(
    conn: &mut PgConnection,
    organization: OrganizationId,
    grant: GrantId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let denied = sqlx::query!(
        "UPDATE device_grant
         SET state = 'denied', claimed_at = coalesce(claimed_at, $3), decided_at = coalesce(decided_at, $3)
         WHERE id = $1 AND organization_id = $2 AND state IN ('pending', 'claimed', 'approved') AND expires_at > $3",
        grant.0,
        organization.0,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if denied.rows_affected() == 1 {
        store::notify(conn, grant).await?;
    }
    Ok(denied.rows_affected() == 1)
}

/// Counts an organization's logins that are in progress.
pub async fn count(
    conn: &mut PgConnection,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM device_grant
           WHERE organization_id = $1 AND state IN ('pending', 'claimed', 'approved') AND NOT expiry_noted
             AND expires_at > $2"#,
        organization.0,
        now,
    )
    .fetch_one(conn)
    .await
}
