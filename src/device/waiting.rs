//! Polls that wait for a decision (RFC 7240, `Prefer: wait=N`), woken by PostgreSQL's NOTIFY whichever node decided.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ids::GrantId;
use crate::postgres::PgPool;

use super::store::DECISIONS;

/// How long to wait before the listening connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Who waits on this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Parts>);

#[derive(Default)]
struct Parts {
    line: Mutex<HashMap<GrantId, Weak<Notify>>>,
    closing: CancellationToken,
}

/// A place in the line: look at the database after taking it, so that no decision falls in between.
pub struct Place {
    grant: GrantId,
    notify: Arc<Notify>,
    waiting: Waiting,
}

impl Waiting {
    /// Takes a place in the line for a grant's decision.
    #[must_use]
    pub fn take_place(&self, grant: GrantId) -> Place {
        let mut line = self.line();
        let known = line.get(&grant).and_then(Weak::upgrade);
        let notify = known.unwrap_or_else(|| {
            let fresh = Arc::new(Notify::new());
            line.insert(grant, Arc::downgrade(&fresh));
            fresh
        });
        drop(line);
        Place { grant, notify, waiting: self.clone() }
    }

    /// Wakes whoever waits for this grant.
    pub fn decided(&self, grant: GrantId) {
        if let Some(notify) = self.line().get(&grant).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    /// Wakes everybody: what happened meanwhile isn't known.
    fn look_again(&self) {
        for notify in self.line().values().filter_map(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    /// Sends everybody home: the node is about to end, and held polls are answered before it does.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Whether everybody was sent home.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    /// Listens until `stop`. While the connection is down, places are woken by their own clocks.
    pub async fn listen(self, pool: PgPool, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                Err(error) = self.listen_once(&pool) => {
                    tracing::warn!(%error, "not listening for decisions; waiting polls look by themselves");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    async fn listen_once(&self, pool: &PgPool) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(DECISIONS).await?;
        self.look_again();
        loop {
            match listener.try_recv().await? {
                Some(decision) => {
                    if let Ok(id) = decision.payload().parse() {
                        self.decided(GrantId(id));
                    }
                }
                // The connection was lost and made again.
                None => self.look_again(),
            }
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, HashMap<GrantId, Weak<Notify>>> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A future that ends with the next decision, or when the line is closed. It counts from when it is made, not from
    /// when it is awaited.
    pub fn decision(&self) -> impl Future<Output = ()> + '_ {
        let mut notified = Box::pin(self.notify.notified());
        notified.as_mut().enable();
        async move {
            tokio::select! {
                () = notified => {}
                () = self.waiting.0.closing.cancelled() => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.waiting.line();
        // The last to leave takes the line down; the count is read under the lock that newcomers need.
        if Arc::strong_count(&self.notify) == 1 {
            line.remove(&self.grant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_decision_wakes_its_own_line_and_the_line_leaves_nothing_behind() {
        let waiting = Waiting::default();
        let (one, other) = (GrantId(uuid::Uuid::nil()), GrantId(uuid::Uuid::from_u128(1)));
        let (place, beside, elsewhere) = (waiting.take_place(one), waiting.take_place(one), waiting.take_place(other));
        {
            let (first, second, third) = (place.decision(), beside.decision(), elsewhere.decision());
            waiting.decided(one);
            first.await;
            second.await;
            assert!(futures_util::FutureExt::now_or_never(third).is_none());
        }
        drop((place, beside, elsewhere));
        assert!(waiting.line().is_empty());
    }
}
