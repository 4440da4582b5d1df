//! What is over is noted and deleted, without being noticed.
//!
//! 1. **A batch is one short transaction** of some hundreds of rows, which are found by an index, and so is each of them: by
//!    `= ANY(ARRAY(…))`, for which no plan reads the whole table. What somebody else has locked is left for later, and whatever
//!    takes too long is given up.
//! 2. **One node at a time**: a transaction takes an advisory lock, or leaves the turn to whoever has it. It is given back with the
//!    transaction, by whoever dies too, and needs no session of its own: a pooler may be between.
//! 3. **A backlog waits for nobody and nobody for it**: after a full batch there is a pause as long as the batch took, and then it is
//!    the next kind's turn.
//! 4. **The time is the installation's clock**, and how long things are kept is [`Retention`] or said where they are made.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::error::DatabaseError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Retention;
use crate::device::expiry;
use crate::device::over::{self, Over};
use crate::dpop::replay;
use crate::installation::Installation;
use crate::notice::{delivery, link, outbox};
use crate::postgres::PgConnection;
use crate::session;
use crate::telemetry::leftover::Leftover;
use crate::telemetry::metrics;
use crate::upstream::round_trip;
use crate::{attempts, audit, browser, budget};

/// How often to look.
const EVERY: Duration = Duration::from_secs(20);

/// How many rows in one transaction.
const BATCH: i64 = 500;

/// How many of those for which an event is written each.
const BATCH_OF_EVENTS: i64 = 200;

/// What PostgreSQL says when this transaction waited for a lock or took too long, was in a deadlock, or may not do it: that is of
/// one kind of row, and the others may go.
const OF_ONE_KIND: [&str; 4] = ["55P03", "57014", "40P01", "42501"];

/// What there is to be done.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// To note what expired.
    Expiries,
    /// To give up what waits to be told for too long.
    HopelessNotices,
    /// To delete what is over.
    Delete(Leftover),
}

/// What became of a batch.
enum Done {
    /// So many rows of so many.
    Rows(u64, i64),
    /// Nothing: another node has the turn.
    ByAnother,
}

/// Tidies up until `stop`.
pub async fn watch(installation: Installation, retention: Retention, stop: CancellationToken) {
    let tidying = async {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = tidy_up(&installation, retention).await {
                tracing::warn!(%error, "tidying up has to wait");
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = tidying => {}
    }
}

/// Does everything there is to be done; `false`: some of it was another node's turn.
pub async fn tidy_up(installation: &Installation, retention: Retention) -> Result<bool, sqlx::Error> {
    let mut left = vec![Task::Expiries, Task::HopelessNotices];
    left.extend(Leftover::ALL.map(Task::Delete));
    let mut whole = true;
    while !left.is_empty() {
        let mut full = Vec::new();
        for task in left {
            let began = Instant::now();
            match batch(installation, retention, task).await {
                Ok(Done::Rows(rows, most)) if rows >= most.unsigned_abs() => {
                    full.push(task);
                    tokio::time::sleep(began.elapsed()).await;
                }
                Ok(Done::Rows(..)) => {}
                Ok(Done::ByAnother) => whole = false,
                Err(error) if is_of_one_kind(&error) => {
                    tracing::warn!(?task, %error, "this has to wait, when all else is tidied up");
                }
                Err(error) => return Err(error),
            }
        }
        left = full;
    }
    Ok(whole)
}

async fn batch(installation: &Installation, retention: Retention, task: Task) -> Result<Done, sqlx::Error> {
    let mut tx = installation.pool.begin().await?;
    if !take_turn(&mut tx).await? {
        return Ok(Done::ByAnother);
    }
    let most = if matches!(task, Task::Expiries) { BATCH_OF_EVENTS } else { BATCH };
    let rows = match task {
        Task::Expiries => expiry::note(&mut tx, installation, most).await?,
        Task::HopelessNotices => delivery::give_up(&mut tx, installation, most).await?,
        Task::Delete(kind) => delete(&mut tx, kind, retention, installation.clock.now(), most).await?,
    };
    tx.commit().await?;
    if let Task::Delete(kind) = task
        && rows > 0
    {
        metrics::deleted(kind, rows);
        tracing::debug!(kind = kind.as_str(), rows, "deleted what was over");
    }
    Ok(Done::Rows(rows, most))
}

/// Whether this transaction may tidy up. In any case it is bounded: it yields to whoever it is in the way of before PostgreSQL looks
/// for a deadlock, and ends when its node hangs.
async fn take_turn(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtext('countersign housekeeping'))
                  AND set_config('lock_timeout', '500ms', true) || set_config('statement_timeout', '10s', true)
                      || set_config('idle_in_transaction_session_timeout', '10s', true) IS NOT NULL AS "mine!""#
    )
    .fetch_one(conn)
    .await
}

async fn delete(
    conn: &mut PgConnection,
    kind: Leftover,
    retention: Retention,
    now: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let before = |kept: Duration| now - TimeDelta::from_std(kept).unwrap_or(TimeDelta::days(36_500));
    match kind {
        Leftover::Grants => {
            // As long as an approval can be reported, it is there.
            let over = before(retention.grants);
            let over = Over { before: over, approved_before: over.min(now - link::LIFE) };
            over::sweep(conn, over, most).await
        }
        Leftover::Sessions => session::over::sweep(conn, before(retention.sessions), most).await,
        Leftover::BrowserSessions => browser::store::sweep(conn, now, most).await,
        Leftover::UpstreamSignIns => round_trip::sweep(conn, now, most).await,
        Leftover::Budgets => budget::sweep(conn, now, most).await,
        Leftover::Attempts => attempts::sweep(conn, now, most).await,
        Leftover::Proofs => replay::sweep(conn, now, most).await,
        Leftover::Notices => outbox::sweep(conn, now, most).await,
        Leftover::Events => audit::retention::prune(conn, now, most).await,
    }
}

fn is_of_one_kind(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| OF_ONE_KIND.contains(&&*code))
}
