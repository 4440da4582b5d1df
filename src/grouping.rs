//! Work that is cheaper done together: many requests, one statement, one commit.
//!
//! 1. Who comes while fewer flights are under way than may be starts one at once. Nothing is waited for to fill it.
//! 2. Who comes while all are under way queues, and goes with the next one: whatever queues by then goes together.
//! 3. A flight is a task of its own, so that it arrives for the others when one who waits for it leaves. Who left before it
//!    started doesn't go.
//! 4. A flight that fails for everybody because of one item is flown again in halves, until the item is alone.
//! 5. Nobody waits longer than is said, for the flight and its turn together; a flight that takes so long is given up.
//!
//! Between flights nothing runs, so nothing can die unnoticed: a flight that panics is told to those in it, and the next
//! one starts.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{self, Instant};

use crate::telemetry::metrics;

/// What is done for many at once.
pub trait Work: Send + Sync + 'static {
    /// One of the many.
    type Item: Send + Sync + 'static;
    /// What becomes of it.
    type Outcome: Send + 'static;
    /// Why it was done for none of them.
    type Error: Clone + Send + 'static;

    /// Does it for all of these or for none, and says what became of each, in the same order.
    fn perform(&self, items: &[Self::Item]) -> impl Future<Output = Result<Vec<Self::Outcome>, Self::Error>> + Send;

    /// Whether one of several items may be at fault, so that the others would do without it.
    fn may_be_of_one(error: &Self::Error) -> bool;
}

/// How much at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many flights are under way at most. At least one.
    pub flights: usize,
    /// How many items go together at most. At least one.
    pub together: usize,
    /// How many queue at most; more are sent away.
    pub queue: usize,
    /// How long somebody waits at most, and how long a flight takes at most.
    pub patience: Duration,
}

/// Why there is no outcome. Whether it was done isn't known, but for the one who was sent away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone<E> {
    /// For this reason.
    Failed(E),
    /// It took too long.
    TooLong,
    /// Too many queue: it wasn't tried.
    TooMany,
    /// The flight ended without a word: it panicked, or the program ends.
    Lost,
}

impl<E: fmt::Display> fmt::Display for Undone<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::TooLong => f.write_str("it took too long"),
            Self::TooMany => f.write_str("too many wait for it"),
            Self::Lost => f.write_str("it ended without an outcome"),
        }
    }
}

/// Groups of requests for one kind of work. Cheap to clone.
pub struct Groups<W: Work>(Arc<Inner<W>>);

impl<W: Work> Clone for Groups<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<W: Work> {
    work: W,
    limits: Limits,
    line: Mutex<Line<W>>,
}

struct Line<W: Work> {
    queue: VecDeque<Entry<W>>,
    under_way: usize,
    /// Whether one of those under way has not taken its items yet: who comes now goes with it.
    boarding: bool,
}

type Reply<W> = oneshot::Sender<Result<<W as Work>::Outcome, Undone<<W as Work>::Error>>>;

struct Entry<W: Work> {
    item: W::Item,
    reply: Reply<W>,
}

impl<W: Work> Groups<W> {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(work: W, limits: Limits) -> Self {
        let line = Line { queue: VecDeque::new(), under_way: 0, boarding: false };
        Self(Arc::new(Inner { work, limits, line: Mutex::new(line) }))
    }

    /// Has it done for one item. To be awaited on tokio's runtime. If it isn't awaited to the end, what is under way goes on.
    pub async fn submit(&self, item: W::Item) -> Result<W::Outcome, Undone<W::Error>> {
        let limits = self.0.limits;
        let (reply, outcome) = oneshot::channel();
        let starts = {
            let mut line = self.line();
            if line.queue.len() >= limits.queue {
                // Who came first leaves first: they all wait equally long.
                while line.queue.front().is_some_and(|entry| entry.reply.is_closed()) {
                    line.queue.pop_front();
                }
            }
            if line.queue.len() >= limits.queue {
                return Err(Undone::TooMany);
            }
            line.queue.push_back(Entry { item, reply });
            line.start_another(limits)
        };
        if starts {
            Flight::start(self.clone());
        }
        match time::timeout(limits.patience, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Undone::Lost),
            Err(_) => Err(Undone::TooLong),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<W>> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Work> Line<W> {
    /// Whether a flight has to be started now; it counts as under way already.
    fn start_another(&mut self, limits: Limits) -> bool {
        let starts = !self.queue.is_empty() && !self.boarding && self.under_way < limits.flights;
        if starts {
            self.under_way += 1;
            self.boarding = true;
        }
        starts
    }
}

/// A flight, from being counted as under way until it lands, however that is.
struct Flight<W: Work> {
    groups: Groups<W>,
    took_off: bool,
}

/// Those who go together.
struct Passengers<W: Work> {
    items: Vec<W::Item>,
    replies: Vec<Reply<W>>,
}

impl<W: Work> Flight<W> {
    fn start(groups: Groups<W>) {
        let flight = Self { groups, took_off: false };
        // A runtime that ends takes nothing any more: then the flight is dropped, and lands.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(metrics::at_the_same_work(flight.fly()));
        }
    }

    /// Takes those who queue.
    fn board(&mut self) -> Passengers<W> {
        let limits = self.groups.0.limits;
        let mut passengers = Passengers { items: Vec::new(), replies: Vec::new() };
        let mut line = self.groups.line();
        self.took_off = true;
        line.boarding = false;
        while passengers.items.len() < limits.together
            && let Some(Entry { item, reply }) = line.queue.pop_front()
        {
            if !reply.is_closed() {
                passengers.items.push(item);
                passengers.replies.push(reply);
            }
        }
        let starts = line.start_another(limits);
        drop(line);
        if starts {
            Self::start(self.groups.clone());
        }
        passengers
    }

    async fn fly(mut self) {
        let passengers = self.board();
        let Inner { work, limits, .. } = &*self.groups.0;
        let until = Instant::now() + limits.patience;
        let mut groups = vec![passengers];
        while let Some(mut group) = groups.pop() {
            if group.items.is_empty() {
                continue;
            }
            match time::timeout_at(until, work.perform(&group.items)).await {
                Ok(Ok(outcomes)) if outcomes.len() == group.items.len() => {
                    for (reply, outcome) in group.replies.into_iter().zip(outcomes) {
                        let _left = reply.send(Ok(outcome));
                    }
                }
                // Nobody knows whose outcomes those are.
                Ok(Ok(_)) => drop(group),
                Ok(Err(error)) if group.items.len() > 1 && W::may_be_of_one(&error) => {
                    let half = group.items.len() / 2;
                    let (items, replies) = (group.items.split_off(half), group.replies.split_off(half));
                    groups.extend([Passengers { items, replies }, group]);
                }
                Ok(Err(error)) => group.fail(&Undone::Failed(error)),
                Err(_) => {
                    groups.push(group);
                    groups.drain(..).for_each(|group| group.fail(&Undone::TooLong));
                }
            }
        }
    }
}

impl<W: Work> Passengers<W> {
    fn fail(self, why: &Undone<W::Error>) {
        for reply in self.replies {
            let _left = reply.send(Err(why.clone()));
        }
    }
}

impl<W: Work> Drop for Flight<W> {
    /// Lands. Whoever queues goes with the next one.
    fn drop(&mut self) {
        if std::thread::panicking() {
            metrics::panicked();
        }
        let mut line = self.groups.line();
        line.under_way -= 1;
        let mut stranded = VecDeque::new();
        if !self.took_off {
            // There is no runtime to fly on, and won't be for the next one.
            line.boarding = false;
            stranded = std::mem::take(&mut line.queue);
        }
        let starts = line.start_another(self.groups.0.limits);
        drop(line);
        drop(stranded);
        if starts {
            Self::start(self.groups.clone());
        }
    }
}

#[cfg(test)]
mod tests;
