//! Whether the database answers, so that nobody has to wait to learn that it doesn't.
//!
//! 1. A connection of its own asks every second. A standby is as good as away: it can't be written to.
//! 2. A connection that was closed is made again before anything is said of it. One that does *not answer in time* is a loss at
//!    once: the network may have swallowed every connection of this server, and new ones may work.
//! 3. From a loss on, whoever needs the database is told so at once; who was waiting for it has a moment left, then is told too.
//!    So a dead network, on which TCP would wait for a quarter of an hour, ends no request later than that.
//! 4. When it answers again, the connections that the pool kept meanwhile are thrown away before anybody gets one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often to ask while the database answers.
const EVERY: Duration = Duration::from_secs(1);

/// How often while it doesn't.
const AGAIN: Duration = Duration::from_millis(250);

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(2);

/// What is left after a loss for what was under way: an answer may be on its way.
const MOMENT: Duration = Duration::from_secs(1);

/// Why the database is as good as away.
const STANDBY: &str = "it can't be written to: it is a standby, or read-only";

/// Whether this server may write.
const QUESTION: &str = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";

/// Whether the database answers. Cheap to clone; it does until something else was found.
#[derive(Clone, Debug, Default)]
pub struct Availability(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    away: AtomicBool,
    /// How often it was lost.
    losses: watch::Sender<u64>,
    /// When it was lost last, and when it answered again.
    outage: Mutex<Option<(Instant, Option<Instant>)>>,
}

/// The database is away, or was lost while it was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database is away")]
pub struct Away;

impl Availability {
    /// Whether it doesn't answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.0.away.load(Ordering::Acquire)
    }

    /// Does what needs the database, unless it is away or gets lost meanwhile.
    ///
    /// What is given up is dropped where it stands: its transaction is rolled back, if not by this server then by PostgreSQL.
    pub async fn unless_lost<T>(&self, work: impl Future<Output = T>) -> Result<T, Away> {
        let lost = self.loss();
        if self.is_away() {
            return Err(Away);
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = async { lost.await; sleep(MOMENT).await } => Err(Away),
        }
    }

    /// The same, for so long at most: a table may be locked while the database answers.
    pub async fn within<T>(&self, longest: Duration, work: impl Future<Output = T>) -> Result<T, Away> {
        timeout(longest, self.unless_lost(work)).await.unwrap_or_else(|_| {
            tracing::error!(?longest, "a request was given up: it took too long");
            Err(Away)
        })
    }

    /// Ends with the next loss, counted from this call.
    pub fn loss(&self) -> impl Future<Output = ()> + use<> {
        let mut losses = self.0.losses.subscribe();
        let parts = self.0.clone();
        async move {
            let _it_is_kept_by_the_parts = losses.changed().await;
            drop(parts);
        }
    }

    /// Watches until `stop`: the database of this pool, whose connections are thrown away after a loss.
    pub async fn watch(self, pool: PgPool, stop: CancellationToken) {
        let mut line = Line { availability: self, options: (*pool.connect_options()).clone(), pool, connection: None };
        let watching = async {
            loop {
                line.look().await;
                sleep(if line.availability.is_away() { AGAIN } else { EVERY }).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
        }
        if let Some(connection) = line.connection.take() {
            let _or_postgresql_finds_out = timeout(MOMENT, connection.close()).await;
        }
    }

    /// How long ago it was lost, if it is away or answers again for no longer than `settles`.
    #[must_use]
    pub fn lost_ago(&self, settles: Duration) -> Option<Duration> {
        let (lost, answers_again) = (*self.outage())?;
        let settled = answers_again.is_some_and(|since| since.elapsed() > settles);
        (!settled).then(|| lost.elapsed())
    }

    fn outage(&self) -> MutexGuard<'_, Option<(Instant, Option<Instant>)>> {
        self.0.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, why: &str) {
        if !self.0.away.swap(true, Ordering::AcqRel) {
            *self.outage() = Some((Instant::now(), None));
            tracing::error!(why, "the database is away: requests are told so until it answers again");
        }
        // After the flag: whoever begins in between sees it.
        self.0.losses.send_modify(|losses| *losses += 1);
    }

    fn find(&self, pool: &PgPool) {
        if !self.is_away() {
            return;
        }
        for _ in 0..pool.num_idle() {
            // Dropped rather than closed: nobody is there to say good-bye to.
            drop(pool.try_acquire().map(sqlx::pool::PoolConnection::detach));
        }
        if let Some((_, answers_again)) = &mut *self.outage() {
            *answers_again = Some(Instant::now());
        }
        self.0.away.store(false, Ordering::Release);
        tracing::info!("the database answers again");
    }
}

/// The connection that asks.
struct Line {
    availability: Availability,
    options: PgConnectOptions,
    pool: PgPool,
    connection: Option<PgConnection>,
}

impl Line {
    async fn look(&mut self) {
        if let Some(mut known) = self.connection.take() {
            match timeout(SOON, may_write(&mut known)).await {
                Ok(Ok(true)) => return self.keep(known),
                // A standby now: those of the pool lead there too, and have to go.
                Ok(Ok(false)) => self.availability.lose(STANDBY),
                // Closed: a new connection may be had.
                Ok(Err(_)) => {}
                Err(_) => self.availability.lose("it did not answer within 2 s"),
            }
        }
        let connected = async {
            let mut fresh = PgConnection::connect_with(&self.options).await?;
            Ok::<_, sqlx::Error>((may_write(&mut fresh).await?, fresh))
        };
        match timeout(SOON, connected).await {
            Ok(Ok((true, fresh))) => self.keep(fresh),
            Ok(Ok((false, _))) => self.availability.lose(STANDBY),
            Ok(Err(error)) => self.availability.lose(&error.to_string()),
            Err(_) => self.availability.lose("it can't be reached within 2 s"),
        }
    }

    fn keep(&mut self, connection: PgConnection) {
        self.connection = Some(connection);
        self.availability.find(&self.pool);
    }
}

async fn may_write(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // The simple protocol: a pooler between needs to keep nothing for it.
    sqlx::raw_sql(QUESTION).fetch_one(connection).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_lost_database_is_told_after_a_moment_and_who_comes_then_at_once() {
        let availability = Availability::default();
        assert_eq!(availability.unless_lost(async { 1 }).await, Ok(1));
        let waiting = availability.unless_lost(std::future::pending::<()>());
        let quick = availability.unless_lost(async {
            sleep(Duration::from_millis(900)).await;
            2
        });
        let begun = tokio::time::Instant::now();
        let losing = async {
            sleep(Duration::from_millis(100)).await;
            availability.lose("the test");
        };
        let (waited, quick, ()) = tokio::join!(waiting, quick, losing);
        assert_eq!((waited, quick), (Err(Away), Ok(2)));
        assert_eq!(begun.elapsed(), Duration::from_millis(1100));
        assert_eq!(availability.unless_lost(async { 3 }).await, Err(Away));
        assert_eq!(begun.elapsed(), Duration::from_millis(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_lock_is_given_up_too() {
        let availability = Availability::default();
        let begun = tokio::time::Instant::now();
        let waited = availability.within(Duration::from_secs(3), std::future::pending::<()>()).await;
        assert_eq!((waited, begun.elapsed()), (Err(Away), Duration::from_secs(3)));
    }
}
