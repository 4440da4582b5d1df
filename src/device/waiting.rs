//! Who waits for a decision: the open grants that this node has seen, in memory, so that polls of them need no database.
//!
//! A grant that is held here is open for all this node knows, and a poll of it is told so. What must never happen is that a
//! decision is missed and a device told "pending" for ever. So:
//!
//! 1. The decision is notified in the transaction that makes it, and whoever made it tells its own node when that has
//!    committed. Then the grant is forgotten here: the next poll asks the database.
//! 2. A grant is remembered only as it was *looked up*, and only if no decision can have slipped in between.
//!    [`Waiting::glimpse`] comes before the look-up: [`Waiting::remember`] does nothing when a decision was heard since, or when
//!    the node didn't listen all the while.
//! 3. When the connection that listens was lost, what is held may be decided without anybody here knowing. Until the node hears
//!    again, and once after that, all of it is compared with the database ([`keep`]).
//!
//! What is held leaves with its expiry. A grant takes about 100 bytes, and as many again for its pace (`docs/performance.md`).

mod keep;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ids::{GrantId, ServiceId};
use crate::postgres::notifications::Ear;

use super::grant::Grant;
use super::intake::NewGrant;
use super::store::DECISIONS;

/// Locks, so that polls of different codes seldom wait for each other.
const SHARDS: usize = 64;

/// The open grants of this node and who waits for them. Cheap to clone.
#[derive(Clone)]
pub struct Waiting(Arc<Parts>);

struct Parts {
    shards: [Mutex<Shard>; SHARDS],
    /// The spells in which this node heard of decisions and in which it was deaf, in turn, counted: the odd ones it hears.
    spell: AtomicU64,
    /// Rung when something has to be compared.
    doubt: Notify,
    closing: CancellationToken,
}

#[derive(Default)]
struct Shard {
    open: HashMap<GrantId, Open>,
    line: HashMap<GrantId, Weak<Notify>>,
    /// How many decisions were heard of.
    decisions: u64,
    /// The spell in which what is held was compared with the database.
    compared: u64,
}

/// What is held of an open grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Whose it is.
    pub service: ServiceId,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// Seconds between polls.
    pub interval: i16,
    /// Whether polls have to prove a key (RFC 9449), for which the database is needed.
    pub bound: bool,
}

impl From<&NewGrant> for Open {
    fn from(grant: &NewGrant) -> Self {
        Self {
            service: grant.service,
            expires_at: grant.expires_at,
            interval: i16::from(grant.poll_interval),
            bound: grant.dpop_jkt.is_some(),
        }
    }
}

impl From<&Grant> for Open {
    fn from(grant: &Grant) -> Self {
        Self {
            service: grant.service_id,
            expires_at: grant.expires_at,
            interval: grant.poll_interval,
            bound: grant.dpop_jkt.is_some(),
        }
    }
}

/// What was the case before a look-up.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse {
    spell: u64,
    decisions: u64,
}

/// A place in the line: look whether the grant is open after taking it, so that no decision falls in between.
pub struct Place {
    grant: GrantId,
    notify: Arc<Notify>,
    waiting: Waiting,
}

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(Parts {
            shards: std::array::from_fn(|_| Mutex::default()),
            spell: AtomicU64::new(0),
            doubt: Notify::new(),
            closing: CancellationToken::new(),
        }))
    }
}

impl Waiting {
    /// What is held of a grant, if it is open for all that is known here.
    #[must_use]
    pub fn open(&self, grant: GrantId) -> Option<Open> {
        self.shard(grant).open.get(&grant).copied()
    }

    /// To be called before a grant is looked up, or written.
    #[must_use]
    pub fn glimpse(&self, grant: GrantId) -> Glimpse {
        let decisions = self.shard(grant).decisions;
        Glimpse { spell: self.spell(), decisions }
    }

    /// Holds a grant that was found open, unless it may have been decided since.
    pub fn remember(&self, grant: GrantId, since: Glimpse, open: Open) {
        let mut shard = self.shard(grant);
        // Read under the lock: what becomes deaf later finds the grant held, and compares it.
        if is_odd(since.spell) && self.spell() == since.spell && shard.decisions == since.decisions {
            shard.open.insert(grant, open);
        }
    }

    /// The grant was decided: forgets it and wakes whoever waits for it.
    pub fn decided(&self, grant: GrantId) {
        let mut shard = self.shard(grant);
        shard.decisions += 1;
        shard.open.remove(&grant);
        if let Some(notify) = shard.line.get(&grant).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    /// Takes a place in the line for a grant's decision.
    #[must_use]
    pub fn take_place(&self, grant: GrantId) -> Place {
        let mut shard = self.shard(grant);
        let known = shard.line.get(&grant).and_then(Weak::upgrade);
        let notify = known.unwrap_or_else(|| {
            let fresh = Arc::new(Notify::new());
            shard.line.insert(grant, Arc::downgrade(&fresh));
            fresh
        });
        drop(shard);
        Place { grant, notify, waiting: self.clone() }
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

    fn spell(&self) -> u64 {
        self.0.spell.load(Ordering::SeqCst)
    }

    /// Whether something that is held may have been decided without being heard of.
    fn is_in_doubt(&self) -> bool {
        let spell = self.spell();
        !is_odd(spell) || self.0.shards.iter().any(|shard| lock(shard).compared != spell)
    }

    fn shard(&self, grant: GrantId) -> MutexGuard<'_, Shard> {
        // The last byte of a UUIDv7 is random.
        let [first, ..] = &self.0.shards;
        let shard = self.0.shards.get(usize::from(grant.0.as_bytes()[15]) % SHARDS).unwrap_or(first);
        lock(shard)
    }
}

impl Ear for Waiting {
    fn channel(&self) -> &'static str {
        DECISIONS
    }

    fn heard(&self, payload: &str) {
        if let Ok(id) = payload.parse() {
            self.decided(GrantId(id));
        }
    }

    fn hearing(&self) {
        // Only one task calls these two: nothing comes between.
        self.0.spell.fetch_add(if is_odd(self.spell()) { 2 } else { 1 }, Ordering::SeqCst);
        self.0.doubt.notify_one();
    }

    fn deaf(&self) {
        if is_odd(self.spell()) {
            self.0.spell.fetch_add(1, Ordering::SeqCst);
            self.0.doubt.notify_one();
        }
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
        let mut shard = self.waiting.shard(self.grant);
        // The last to leave takes the line down; the count is read under the lock that newcomers need.
        if Arc::strong_count(&self.notify) == 1 {
            shard.line.remove(&self.grant);
        }
    }
}

const fn is_odd(number: u64) -> bool {
    number % 2 == 1
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod model;

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
        assert!(waiting.shard(one).line.is_empty() && waiting.shard(other).line.is_empty());
    }
}
