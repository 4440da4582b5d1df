//! How fast a device may poll. `slow_down` (RFC 8628 §3.5) is for floods only: for a third of all clients it ends the
//! login.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::ids::GrantId;

/// How many polls may come at once.
const BURST: f32 = 5.0;

/// A poll is given back after this share of the interval: a client that keeps to it never meets the bucket's bottom.
const REFILL: f32 = 0.6;

/// Locks, so that polls of different codes seldom wait for each other.
const SHARDS: usize = 64;

/// How the client authenticated. Go's oauth2 sends each poll twice, once in each style, and that is no flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthStyle {
    /// In the body, or not at all.
    Body,
    /// In the Authorization header.
    Basic,
}

type Buckets = HashMap<(GrantId, AuthStyle), Bucket>;

/// The buckets of the codes that are polled on this node. Holds codes that are genuine only, each until it expires.
#[derive(Clone)]
pub struct Pacing(Arc<Shards>);

/// Small: there is one for every code that is polled.
struct Bucket {
    /// Milliseconds since 1970.
    filled_at: i64,
    /// Seconds since 1970, until 2106.
    forget_at: u32,
    level: f32,
}

type Shards = [Mutex<Buckets>; SHARDS];

impl Default for Pacing {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl Pacing {
    /// Takes one poll; `false` when the bucket is empty. An empty bucket fills as ever: asking too early postpones
    /// nothing.
    #[must_use]
    pub fn take(
        &self,
        grant: GrantId,
        style: AuthStyle,
        interval: i16,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> bool {
        let mut buckets = self.shard(grant).lock().unwrap_or_else(PoisonError::into_inner);
        // Amortized: a full map is swept before it grows, and grows if little has gone.
        if buckets.len() == buckets.capacity() {
            let seconds = seconds(now);
            buckets.retain(|_, bucket| bucket.forget_at > seconds);
            if buckets.len() > buckets.capacity() / 2 {
                let more = buckets.len();
                buckets.reserve(more);
            }
        }
        let full = || Bucket { level: BURST, filled_at: now.timestamp_millis(), forget_at: seconds(expires_at) + 1 };
        buckets.entry((grant, style)).or_insert_with(full).take(interval, now)
    }

    fn shard(&self, grant: GrantId) -> &Mutex<Buckets> {
        // The last byte of a UUIDv7 is random.
        let [first, ..] = &*self.0;
        self.0.get(usize::from(grant.0.as_bytes()[15]) % SHARDS).unwrap_or(first)
    }
}

impl Bucket {
    fn take(&mut self, interval: i16, now: DateTime<Utc>) -> bool {
        let refill = f32::from(interval.max(1)) * REFILL;
        // A clock that was set back gives nothing and takes nothing.
        let passed = Duration::from_millis(u64::try_from(now.timestamp_millis() - self.filled_at).unwrap_or(0));
        self.level = (self.level + passed.as_secs_f32() / refill).min(BURST);
        self.filled_at = now.timestamp_millis();
        if self.level < 1.0 {
            return false;
        }
        self.level -= 1.0;
        true
    }
}

fn seconds(at: DateTime<Utc>) -> u32 {
    u32::try_from(at.timestamp()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    fn polls(every: i64, count: i64) -> Vec<bool> {
        let (pacing, grant) = (Pacing::default(), GrantId(uuid::Uuid::nil()));
        (0..count).map(|n| pacing.take(grant, AuthStyle::Body, 5, at(3_600_000), at(n * every))).collect()
    }

    #[test]
    fn whoever_keeps_to_the_interval_is_never_told_to_slow_down() {
        assert!(polls(5_000, 200).iter().all(|fine| *fine));
        // Nor whose clock runs fast, or whose network bunches polls.
        assert!(polls(3_500, 200).iter().all(|fine| *fine));
    }

    #[test]
    fn a_flood_is_slowed_to_the_refill_and_the_next_legal_poll_is_fine() {
        let flood = polls(100, 300);
        assert_eq!(flood.iter().take_while(|fine| **fine).count(), 5);
        let through = flood.iter().filter(|fine| **fine).count();
        assert!((14..=15).contains(&through), "30 s at one in 3 s, and the burst: {through}");

        let (pacing, grant) = (Pacing::default(), GrantId(uuid::Uuid::nil()));
        for n in 0..100 {
            let _told = pacing.take(grant, AuthStyle::Body, 5, at(3_600_000), at(n));
        }
        assert!(pacing.take(grant, AuthStyle::Body, 5, at(3_600_000), at(5_000)));
    }

    #[test]
    fn styles_and_codes_have_buckets_of_their_own_and_leave_with_expiry() {
        let pacing = Pacing::default();
        let (one, other) = (GrantId(uuid::Uuid::nil()), GrantId(uuid::Uuid::from_u128(256)));
        for _ in 0..5 {
            assert!(pacing.take(one, AuthStyle::Body, 5, at(10), at(0)));
        }
        assert!(!pacing.take(one, AuthStyle::Body, 5, at(10), at(0)));
        assert!(pacing.take(one, AuthStyle::Basic, 5, at(10), at(0)));
        assert!(pacing.take(other, AuthStyle::Body, 5, at(10), at(0)));
        for n in 0..10_000_i64 {
            let grant = GrantId(uuid::Uuid::from_u64_pair(n.unsigned_abs(), 0));
            let _told = pacing.take(grant, AuthStyle::Body, 5, at(n + 10), at(n));
        }
        assert!(pacing.0[0].lock().unwrap().len() < 5_000, "what has expired makes room");
    }
}
