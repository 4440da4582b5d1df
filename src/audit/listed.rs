//! Events as those see them who administer an organization: by their places in its chain, the newest first.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::ids::{EventId, GrantId, OrganizationId, ServiceId, SessionId, UserId};
use crate::postgres::PgConnection;

/// So many places are looked through at once: whoever looks for what is nowhere doesn't read a chain of millions.
pub const STRETCH: i64 = 10_000;

/// An event with its place.
#[derive(Clone, Debug)]
pub struct Listed {
    /// In the organization's chain, from 1.
    pub position: i64,
    /// Its id.
    pub id: EventId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: String,
    /// For which service.
    pub service_id: Option<ServiceId>,
    /// About which device login.
    pub grant_id: Option<GrantId>,
    /// About which signed-in device.
    pub session_id: Option<SessionId>,
    /// By whom, or about whom.
    pub user_id: Option<UserId>,
    /// From where.
    pub ip: Option<String>,
    /// As the caller said it.
    pub user_agent: Option<String>,
    /// What else there is to say.
    pub detail: Value,
}

/// Which events. The default is all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// For this service.
    pub service: Option<ServiceId>,
    /// About this device login.
    pub grant: Option<GrantId>,
    /// About this signed-in device.
    pub session: Option<SessionId>,
    /// By or about this person.
    pub user: Option<UserId>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// Some events, and where to go on looking.
#[derive(Clone, Debug)]
pub struct Found {
    /// The newest first.
    pub events: Vec<Listed>,
    /// Before this position there may be more; `None`: there are none.
    pub before: Option<i64>,
}

/// Finds at most so many events among the [`STRETCH`] places before this one, or the last ones. Events that have no place
/// yet, of the last second or so, are not among them.
pub async fn find(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: Filter<'_>,
    before: Option<i64>,
    most: usize,
) -> Result<Found, sqlx::Error> {
    let bounds = sqlx::query!(
        r#"SELECT coalesce(min(position), 0) AS "first!", coalesce(max(position), 0) AS "last!"
           FROM audit_link WHERE organization_id = $1"#,
        organization.0,
    )
    .fetch_one(&mut *conn)
    .await?;
    let end = before.map_or(bounds.last + 1, |before| before.min(bounds.last + 1));
    let start = end.saturating_sub(STRETCH).max(bounds.first);
    let rows = sqlx::query!(
        r#"SELECT l.position, e.id, e.at, e.kind, e.service_id, e.grant_id, e.session_id, e.user_id,
                  abbrev(e.ip) AS ip, e.user_agent, e.detail
           FROM audit_link l JOIN audit_event e ON e.id = l.event_id AND e.organization_id = l.organization_id
           WHERE l.organization_id = $1 AND l.position >= $2 AND l.position < $3
             AND ($4::text IS NULL OR e.kind = $4) AND ($5::uuid IS NULL OR e.service_id = $5)
             AND ($6::uuid IS NULL OR e.grant_id = $6) AND ($7::uuid IS NULL OR e.session_id = $7)
             AND ($8::uuid IS NULL OR e.user_id = $8)
             AND ($9::timestamptz IS NULL OR e.at >= $9) AND ($10::timestamptz IS NULL OR e.at < $10)
           ORDER BY l.position DESC LIMIT $11"#,
        organization.0,
        start,
        end,
        filter.kind,
        filter.service.map(|id| id.0),
        filter.grant.map(|id| id.0),
        filter.session.map(|id| id.0),
        filter.user.map(|id| id.0),
        filter.since,
        filter.until,
        i64::try_from(most).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    let events: Vec<Listed> = rows
        .into_iter()
        .map(|row| Listed {
            position: row.position,
            id: EventId(row.id),
            at: row.at,
            kind: row.kind,
            service_id: row.service_id.map(ServiceId),
            grant_id: row.grant_id.map(GrantId),
            session_id: row.session_id.map(SessionId),
            user_id: row.user_id.map(UserId),
            ip: row.ip,
            user_agent: row.user_agent,
            detail: row.detail,
        })
        .collect();
    // A full answer ends at its last event, one with fewer at the beginning of the stretch.
    let seen = events.last().filter(|_| events.len() == most).map_or(start, |last| last.position);
    Ok(Found { events, before: (seen > bounds.first).then_some(seen) })
}
