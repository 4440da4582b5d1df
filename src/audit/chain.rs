//! The chains as they are read back: for an export, and to see whether anybody changed them.

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use uuid::Uuid;

use super::line::{self, Event, Hash};
use crate::ids::OrganizationId;
use crate::postgres::{PgConnection, impossible_row};

/// Which links to read.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Of this organization only.
    pub organization: Option<OrganizationId>,
    /// Of each chain this part only; none: all.
    pub spans: Option<Spans>,
}

/// A part of each chain, without gaps.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    chains: Vec<Uuid>,
    /// Positions, the first and the last one that are in it. Empty where the last is less.
    first: Vec<i64>,
    last: Vec<i64>,
}

/// The part of each chain that has every event from `since` on and before `until`.
///
/// Positions are in the order of commits, times in that of clocks: events of other times may lie between. An event that is
/// gone has no time, so one beside such a part may be of it and is in it too.
pub async fn spans(
    conn: &mut PgConnection,
    organization: Option<OrganizationId>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<Spans, sqlx::Error> {
    let rows = sqlx::query!(
        r#"WITH place AS (
               SELECT l.organization_id AS chain, l.position, e.at FROM audit_link l LEFT JOIN audit_event e ON e.id = l.event_id
               WHERE $1::uuid IS NULL OR l.organization_id = $1),
           bound AS (
               SELECT chain, min(position) FILTER (WHERE at >= $2::timestamptz) AS first,
                             max(position) FILTER (WHERE at < $3::timestamptz) AS last
               FROM place GROUP BY chain)
           SELECT chain AS "chain!",
                  coalesce(max(position) FILTER (WHERE $2 IS NOT NULL AND at IS NOT NULL
                                                   AND (bound.first IS NULL OR position < bound.first)) + 1, 1) AS "first!",
                  coalesce(min(position) FILTER (WHERE $3 IS NOT NULL AND at IS NOT NULL
                                                   AND (bound.last IS NULL OR position > bound.last)) - 1,
                           max(position)) AS "last!"
           FROM place JOIN bound USING (chain) GROUP BY chain"#,
        organization.map(|organization| organization.0),
        since,
        until,
    )
    .fetch_all(conn)
    .await?;
    let mut spans = Spans::default();
    for row in rows {
        spans.chains.push(row.chain);
        spans.first.push(row.first);
        spans.last.push(row.last);
    }
    Ok(spans)
}

/// A place in a chain, and what it should be about.
#[derive(Clone, Debug)]
pub struct Link {
    /// The organization; the nil UUID for the events of none.
    pub chain: Uuid,
    /// From 1.
    pub position: i64,
    /// Which event has this place.
    pub event_id: Uuid,
    pub(super) previous_hash: Hash,
    pub(super) hash: Hash,
    /// None in a file, whose seals are not asked for.
    pub(super) seal: Option<Hash>,
    /// Whether the event says that it is of this chain.
    pub(super) of_chain: bool,
    /// What is hashed; none where the event is gone.
    pub(super) body: Option<String>,
}

impl Link {
    /// The line that is exported; none where the event is gone.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        Some(line::line(self.body.as_ref()?, &self.hash, &self.seal?))
    }

    /// Reads an exported line.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (cut, _) = text.rsplit_once(",\"hash\":")?;
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        let text = |member: &str| json.get(member)?.as_str();
        let id = |member: &str| text(member)?.parse::<Uuid>().ok();
        Some(Self {
            chain: if json.get("organization_id").is_some() { id("organization_id")? } else { Uuid::nil() },
            position: json.get("position")?.as_i64()?,
            event_id: id("id")?,
            previous_hash: line::from_hex(text("previous_hash")?)?,
            hash: line::from_hex(text("hash")?)?,
            seal: None,
            of_chain: true,
            body: Some(format!("{cut}}}")),
        })
    }
}

/// Reads links with their events, chain by chain, in order. Rows are made as they are taken: many need no memory.
pub fn links(conn: &mut PgConnection, which: Which) -> impl Stream<Item = Result<Link, sqlx::Error>> + Send + '_ {
    let Which { organization, spans } = which;
    let spans = spans.as_ref();
    let rows = sqlx::query!(
        r#"SELECT l.organization_id AS chain, l.position, l.event_id, l.previous_hash, l.hash, l.seal,
                  e.id AS "id?", e.at AS "at?", e.kind AS "kind?", e.organization_id AS "organization_id?",
                  e.service_id, e.grant_id, e.session_id, e.user_id,
                  abbrev(e.ip) AS ip, e.user_agent, e.detail::text AS detail
           FROM audit_link l LEFT JOIN audit_event e ON e.id = l.event_id
           LEFT JOIN unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS span(chain, first, last)
                  ON span.chain = l.organization_id
           WHERE ($1::uuid IS NULL OR l.organization_id = $1)
             AND ($2 IS NULL OR l.position BETWEEN span.first AND span.last)
           ORDER BY l.organization_id, l.position"#,
        organization.map(|organization| organization.0),
        spans.map(|spans| spans.chains.as_slice()) as Option<&[Uuid]>,
        spans.map(|spans| spans.first.as_slice()) as Option<&[i64]>,
        spans.map(|spans| spans.last.as_slice()) as Option<&[i64]>,
    )
    .fetch(conn);
    rows.and_then(|row| async move {
        let hash = |bytes: Vec<u8>| Hash::try_from(bytes).map_err(|_| impossible_row("audit_link"));
        let previous_hash = hash(row.previous_hash)?;
        let event = match (row.id, row.at, row.kind, row.detail) {
            (Some(id), Some(at), Some(kind), Some(detail)) => Some(Event {
                id,
                at,
                kind,
                organization_id: row.organization_id,
                service_id: row.service_id,
                grant_id: row.grant_id,
                session_id: row.session_id,
                user_id: row.user_id,
                ip: row.ip,
                user_agent: row.user_agent,
                detail,
            }),
            _ => None,
        };
        Ok(Link {
            chain: row.chain,
            position: row.position,
            event_id: row.event_id,
            previous_hash,
            hash: hash(row.hash)?,
            seal: Some(hash(row.seal)?),
            of_chain: event.as_ref().is_some_and(|event| event.chain() == row.chain),
            body: event.map(|event| event.body(row.position, &previous_hash)),
        })
    })
}

/// Events that have no link although they are older than `before`: of which organization, how many, and since when.
pub async fn left_out(
    conn: &mut PgConnection,
    organization: Option<OrganizationId>,
    before: DateTime<Utc>,
) -> Result<Vec<LeftOut>, sqlx::Error> {
    sqlx::query_as!(
        LeftOut,
        r#"SELECT coalesce(e.organization_id, '00000000-0000-0000-0000-000000000000') AS "chain!",
                  count(*) AS "events!", min(e.at) AS "oldest!"
           FROM audit_event e
           WHERE NOT EXISTS (SELECT FROM audit_link l WHERE l.event_id = e.id)
             AND e.at < $1 AND ($2::uuid IS NULL OR e.organization_id = $2)
           GROUP BY 1 ORDER BY 1"#,
        before,
        organization.map(|organization| organization.0),
    )
    .fetch_all(conn)
    .await
}

/// What [`left_out`] found of one chain.
#[derive(Clone, Copy, Debug)]
pub struct LeftOut {
    /// The organization; the nil UUID for the events of none.
    pub chain: Uuid,
    /// How many.
    pub events: i64,
    /// The time of the oldest.
    pub oldest: DateTime<Utc>,
}
