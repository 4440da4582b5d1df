//! What a server counts, in the form that Prometheus reads (OpenMetrics 1.0).
//!
//! 1. Each server has counters of its own: two in one process, as in tests, don't mix them up.
//! 2. What is counted deep down, an event of the audit for one, is counted for the server that is [at work](Metrics::at_work)
//!    there, as a log line belongs to the span it is written in. A command is no server and counts nothing.
//! 3. Labels are routes, statuses and words of this program, never what a request says: nobody can make series, and
//!    nothing secret can become one.
//! 4. A poll counts by atomic additions alone. Whatever takes a lock is done once, at the first request of a route.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Histogram;
use super::leftover::Leftover;
use super::notices::{Channel, NoticeOutcome};

/// What the answers are called with which polls are counted: `error`, or this for tokens.
pub const TOKENS: &str = "tokens";

/// What polls are told, likeliest first. Something else is counted as `other`.
const POLL_ANSWERS: [&str; 14] = [
    "authorization_pending",
    TOKENS,
    "slow_down",
    "access_denied",
    "expired_token",
    "invalid_grant",
    "invalid_request",
    "invalid_client",
    "unauthorized_client",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
];

/// The statuses of answers here, likeliest first, each of which is counted without looking it up.
const STATUSES: [u16; 18] = [400, 200, 303, 401, 404, 429, 403, 405, 409, 503, 500, 413, 415, 408, 421, 307, 502, 410];

type Label = (&'static str, &'static str);

/// The labels of a notice's counter.
fn notice_labels(channel: Channel, outcome: NoticeOutcome) -> [Label; 2] {
    [("channel", channel.as_str()), ("outcome", outcome.as_str())]
}

/// Counters of one server. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Parts>);

struct Parts {
    registry: Registry,
    requests: Family<[(&'static str, String); 2], Counter>,
    durations: Family<[(&'static str, String); 1], Histogram>,
    under_way: Family<[(&'static str, String); 1], Gauge>,
    polls: [(&'static str, Counter); POLL_ANSWERS.len()],
    other_polls: Counter,
    events: Family<[Label; 1], Counter>,
    guesses_refused: Counter,
    suspected_phishing: Counter,
    approval_to_tokens: Histogram,
    notification_lag: Histogram,
    hears: Gauge,
    notices: Family<[Label; 2], Counter>,
    deleted: Family<[Label; 1], Counter>,
    panics: Counter,
}

tokio::task_local! {
    /// The counters of the server for which this task is at work.
    static AT_WORK: Metrics;
}

impl Metrics {
    /// Counters at zero. `collectors` look something up whenever the metrics are read; `kinds` are those events that are
    /// there from the start, so that the first one is seen as an increase.
    #[must_use]
    pub fn new(collectors: Vec<Box<dyn Collector>>, kinds: &[&'static str]) -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let requests = registered(&mut registry, "http_requests", "Requests that were answered, by route and status");
        let durations = Family::default();
        let help = "How long requests took, held polls included, by route";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations.clone());
        let under_way = registered(&mut registry, "http_requests_under_way", "Requests being answered, by route");
        let told: Family<[Label; 1], Counter> =
            registered(&mut registry, "polls", "Polls of device logins, by what they were told");
        let events: Family<[Label; 1], Counter> =
            registered(&mut registry, "audit_events", "Events of the audit, by kind");
        let guesses_refused = registered(&mut registry, "guesses_refused", "Codes and numbers that were none");
        let suspected_phishing =
            registered(&mut registry, "suspected_phishing", "Approvers who were warned of a collector of approvals");
        let approval_to_tokens = timed(
            &mut registry,
            "approval_to_tokens",
            "How long devices waited for their tokens after the person approved",
        );
        let notification_lag = timed(
            &mut registry,
            "notification_lag",
            "How long what a server says to itself, once a second, takes by way of NOTIFY, as decisions do",
        );
        let hears = registered(&mut registry, "notifications_heard", "Whether the others are heard: 1, or 0");
        let notices: Family<[Label; 2], Counter> = registered(
            &mut registry,
            "notices",
            "Attempts to tell somebody of an approval or an invitation, by what became of them",
        );
        let deleted: Family<[Label; 1], Counter> = registered(
            &mut registry,
            "housekeeping_deleted",
            "Rows that were deleted because their time was over, by kind",
        );
        let panics =
            registered(&mut registry, "panics", "Requests and tasks that ended in a panic: faults of Countersign");
        registry.register(
            "build",
            "The program",
            prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        for collector in collectors {
            registry.register_collector(collector);
        }
        for &kind in kinds {
            drop(events.get_or_create(&[("kind", kind)]));
        }
        for (channel, outcome) in Channel::ALL.into_iter().flat_map(|c| NoticeOutcome::ALL.map(|outcome| (c, outcome)))
        {
            drop(notices.get_or_create(&notice_labels(channel, outcome)));
        }
        for kind in Leftover::ALL {
            drop(deleted.get_or_create(&[("kind", kind.as_str())]));
        }
        let answered = |answer| told.get_or_create_owned(&[("answer", answer)]);
        Self(Arc::new(Parts {
            registry,
            requests,
            durations,
            under_way,
            polls: POLL_ANSWERS.map(|answer| (answer, answered(answer))),
            other_polls: answered("other"),
            events,
            guesses_refused,
            suspected_phishing,
            approval_to_tokens,
            notification_lag,
            hears,
            notices,
            deleted,
            panics,
        }))
    }

    /// Runs something, and counts what happens in it.
    pub fn at_work<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        AT_WORK.scope(self.clone(), future)
    }

    /// Counts a poll by what it was told: the `error`, or [`TOKENS`].
    pub fn poll(&self, answer: &str) {
        let known = self.0.polls.iter().find(|(known, _)| *known == answer);
        known.map_or(&self.0.other_polls, |(_, counter)| counter).inc();
    }

    /// Counts a request, or a task beside the requests, that ended in a panic.
    pub fn panicked(&self) {
        self.0.panics.inc();
    }

    /// Everything, written out.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }

    /// The counters of a route.
    #[must_use]
    pub fn route(&self, route: &str) -> Route {
        let label = [("route", route.to_owned())];
        Route {
            requests: self.0.requests.clone(),
            duration: self.0.durations.get_or_create_owned(&label),
            under_way: self.0.under_way.get_or_create_owned(&label),
            name: route.to_owned(),
            statuses: Default::default(),
            left: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn registered<M: Default + Clone + prometheus_client::registry::Metric>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A histogram of seconds.
fn timed(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::default();
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

/// The same as [`Metrics::poll`], for the server at work.
pub fn poll(answer: &str) {
    let _nobody_counts = AT_WORK.try_with(|metrics| metrics.poll(answer));
}

/// Counts an event of the audit by its kind.
pub fn event(kind: &'static str) {
    count(|metrics| {
        metrics.events.get_or_create(&[("kind", kind)]).inc();
        match kind {
            "guess_refused" => metrics.guesses_refused.inc(),
            "suspected_phishing" => metrics.suspected_phishing.inc(),
            _ => 0,
        };
    });
}

/// Counts an attempt to tell somebody, or that it was given up without one.
pub fn notice(channel: Channel, outcome: NoticeOutcome) {
    count(|metrics| {
        metrics.notices.get_or_create(&notice_labels(channel, outcome)).inc();
    });
}

/// Counts tokens that a device got so long after the person approved.
pub fn tokens_after_approval(waited: Duration) {
    count(|metrics| metrics.approval_to_tokens.observe(waited));
}

/// Counts a notification that was heard so long after it was sent.
pub fn notification_heard(lag: Duration) {
    count(|metrics| metrics.notification_lag.observe(lag));
}

/// Notes whether this server hears the others.
pub fn hears(hears: bool) {
    count(|metrics| {
        metrics.hears.set(hears.into());
    });
}

/// Counts rows that were deleted because their time was over.
pub fn deleted(kind: Leftover, rows: u64) {
    count(|metrics| {
        metrics.deleted.get_or_create(&[("kind", kind.as_str())]).inc_by(rows);
    });
}

/// The same as [`Metrics::panicked`], for the server at work.
pub fn panicked() {
    let _nobody_counts = AT_WORK.try_with(Metrics::panicked);
}

/// The same future, which counts for the server at work here when it is a task of its own.
pub fn at_the_same_work<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    let metrics = AT_WORK.try_with(Clone::clone).ok();
    async move {
        match metrics {
            Some(metrics) => metrics.at_work(future).await,
            None => future.await,
        }
    }
}

/// Counts something for the server at work. Elsewhere nobody asks.
fn count(what: impl FnOnce(&Parts)) {
    let _nobody_counts = AT_WORK.try_with(|metrics| what(&metrics.0));
}

/// The counters of one route.
#[derive(Debug)]
pub struct Route {
    requests: Family<[(&'static str, String); 2], Counter>,
    name: String,
    duration: Histogram,
    under_way: Gauge,
    /// In the order of [`STATUSES`]; those that were never answered are in no list of series.
    statuses: [OnceLock<Counter>; STATUSES.len()],
    left: OnceLock<Counter>,
}

impl Route {
    /// A request has come.
    pub fn begin(&self) {
        self.under_way.inc();
    }

    /// A request has come and was answered, all in one.
    pub fn answered_at_once(&self, status: u16, took: Duration) {
        self.duration.observe(took);
        self.answered(status);
    }

    /// A request is over, after so long: answered with a status, or left by its client before that.
    pub fn end(&self, status: Option<u16>, took: Duration) {
        self.under_way.dec();
        self.duration.observe(took);
        let Some(status) = status else {
            self.left.get_or_init(|| self.counter("left".to_owned())).inc();
            return;
        };
        self.answered(status);
    }

    fn answered(&self, status: u16) {
        let known = STATUSES.iter().zip(&self.statuses).find(|(known, _)| **known == status);
        match known {
            Some((_, counter)) => counter.get_or_init(|| self.counter(status.to_string())).inc(),
            None => self.counter(status.to_string()).inc(),
        };
    }

    fn counter(&self, status: String) -> Counter {
        self.requests.get_or_create_owned(&[("route", self.name.clone()), ("status", status)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_server_counts_what_happens_at_its_own_work() {
        let (one, other) = (Metrics::new(Vec::new(), &["guess_refused"]), Metrics::new(Vec::new(), &[]));
        one.at_work(async {
            event("guess_refused");
            other.at_work(async { poll("something new") }).await;
            poll(TOKENS);
            deleted(Leftover::Grants, 500);
        })
        .await;
        // At nobody's work.
        event("guess_refused");
        let (one, other) = (one.text().unwrap(), other.text().unwrap());
        for line in [
            "countersign_guesses_refused_total 1",
            "countersign_audit_events_total{kind=\"guess_refused\"} 1",
            "countersign_polls_total{answer=\"tokens\"} 1",
            "countersign_polls_total{answer=\"other\"} 0",
            "countersign_suspected_phishing_total 0",
            "countersign_housekeeping_deleted_total{kind=\"device_grant\"} 500",
            "countersign_housekeeping_deleted_total{kind=\"session\"} 0",
        ] {
            assert!(one.lines().any(|found| found == line), "{line} in {one}");
        }
        assert!(other.contains("polls_total{answer=\"other\"} 1\n") && !other.contains("guess_refused\""), "{other}");
    }

    #[test]
    fn a_request_is_counted_by_route_status_and_time() {
        let metrics = Metrics::new(Vec::new(), &[]);
        let route = metrics.route("/auth/token");
        for (status, took) in [(Some(400), 3), (Some(400), 40_000), (Some(418), 700), (None, 1)] {
            route.begin();
            route.end(status, Duration::from_millis(took));
        }
        route.begin();
        let text = metrics.text().unwrap();
        for line in [
            "http_requests_total{route=\"/auth/token\",status=\"400\"} 2",
            "http_requests_total{route=\"/auth/token\",status=\"418\"} 1",
            "http_requests_total{route=\"/auth/token\",status=\"left\"} 1",
            "http_requests_under_way{route=\"/auth/token\"} 1",
            "http_request_duration_seconds_count{route=\"/auth/token\"} 4",
            "http_request_duration_seconds_sum{route=\"/auth/token\"} 40.704",
            "http_request_duration_seconds_bucket{le=\"0.005\",route=\"/auth/token\"} 2",
            "http_request_duration_seconds_bucket{le=\"31.0\",route=\"/auth/token\"} 3",
            "http_request_duration_seconds_bucket{le=\"+Inf\",route=\"/auth/token\"} 4",
        ] {
            assert!(text.lines().any(|found| found == format!("countersign_{line}")), "{line} in {text}");
        }
    }
}
