//! How many codes may be asked for within a minute, counted by each server for itself.
//!
//! Memory is bounded whatever addresses somebody claims: when a shard is full, it forgets the older half of what it knows.
//! Who comes from so many addresses isn't stopped by counting addresses anyway.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// Locks, so that requests seldom wait for each other.
const SHARDS: usize = 16;

/// How many are remembered of one minute in one shard: altogether some 130,000, in a few MiB.
const MOST: usize = 4096;

/// Requests of this minute and of the one before, by who asked.
#[derive(Clone)]
pub struct Rates<K> {
    shards: Arc<[Mutex<Minutes<K>>; SHARDS]>,
    hasher: RandomState,
}

struct Minutes<K> {
    began: DateTime<Utc>,
    this: HashMap<K, u32>,
    last: HashMap<K, u32>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        let shard = |_| Mutex::new(Minutes { began: DateTime::UNIX_EPOCH, this: HashMap::new(), last: HashMap::new() });
        Self { shards: Arc::new(std::array::from_fn(shard)), hasher: RandomState::new() }
    }
}

impl<K: Copy + Eq + Hash> Rates<K> {
    /// Counts one request, or says after which time it may come. `limit`: how many a minute; 0: as many as they like.
    pub fn take(&self, key: K, limit: u32, now: DateTime<Utc>) -> Result<(), Duration> {
        if limit == 0 {
            return Ok(());
        }
        let [first, ..] = &*self.shards;
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(shard).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner).take(key, limit, now)
    }
}

impl<K: Copy + Eq + Hash> Minutes<K> {
    fn take(&mut self, key: K, limit: u32, now: DateTime<Utc>) -> Result<(), Duration> {
        self.turn(now);
        // What was asked in the last minute counts for less, the more of this one has passed.
        let passed = (now - self.began).as_seconds_f64() / 60.0;
        let (this, last) = (self.this.get(&key), self.last.get(&key));
        let (this, last) = (f64::from(this.copied().unwrap_or(0)), f64::from(last.copied().unwrap_or(0)));
        let room = f64::from(limit) - 1.0 - this;
        if last * (1.0 - passed) <= room {
            *self.this.entry(key).or_default() += 1;
            return Ok(());
        }
        // Until enough of the last minute has faded, or of this one within the next.
        let minutes = if room >= 0.0 { 1.0 - room / last - passed } else { 2.0 - passed - (this + room) / this };
        Err(Duration::from_secs_f64((minutes * 60.0).max(0.0)))
    }

    fn turn(&mut self, now: DateTime<Utc>) {
        let age = now - self.began;
        // A clock that was set back begins anew.
        if age >= MINUTE * 2 || age < TimeDelta::zero() {
            self.last.clear();
            self.this.clear();
            self.began = now;
        } else if age >= MINUTE {
            self.last = std::mem::take(&mut self.this);
            self.began += MINUTE;
        } else if self.this.len() >= MOST {
            self.last = std::mem::take(&mut self.this);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn so_many_a_minute_pass_and_no_more() {
        let rates = Rates::default();
        let passed = |from: i64, to: i64| (from..to).filter(|n| rates.take("a", 30, at(n * 100)).is_ok()).count();
        assert_eq!(passed(0, 600), 30, "the first minute");
        let later = passed(600, 6600);
        assert!((280..=310).contains(&later), "ten minutes more: {later}");
        assert!(rates.take("b", 30, at(660_000)).is_ok());
        assert!((0..1000).all(|_| rates.take("c", 0, at(660_000)).is_ok()), "no limit");
    }

    #[test]
    fn whoever_waits_as_told_is_let_through() {
        for limit in [1, 2, 7, 300] {
            let (rates, mut now) = (Rates::default(), at(0));
            for _ in 0..limit * 5 {
                if let Err(wait) = rates.take(1, limit, now) {
                    assert!(wait <= Duration::from_mins(2), "{wait:?}");
                    now += TimeDelta::from_std(wait).unwrap() + TimeDelta::milliseconds(1);
                    let again = rates.take(1, limit, now);
                    assert!(again.is_ok(), "{limit}: {again:?} after {wait:?}");
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_addresses_are_claimed() {
        let rates = Rates::default();
        for n in 0..500_000_u32 {
            let _told = rates.take(n, 5, at(0));
        }
        let known: usize =
            rates.shards.iter().map(|shard| shard.lock().unwrap()).map(|s| s.this.len() + s.last.len()).sum();
        assert!(known <= 2 * MOST * SHARDS, "{known}");
    }
}
