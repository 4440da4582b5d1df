//! One connection of each node hears what the nodes tell each other (LISTEN/NOTIFY), and the node knows when it doesn't.
//!
//! 1. All channels share the connection. It belongs to no pool that requests use.
//! 2. PostgreSQL sends what was notified when the transaction commits, to those who listen at that moment. What was said while
//!    nobody listened is never said again. So an [`Ear`] is told when the node begins to hear and when it has become
//!    deaf, and looks again for what it may have missed.
//! 3. A connection can be dead without anybody saying so: its network drops packets, or it leads to a server that is not
//!    the primary any more while requests reach the new one. So the node calls itself through the pool that requests use. It
//!    hears from its first call on, and holds itself for deaf when the next ones don't come.
//! 4. A pooler that lends connections for a transaction must not be told to listen. One of PostgreSQL's processes would, for
//!    good, and whoever was lent it next would get what was notified, in the midst of their answers. So the connection is named
//!    when it is made, in a way that poolers don't pass on, and asked for its name first.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{PgConnection, PgPool};
use crate::telemetry::metrics;

/// Where nodes call themselves. The payload is the node's own mark.
const CALLS: &str = "countersign_call";

/// How often they do.
const CALL_EVERY: Duration = Duration::from_secs(1);

/// How long one may take.
const CALL_WITHIN: Duration = Duration::from_secs(2);

/// How long a call may be unheard. With the time to the next call, it is less than the five seconds after which a device polls
/// again: by then, what was missed is to be found.
const SILENCE: Duration = Duration::from_millis(2_500);

/// The setting that holds the name of a connection that listens, asked for without a prepared statement.
const NAME: &str = "countersign.listener";
const ASK_NAME: &str = "SELECT current_setting('countersign.listener', true)";

/// The error class of a connection that asks for what a pooler doesn't give (protocol violation).
const REFUSED: &str = "08P01";

/// Why a node doesn't listen.
const POOLED: &str =
    "a pooler stands between, over which nothing can be heard: set database.listen_url to lead past it";

/// Why a node never heard anything.
const ELSEWHERE: &str =
    "this node does not hear its own calls: database.listen_url and database.url have to lead to one database";

/// Why a node hears nothing any more.
const SILENT: &str = "this node does not hear its own calls any more";

/// How long to wait before the connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);

/// What listens on one channel. One task calls all of it, one after the other: none may take long.
pub trait Ear: Send + Sync {
    /// Where it listens.
    fn channel(&self) -> &'static str;
    /// Something was said.
    fn heard(&self, payload: &str);
    /// From here on nothing is missed. What was said before may have been.
    fn hearing(&self);
    /// From here on anything may be missed.
    fn deaf(&self);
}

/// A node that listens.
pub struct Listening {
    /// How to connect: to the server that `pool` leads to, and not through a pooler that lends a connection for one
    /// transaction.
    pub to: PgConnectOptions,
    /// The connections that requests use.
    pub pool: PgPool,
    /// What the node calls itself: letters and digits. No other node is called so.
    pub mark: String,
    /// Who listens.
    pub ears: Vec<Arc<dyn Ear>>,
}

impl Listening {
    /// Listens until `stop`.
    pub async fn until(self, stop: CancellationToken) {
        let calls = Calls::default();
        tokio::select! {
            () = self.listen(&calls) => {}
            () = self.call(&calls) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn listen(&self, calls: &Calls) {
        let mut hears = true;
        loop {
            let Err(error) = self.listen_once(calls, &mut hears).await;
            // Said once, and not every second.
            if std::mem::take(&mut hears) {
                tracing::warn!(%error, "not hearing the other nodes: what they decide is looked up meanwhile");
            }
            sleep(RECONNECT).await;
        }
    }

    async fn listen_once(&self, calls: &Calls, hears: &mut bool) -> Result<Infallible, sqlx::Error> {
        let mut listener = self.connect().await?;
        let channels = self.ears.iter().map(|ear| ear.channel()).chain([CALLS]);
        timeout(SILENCE, listener.listen_all(channels)).await.map_err(|_| lost("LISTEN was not answered"))??;
        // What was called before isn't heard.
        calls.unheard.send_replace(None);
        calls.wanted.notify_one();
        // Until this connection ends. Only what was called after LISTEN is heard: from the first call on nothing is missed.
        let mut hearing = None;
        loop {
            let silence = if hearing.is_some() { SILENT } else { ELSEWHERE };
            let notification = tokio::select! {
                biased;
                news = listener.try_recv() => news?.ok_or_else(|| lost("the connection was lost"))?,
                () = calls.silence() => return Err(lost(silence)),
            };
            if notification.channel() == CALLS {
                if notification.payload() == self.mark {
                    if let Some(called) = calls.unheard.send_replace(None) {
                        metrics::notification_heard(called.elapsed());
                    }
                    hearing.get_or_insert_with(|| Hearing::begin(&self.ears));
                    if !std::mem::replace(hears, true) {
                        tracing::info!("hearing the other nodes again");
                    }
                }
            } else if let Some(ear) = self.ears.iter().find(|ear| ear.channel() == notification.channel()) {
                ear.heard(notification.payload());
            }
        }
    }

    /// A connection that is this node's alone.
    async fn connect(&self) -> Result<PgListener, sqlx::Error> {
        // Made anew each time: a dead connection must not be waited for.
        let one = PgPoolOptions::new().max_connections(1).acquire_timeout(SILENCE);
        let one = one.connect_lazy_with(self.to.clone().options([(NAME, &self.mark)]));
        let connected = PgListener::connect_with(&one).await;
        let mut listener = connected.map_err(|error| if is_refused(&error) { lost(POOLED) } else { error })?;
        listener.eager_reconnect(false);
        let name: Option<String> = sqlx::raw_sql(ASK_NAME).fetch_one(&mut listener).await?.try_get(0)?;
        if name.as_ref() == Some(&self.mark) { Ok(listener) } else { Err(lost(POOLED)) }
    }

    /// Calls this node for ever, and at once when it begins to listen. It is heard if the connection that listens leads to
    /// where requests are written.
    async fn call(&self, calls: &Calls) {
        loop {
            // Requests may be using all connections: that says nothing of who listens, and is no lag of notifications.
            if let Ok(Ok(mut conn)) = timeout(CALL_WITHIN, self.pool.acquire()).await {
                self.call_once(&mut conn, calls).await;
            }
            tokio::select! {
                () = sleep(CALL_EVERY) => {}
                () = calls.wanted.notified() => {}
            }
        }
    }

    async fn call_once(&self, conn: &mut PgConnection, calls: &Calls) {
        // Nothing is lost with a call, so no disk and no standby is waited for.
        let call = sqlx::query("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)")
            .bind(CALLS)
            .bind(&self.mark)
            .execute(conn);
        let first = calls.unheard.send_if_modified(|since| since.is_none() && since.replace(Instant::now()).is_none());
        // One that could not be made is none.
        if !matches!(timeout(CALL_WITHIN, call).await, Ok(Ok(_))) && first {
            calls.unheard.send_replace(None);
        }
    }
}

/// The calls of a node to itself.
#[derive(Default)]
struct Calls {
    /// Rung when somebody listens who wasn't called yet.
    wanted: Notify,
    /// Since when one was made and none was heard.
    unheard: watch::Sender<Option<Instant>>,
}

impl Calls {
    /// Ends when a call was not heard for too long.
    async fn silence(&self) {
        let mut unheard = self.unheard.subscribe();
        loop {
            let since = *unheard.borrow_and_update();
            let too_long = async {
                match since {
                    Some(since) => sleep_until(since + SILENCE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = too_long => return,
                changed = unheard.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// That the ears hear, until it is dropped: also when the task ends that listens for them.
struct Hearing<'a>(&'a [Arc<dyn Ear>]);

impl<'a> Hearing<'a> {
    fn begin(ears: &'a [Arc<dyn Ear>]) -> Self {
        for ear in ears {
            ear.hearing();
        }
        metrics::hears(true);
        Self(ears)
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ear| ear.deaf());
        metrics::hears(false);
    }
}

fn is_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == REFUSED)
}

fn lost(why: &'static str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, why))
}
