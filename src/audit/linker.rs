//! Gives events their places in the chains, after they were committed.
//!
//! A chain whose links were made by the transactions that append events would need a lock for each organization until
//! they commit: one login after the other. So events are appended without order, and one node at a time links what
//! is there, every second.
//!
//! **No event is left out, and none waits for another.** A pass looks for committed events without a link. It need not look
//! at all of them: an event says which transaction wrote it, and PostgreSQL tells the oldest transaction that is still
//! under way. Whatever an older one wrote is visible to the pass that asked before it looked. So when a pass has linked
//! everything it saw, nothing older can turn up any more, and the next pass begins there ([`Linker::from`]). A transaction
//! that takes long keeps this border back: passes then look at more, but link everything else in time, and the late event when it
//! comes. The border is kept in memory only, as numbers of transactions mean nothing in another cluster: after a start, and so
//! after a restore, the first pass looks at everything, and later ones only at what this cluster wrote since. A standby that took over
//! without the last transactions gives their numbers anew: so a pass looks at everything too after one that failed, and
//! besides once an hour.
//!
//! **None waits for a node that hangs.** PostgreSQL ends the transaction of one that has stopped speaking.
//!
//! **None gets two places.** An advisory lock lets one node link at a time; were it not for that, the constraints of
//! `audit_link` would refuse the second.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::line::{self, BEGINNING, Event, Hash};
use crate::postgres::{PgConnection, PgPool, impossible_row};
use crate::secrets::Keyring;

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// How many events are linked in one transaction.
const BATCH: i64 = 5000;

/// How often to look at everything.
const EVERYTHING_EVERY: Duration = Duration::from_hours(1);

/// How long it may be other nodes' turn before it is asked whether they do anything. So long an event may be without a link.
const OVERDUE: Duration = Duration::from_mins(1);

/// What PostgreSQL says when a lock was waited for long enough.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What to do when another node is linking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Leave it to that node.
    Leave,
    /// Link what it leaves.
    Wait,
}

/// Links events, pass by pass.
pub struct Linker {
    pool: PgPool,
    keyring: Keyring,
    /// Every event of an earlier transaction has its link.
    from: i64,
    /// Only events of this moment and later are linked.
    since: Option<DateTime<Utc>>,
    /// No batch is begun any more.
    stop: CancellationToken,
    /// Whether the last pass was another node's turn.
    left: bool,
}

/// An event and who wrote it.
struct Unlinked {
    transaction_id: i64,
    sequence: i64,
    event: Event,
}

/// The end of a chain.
#[derive(Clone, Copy)]
struct Head {
    position: i64,
    hash: Hash,
}

/// Links what was appended, until `stop`.
pub async fn watch(pool: PgPool, keyring: Keyring, stop: CancellationToken) {
    let mut linker = Linker::new(pool, keyring).until(stop.clone());
    let (mut failed, mut warned) = (false, false);
    let (mut last_turn, mut everything_at) = (Instant::now(), Instant::now());
    loop {
        let begun = Instant::now();
        if begun - everything_at > EVERYTHING_EVERY {
            linker.look_at_everything();
            everything_at = begun;
        }
        let outcome = linker.pass(Turn::Leave).await;
        if let Err(error) = &outcome {
            if !failed {
                tracing::warn!(%error, "the audit's events have to wait for their links");
            }
            linker.look_at_everything();
        } else if !linker.left {
            (last_turn, warned) = (Instant::now(), false);
        } else if last_turn.elapsed() > OVERDUE && !warned {
            last_turn = Instant::now();
            warned = matches!(linker.is_overdue().await, Ok(true));
            if warned {
                tracing::warn!(
                    "the audit's events have no links for a minute: another node holds the turn and links nothing"
                );
            }
        }
        failed = outcome.is_err();
        // A pass that has much to look at, because of a transaction that takes long, must not be all that the database does.
        let pause = EVERY.max(begun.elapsed() * 4);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Links every event that is committed now, and says how many.
pub async fn link_all(pool: &PgPool, keyring: &Keyring) -> Result<usize, sqlx::Error> {
    Linker::new(pool.clone(), keyring.clone()).pass(Turn::Wait).await
}

/// Links the events of the transaction with this number and of later ones, and says how many.
pub async fn link_since(pool: &PgPool, keyring: &Keyring, transaction: i64) -> Result<usize, sqlx::Error> {
    let mut linker = Linker::new(pool.clone(), keyring.clone());
    linker.from = transaction;
    linker.pass(Turn::Wait).await
}

/// Links the events that are not older than this, and says how many.
pub async fn link_recent(pool: &PgPool, keyring: &Keyring, since: DateTime<Utc>) -> Result<usize, sqlx::Error> {
    let mut linker = Linker::new(pool.clone(), keyring.clone());
    linker.since = Some(since);
    linker.pass(Turn::Wait).await
}

/// Transactions that begin after this have this number or a higher one.
pub async fn next_transaction(pool: &PgPool) -> Result<i64, sqlx::Error> {
    Ok(transactions(&mut *pool.acquire().await?).await?.1)
}

/// Whether this is another node's turn that doesn't end.
#[must_use]
pub fn is_long_turn(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

impl Linker {
    /// One that has looked at nothing yet.
    #[must_use]
    pub fn new(pool: PgPool, keyring: Keyring) -> Self {
        Self { pool, keyring, from: 0, since: None, stop: CancellationToken::new(), left: false }
    }

    /// Begins no batch after this.
    #[must_use]
    pub fn until(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Lets the next pass look at everything, as the first one does.
    pub const fn look_at_everything(&mut self) {
        self.from = 0;
    }

    /// Whether there are events that are without a link for a minute.
    pub async fn is_overdue(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM audit_event e WHERE e.transaction_id >= $1 AND e.at < now() - make_interval(secs => $2)
                                AND NOT EXISTS (SELECT FROM audit_link l WHERE l.event_id = e.id)) AS "overdue!""#,
            self.from,
            OVERDUE.as_secs_f64(),
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Links every event that was committed before, unless it is another node's turn. Says how many.
    pub async fn pass(&mut self, turn: Turn) -> Result<usize, sqlx::Error> {
        let mut conn = self.pool.acquire().await?;
        let (oldest, next) = transactions(&mut conn).await?;
        drop(conn);
        if next < self.from {
            // The database was put back to an earlier time, or is another one.
            self.from = 0;
        }
        // Higher numbers are those of another cluster, from which this one was restored.
        let before = if self.from == 0 { i64::MAX } else { next };
        let (mut linked, mut after) = (0, (self.from, i64::MIN));
        loop {
            if self.stop.is_cancelled() {
                return Ok(linked);
            }
            let mut tx = self.pool.begin().await?;
            limit(&mut tx).await?;
            self.left = !take_turn(&mut tx, turn).await?;
            if self.left {
                return Ok(linked);
            }
            let mut batch = unlinked(&mut tx, after, before, self.since).await?;
            let Some(last) = batch.last() else {
                // Now, and not when the connection is looked after: it is the next one's turn.
                tx.rollback().await?;
                break;
            };
            after = (last.transaction_id, last.sequence);
            batch.sort_by_key(|unlinked| unlinked.sequence);
            append(&mut tx, &self.keyring, &batch).await?;
            tx.commit().await?;
            linked += batch.len();
        }
        self.from = oldest;
        Ok(linked)
    }
}

/// The oldest transaction that isn't over, and the next one that will begin.
async fn transactions(conn: &mut PgConnection) -> Result<(i64, i64), sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT pg_snapshot_xmin(now.snapshot)::text::bigint AS "oldest!",
                  pg_snapshot_xmax(now.snapshot)::text::bigint AS "next!"
           FROM (SELECT pg_current_snapshot() AS snapshot) now"#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.oldest, row.next))
}

/// Lets PostgreSQL end this transaction when the node hangs, and so its turn. Waiting for a turn takes longer than that.
async fn limit(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = "SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
                      set_config('lock_timeout', '15s', true), set_config('statement_timeout', '60s', true)";
    sqlx::query(set).execute(conn).await?;
    Ok(())
}

/// Whether this transaction may link.
async fn take_turn(conn: &mut PgConnection, turn: Turn) -> Result<bool, sqlx::Error> {
    if turn == Turn::Wait {
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('countersign audit chain'))").execute(conn).await?;
        return Ok(true);
    }
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock(hashtext('countersign audit chain')) AS "mine!""#)
        .fetch_one(conn)
        .await
}

/// The next batch of events without a link, by who wrote them: after this transaction and number, before that transaction.
async fn unlinked(
    conn: &mut PgConnection,
    (transaction, number): (i64, i64),
    before: i64,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<Unlinked>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT e.transaction_id, e.sequence, e.id, e.at, e.kind, e.organization_id, e.service_id, e.grant_id,
                  e.session_id, e.user_id, abbrev(e.ip) AS ip, e.user_agent, e.detail::text AS "detail!"
           FROM audit_event e
           WHERE (e.transaction_id, e.sequence) > ($1, $2) AND e.transaction_id < $3
             AND ($5::timestamptz IS NULL OR e.at >= $5)
             AND NOT EXISTS (SELECT FROM audit_link l WHERE l.event_id = e.id)
           ORDER BY e.transaction_id, e.sequence LIMIT $4"#,
        transaction,
        number,
        before,
        BATCH,
        since,
    )
    .fetch_all(conn)
    .await?;
    let unlinked = rows.into_iter().map(|row| Unlinked {
        transaction_id: row.transaction_id,
        sequence: row.sequence,
        event: Event {
            id: row.id,
            at: row.at,
            kind: row.kind,
            organization_id: row.organization_id,
            service_id: row.service_id,
            grant_id: row.grant_id,
            session_id: row.session_id,
            user_id: row.user_id,
            ip: row.ip,
            user_agent: row.user_agent,
            detail: row.detail,
        },
    });
    Ok(unlinked.collect())
}

/// The end of each of these chains that has begun.
async fn heads(conn: &mut PgConnection, chains: &[Uuid]) -> Result<HashMap<Uuid, Head>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT chain.id AS "chain!", head.position AS "position!", head.hash AS "hash!"
           FROM (SELECT DISTINCT id FROM unnest($1::uuid[]) id) chain
           CROSS JOIN LATERAL (SELECT position, hash FROM audit_link WHERE organization_id = chain.id
                               ORDER BY position DESC LIMIT 1) head"#,
        chains,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let hash = row.hash.try_into().map_err(|_| impossible_row("audit_link"))?;
            Ok((row.chain, Head { position: row.position, hash }))
        })
        .collect()
}

/// Appends these events to their chains, in this order.
async fn append(conn: &mut PgConnection, keyring: &Keyring, batch: &[Unlinked]) -> Result<(), sqlx::Error> {
    let chains: Vec<Uuid> = batch.iter().map(|unlinked| unlinked.event.chain()).collect();
    let mut heads = heads(conn, &chains).await?;
    let (mut positions, mut events) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    let [mut before, mut hashes, mut seals] = [(); 3].map(|()| Vec::with_capacity(batch.len()));
    for Unlinked { event, .. } in batch {
        let head = heads.entry(event.chain()).or_insert(Head { position: 0, hash: BEGINNING });
        let position = head.position + 1;
        let hash = line::hash(&event.body(position, &head.hash));
        positions.push(position);
        events.push(event.id);
        before.push(head.hash.to_vec());
        hashes.push(hash.to_vec());
        seals.push(line::seal(keyring, &hash).to_vec());
        *head = Head { position, hash };
    }
    sqlx::query!(
        "INSERT INTO audit_link (organization_id, position, event_id, previous_hash, hash, seal)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[])",
        &chains,
        &positions,
        &events,
        &before,
        &hashes,
        &seals,
    )
    .execute(conn)
    .await?;
    Ok(())
}
