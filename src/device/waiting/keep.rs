//! What is held is compared with the database when it may be wrong, and leaves when its time has passed.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::directory::known::KnownServices;
use crate::ids::GrantId;
use crate::installation::Installation;
use crate::postgres::PgPool;

use super::super::store;
use super::{Shard, Waiting, is_odd, lock};

/// How often all that is held is compared while this node hears of nothing.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// How often what has expired is let go.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// How many grants one query asks for: some milliseconds of PostgreSQL's time.
const BATCH: usize = 2_000;

/// How long PostgreSQL may take for one.
const PATIENCE: Duration = Duration::from_secs(3);

impl Waiting {
    /// Keeps what is held right and small, until `stop`. Services are looked up again as well while this node doesn't
    /// hear of changes.
    pub async fn keep(self, installation: Installation, services: KnownServices, stop: CancellationToken) {
        let (mut comparing, mut sweeping) = (every(COMPARE_EVERY), every(SWEEP_EVERY));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweeping.tick() => self.sweep(installation.clock.now()).await,
                () = self.0.doubt.notified() => {}
                _ = comparing.tick() => {}
            }
            if !self.is_in_doubt() {
                continue;
            }
            let deaf = !is_odd(self.spell());
            tokio::select! {
                () = stop.cancelled() => return,
                compared = self.compare(&installation.pool) => match compared {
                    Ok(()) if deaf => services.forget(),
                    Ok(()) => {}
                    Err(error) => tracing::debug!(%error, "what is held can't be compared with the database now"),
                },
            }
        }
    }

    /// Forgets what isn't open any more. What fails is told when all else has been tried: it is left to the next time.
    async fn compare(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let (spell, mut outcome) = (self.spell(), Ok(()));
        for shard in &self.0.shards {
            if is_odd(spell) && lock(shard).compared == spell {
                continue;
            }
            if let Err(error) = self.compare_one(shard, spell, pool).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn compare_one(&self, shard: &Mutex<Shard>, spell: u64, pool: &PgPool) -> Result<(), sqlx::Error> {
        let held: Vec<GrantId> = lock(shard).open.keys().copied().collect();
        for some in held.chunks(BATCH) {
            let asked = async { store::not_open(&mut *pool.acquire().await?, some).await };
            let gone = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
            for grant in gone {
                self.decided(grant);
            }
        }
        // In this spell, what is decided from now on is heard of. In another one it is begun anew.
        lock(shard).compared = spell;
        Ok(())
    }

    /// Lets go what has expired.
    pub(super) async fn sweep(&self, now: DateTime<Utc>) {
        for shard in &self.0.shards {
            lock(shard).sweep(now);
            tokio::task::yield_now().await;
        }
    }
}

impl Shard {
    fn sweep(&mut self, now: DateTime<Utc>) {
        self.open.retain(|_, open| open.expires_at > now);
        give_back(&mut self.open);
        give_back(&mut self.line);
    }
}

/// Gives memory back that a flood has left.
fn give_back<V>(map: &mut HashMap<GrantId, V>) {
    if map.capacity() > 4 * map.len().max(16) {
        map.shrink_to(2 * map.len());
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}
