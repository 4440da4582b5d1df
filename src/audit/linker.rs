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
//! after a restore, the first pass looks at everything, and later ones only at what this cluster wrote since.
//!
//! **None gets two places.** An advisory lock lets one node link at a time; were it not for that, the constraints of
//! `audit_link` would refuse the second.

use std::collections::HashMap;
use std::time::Duration;

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
    let mut linker = Linker::new(pool, keyring);
    let mut failed = false;
    loop {
        let begun = Instant::now();
        let outcome = linker.pass(Turn::Leave).await;
        match &outcome {
            Err(error) if !failed => tracing::warn!(%error, "the audit's events have to wait for their links"),
            _ => {}
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

impl Linker {
    /// One that has looked at nothing yet.
    #[must_use]
    pub fn new(pool: PgPool, keyring: Keyring) -> Self {
        Self { pool, keyring, from: 0 }
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
            let mut tx = self.pool.begin().await?;
            if !take_turn(&mut tx, turn).await? {
                return Ok(linked);
            }
            let mut batch = unlinked(&mut tx, after, before).await?;
            let Some(last) = batch.last() else { break };
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
) -> Result<Vec<Unlinked>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT e.transaction_id, e.sequence, e.id, e.at, e.kind, e.organization_id, e.service_id, e.grant_id,
                  e.session_id, e.user_id, abbrev(e.ip) AS ip, e.user_agent, e.detail::text AS "detail!"
           FROM audit_event e
           WHERE (e.transaction_id, e.sequence) > ($1, $2) AND e.transaction_id < $3
             AND NOT EXISTS (SELECT FROM audit_link l WHERE l.event_id = e.id)
           ORDER BY e.transaction_id, e.sequence LIMIT $4"#,
        transaction,
        number,
        before,
        BATCH,
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
