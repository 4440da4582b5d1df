//! When to ask next (RFC 8628 §3.5).

use std::time::Duration;

/// "If no value is provided, clients MUST use 5 as the default" (RFC 8628 §3.2).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// What every `slow_down` adds, for the rest of this code's life.
const SLOWER: Duration = Duration::from_secs(5);
/// A server that says 0 doesn't mean a busy loop, one that says a day doesn't mean a login.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(1);
/// Where the doubling ends while the server can't be reached, unless the interval itself is longer.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// The pace of the polls of one device code.
#[derive(Debug)]
pub(crate) struct Pacing {
    interval: Duration,
    failures: u32,
}

impl Pacing {
    /// The pace that a device authorization answer asks for.
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        Self { interval: interval.unwrap_or(DEFAULT_INTERVAL).clamp(SHORTEST, LONGEST), failures: 0 }
    }

    /// The least time between two polls.
    pub(crate) const fn interval(&self) -> Duration {
        self.interval
    }

    /// The server answered `authorization_pending`: when to ask again.
    pub(crate) const fn pending(&mut self) -> Duration {
        self.failures = 0;
        self.interval
    }

    /// The server answered `slow_down`, perhaps naming a new interval: when to ask again. "The interval MUST be
    /// increased by 5 seconds for this and all subsequent requests."
    pub(crate) fn slow_down(&mut self, named: Option<Duration>) -> Duration {
        self.interval = (self.interval + SLOWER).max(named.unwrap_or_default()).min(LONGEST);
        self.pending()
    }

    /// No answer, or none that decides anything: when to ask again. The interval doubles with every failure in a row
    /// up to a minute; `Retry-After` may ask for longer.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = self.interval.saturating_mul(2_u32.saturating_pow(self.failures));
        doubled.min(LONGEST_BACKOFF.max(self.interval)).max(retry_after.unwrap_or_default()).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn without_an_interval_it_is_five_seconds() {
        assert_eq!(Pacing::new(None).pending(), seconds(5));
        assert_eq!(Pacing::new(Some(seconds(0))).pending(), seconds(1));
        assert_eq!(Pacing::new(Some(Duration::MAX)).pending(), seconds(3600));
    }

    #[test]
    fn slow_down_adds_five_seconds_each_time_and_stays() {
        let mut pacing = Pacing::new(Some(seconds(2)));
        assert_eq!(pacing.slow_down(None), seconds(7));
        assert_eq!(pacing.slow_down(None), seconds(12));
        assert_eq!(pacing.pending(), seconds(12));
        assert_eq!(pacing.slow_down(Some(seconds(30))), seconds(30));
        assert_eq!(pacing.slow_down(Some(seconds(1))), seconds(35));
    }

    #[test]
    fn failures_double_the_interval_up_to_a_minute_and_an_answer_forgets_them() {
        let mut pacing = Pacing::new(Some(seconds(5)));
        let delays: Vec<_> = (0..6).map(|_| pacing.failed(None).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 60, 60, 60]);
        assert_eq!(pacing.pending(), seconds(5));
        assert_eq!(pacing.failed(None), seconds(10));
    }

    #[test]
    fn retry_after_is_kept_when_it_asks_for_longer() {
        let mut pacing = Pacing::new(Some(seconds(5)));
        assert_eq!(pacing.failed(Some(seconds(120))), seconds(120));
        assert_eq!(pacing.failed(Some(seconds(1))), seconds(20));
        assert_eq!(pacing.failed(Some(Duration::MAX)), seconds(3600));
    }

    #[test]
    fn a_long_interval_is_never_shortened_by_the_limit_of_the_backoff() {
        let mut pacing = Pacing::new(Some(seconds(100)));
        assert_eq!(pacing.failed(None), seconds(100));
        assert!((0..100).all(|_| pacing.failed(None) == seconds(100)));
    }
}
