//! A closed loop: so many connections, each of which sends its next request when the last one is answered.
//!
//! It tells how much can be done. Of how long anybody waits it tells less than it seems to: while the server is slow it is
//! asked less. For that there is the open loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::cpu::{Cpu, Meter};
use super::http::{Answer, Connection};

/// What is sent.
pub trait Work: Send + Sync + 'static {
    /// What a connection keeps for itself.
    type Own: Send;
    /// Begins with a connection.
    fn begin(&self, connection: usize) -> Self::Own;
    /// The next request; `None`: there is nothing left.
    fn next<'a>(&self, own: &'a mut Self::Own) -> Option<&'a [u8]>;
    /// What is to be thought of an answer.
    fn judge(&self, answer: &Answer<'_>) -> Verdict;
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it has to be.
    Right,
    /// `slow_down`, which is as much work as `authorization_pending`.
    SlowDown,
    /// Anything else.
    Wrong,
}

/// What one turn told.
pub struct Turn {
    /// Answers in a second.
    pub rate: f64,
    /// Nanoseconds from request to answer.
    pub latency: Histogram<u64>,
    /// The part of the answers that were `slow_down`.
    pub slowed: f64,
    /// Processor time for each request.
    pub cpu: Cpu,
    /// The part of one core that the driver used: near 1, and it was the driver that was measured.
    pub driver: f64,
}

/// A histogram of nanoseconds, up to a minute, with three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, 60_000_000_000, 3).unwrap()
}

/// A duration in nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sends work over so many connections until it ends or the time is over. A wrong answer ends everything: what is fast
/// and wrong isn't fast.
pub async fn run<W: Work>(
    address: SocketAddr,
    connections: usize,
    limit: Option<Duration>,
    meter: &Meter,
    work: &Arc<W>,
) -> Turn {
    let barrier = Arc::new(Barrier::new(connections + 1));
    let slowed = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let mut connection = Connection::open(address).await.unwrap();
        let (work, barrier, slowed) = (work.clone(), barrier.clone(), slowed.clone());
        tasks.spawn(async move {
            let (mut own, mut latency) = (work.begin(index), histogram());
            barrier.wait().await;
            let begun = Instant::now();
            let mut sent = begun;
            while limit.is_none_or(|limit| sent - begun < limit) {
                let Some(request) = work.next(&mut own) else { break };
                let answer = connection.ask(request).await.unwrap();
                match work.judge(&answer) {
                    Verdict::Right => {}
                    Verdict::SlowDown => drop(slowed.fetch_add(1, Ordering::Relaxed)),
                    Verdict::Wrong => panic!("status {}: {}", answer.status, answer.text()),
                }
                let now = Instant::now();
                latency.saturating_record(nanos(now - sent));
                sent = now;
            }
            latency
        });
    }
    barrier.wait().await;
    let (begun, before) = (Instant::now(), meter.read());
    let mut latency = histogram();
    while let Some(one) = tasks.join_next().await {
        latency.add(one.unwrap()).unwrap();
    }
    let (took, spent) = (begun.elapsed().as_secs_f64(), meter.read() - before);
    let answers = latency.len() as f64;
    Turn {
        rate: answers / took,
        latency,
        slowed: slowed.load(Ordering::Relaxed) as f64 / answers,
        cpu: spent.per(answers),
        driver: spent.driver / took,
    }
}
