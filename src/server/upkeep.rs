//! What runs beside the requests goes on, whatever happens to it.
//!
//! A panic in a handler is one answer. A panic in a task that tidies up, listens or rotates keys would end that task for
//! good, and nobody would notice until grants pile up or keys grow old. So each is begun anew.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::postgres::Availability;
use crate::telemetry::metrics::{self, Metrics};

/// How long to wait before a task that panicked begins anew: what made it panic may still be there.
const PAUSE: Duration = Duration::from_secs(5);

/// The tasks beside the requests, until `stop`.
pub struct Upkeep {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    metrics: Metrics,
}

impl Upkeep {
    /// No task yet. What happens in one is counted there, as what happens in requests is.
    #[must_use]
    pub fn until(stop: CancellationToken, metrics: Metrics) -> Self {
        Self { tasks: JoinSet::new(), stop, metrics }
    }

    /// Keeps a task going, which ends when the token it is given says so. `name` is for the log.
    pub fn keep<F>(&mut self, name: &'static str, begin: impl FnMut(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(self.metrics.at_work(go_on(name, self.stop.clone(), begin)));
    }

    /// The same for one that needs the database: so long after the database was lost, it is given up and begun anew. On a dead
    /// network it would wait for a quarter of an hour.
    pub fn keep_with<F>(
        &mut self,
        (database, after): (&Availability, Duration),
        name: &'static str,
        begin: impl FnMut(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (database, begin) = (database.clone(), Arc::new(Mutex::new(begin)));
        self.keep(name, move |stop| {
            let (database, begin) = (database.clone(), begin.clone());
            async move {
                loop {
                    let lost = database.loss();
                    let task = (begin.lock().unwrap_or_else(PoisonError::into_inner))(stop.clone());
                    tokio::select! {
                        () = task => return,
                        () = async { lost.await; tokio::time::sleep(after).await } => {}
                    }
                }
            }
        });
    }

    /// All of them, to be waited for.
    #[must_use = "the tasks end when it is dropped"]
    pub fn into_tasks(self) -> JoinSet<()> {
        self.tasks
    }
}

async fn go_on<F: Future<Output = ()>>(
    name: &'static str,
    stop: CancellationToken,
    mut begin: impl FnMut(CancellationToken) -> F,
) {
    // What tasks share with the requests stands behind locks that survive a panic.
    while AssertUnwindSafe(async { begin(stop.clone()).await }).catch_unwind().await.is_err() {
        // Where it panicked is in the log already (`telemetry::log_panics`).
        metrics::panicked();
        tracing::error!(task = name, "a task beside the requests panicked, and begins anew in 5 s");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A task that panics at its first `panics` beginnings, then waits for the end.
    fn task(upkeep: &mut Upkeep, panics: u32) -> Arc<AtomicU32> {
        let begun = Arc::new(AtomicU32::new(0));
        let count = begun.clone();
        upkeep.keep("test", move |stop| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            // Before its future is made, or later.
            assert!(nth != 0 || panics == 0, "as the test wants it");
            async move {
                tokio::task::yield_now().await;
                assert!(nth >= panics, "as the test wants it");
                stop.cancelled().await;
            }
        });
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_anew_and_one_that_is_asked_to_end_ends() {
        let stop = CancellationToken::new();
        let metrics = Metrics::new(Vec::new(), &[]);
        let mut upkeep = Upkeep::until(stop.clone(), metrics.clone());
        let (steady, shaken, hopeless) = (task(&mut upkeep, 0), task(&mut upkeep, 3), task(&mut upkeep, u32::MAX));
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(steady.load(Ordering::SeqCst), 1);
        assert_eq!(shaken.load(Ordering::SeqCst), 4);
        assert!((10..=13).contains(&hopeless.load(Ordering::SeqCst)), "once in 5 s, and no flood");
        assert!(!metrics.text().unwrap().contains("panics_total 0\n"));
        stop.cancel();
        let mut tasks = upkeep.into_tasks();
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }
}
