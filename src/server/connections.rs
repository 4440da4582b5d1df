//! The connections of a listener, and how they end when the server does.
//!
//! hyper closes every connection on which it isn't working just then, even where a request has come in already and is not read
//! yet: its client sees a reset. So connections end by themselves here:
//!
//! 1. They are woken, and from now on have patience with silence for [`QUIET`] only. What was silent for longer is closed at once.
//! 2. A request that comes in time is answered, and its answer says `Connection: close`.
//! 3. What isn't over when the drain time is ends with the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a connection that was used a moment ago is given for its next request while the server ends. Long enough for
/// whoever is about to send one, and for a first request that is on its way.
pub const QUIET: Duration = Duration::from_secs(1);

/// The open connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connections(Arc<Parts>);

#[derive(Default)]
struct Parts {
    open: Mutex<Open>,
    /// Rung when one is over.
    one_left: Notify,
    none_left: Notify,
    ending: CancellationToken,
}

#[derive(Default)]
struct Open {
    last: u64,
    links: HashMap<u64, Arc<Link>>,
}

/// What a connection and its requests know of each other.
#[derive(Debug, Default)]
pub struct Link {
    /// How many requests are being answered.
    at_work: AtomicUsize,
    /// Whether the server is about to end.
    ending: AtomicBool,
    /// Who waits for the client's next bytes.
    reader: AtomicWaker,
}

impl Link {
    /// Whether a request is being answered.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::Acquire) > 0
    }

    /// Whether this connection should be closed soon.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Has whoever waits for bytes look again when the server is about to end.
    pub fn wake_when_ending(&self, cx: &Context<'_>) {
        self.reader.register(cx.waker());
    }

    /// A request is being answered, until what is returned is dropped.
    #[must_use]
    pub fn begin(self: Arc<Self>) -> AtWork {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        AtWork(self)
    }
}

/// A request that is being answered.
pub struct AtWork(Arc<Link>);

impl AtWork {
    /// Whether the connection should be closed after the answer.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.0.is_ending()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An open connection among the others. It is over when this is dropped.
pub struct Place {
    number: u64,
    link: Arc<Link>,
    connections: Connections,
}

impl Place {
    /// What its requests know of it.
    #[must_use]
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.links.remove(&self.number);
        self.connections.0.one_left.notify_one();
        if open.links.is_empty() {
            self.connections.0.none_left.notify_waiters();
        }
    }
}

impl Connections {
    /// Another one.
    #[must_use]
    pub fn enter(&self) -> Place {
        let mut open = self.open();
        open.last += 1;
        let (number, link) = (open.last, Arc::new(Link::default()));
        link.ending.store(self.0.ending.is_cancelled(), Ordering::Release);
        open.links.insert(number, link.clone());
        drop(open);
        Place { number, link, connections: self.clone() }
    }

    /// Asks all of them to end.
    pub fn end(&self) {
        let open = self.open();
        self.0.ending.cancel();
        for link in open.links.values() {
            link.ending.store(true, Ordering::Release);
            link.reader.wake();
        }
    }

    /// Ends when there are fewer than so many. For one listener, which waits for it before it accepts another.
    pub async fn room(&self, most: usize) {
        while self.open().links.len() >= most {
            self.0.one_left.notified().await;
        }
    }

    /// Ends when they are asked to.
    pub async fn ending(&self) {
        self.0.ending.cancelled().await;
    }

    /// Ends when none is left.
    pub async fn ended(&self) {
        loop {
            let none_left = self.0.none_left.notified();
            let mut none_left = std::pin::pin!(none_left);
            none_left.as_mut().enable();
            if self.open().links.is_empty() {
                return;
            }
            none_left.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
