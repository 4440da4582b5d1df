//! The telemetry listener: whether the server is well, and what it counted. An address of its own, and nothing else there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tls::Tls;
use crate::audit::Kind;
use crate::clock::Clock;
use crate::device::live::LiveCodes;
use crate::installation::Installation;
use crate::postgres::{self, PgPool};
use crate::session::signing_keys::SigningKeys;
use crate::telemetry::metrics::Metrics;

/// How long the database may take to be called reachable.
const SOON: Duration = Duration::from_secs(2);

/// How long what was found out is said again: however often somebody asks, the database is asked once a second.
const FRESH: Duration = Duration::from_secs(1);

/// The media type of metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of a server. Every kind of event is there from the start: an alert must not miss the first.
#[must_use]
pub fn metrics(installation: &Installation, live: &LiveCodes, tls: Option<&Tls>) -> Metrics {
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let connections = Box::new(Connections(installation.pool.clone()));
    let mut collectors: Vec<Box<dyn Collector>> =
        vec![connections, Box::new(OpenGrants(live.clone(), installation.clock.clone()))];
    collectors.extend(tls.map(Tls::collector));
    Metrics::new(collectors, &kinds)
}

/// What is asked for at the telemetry listener. Cheap to clone.
#[derive(Clone)]
pub struct Observation {
    /// The running installation.
    pub installation: Installation,
    /// What signs tokens.
    pub signing_keys: SigningKeys,
    /// What was counted.
    pub metrics: Metrics,
    /// The live codes, which are counted for it.
    pub live: LiveCodes,
    /// Whether the server was asked to end.
    pub stopping: CancellationToken,
    /// What was found out last, and when.
    pub last: Arc<Mutex<Option<(Instant, Health)>>>,
}

impl Observation {
    /// `/healthz/live`, `/healthz/ready` and `/metrics`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz/live", get(|| async { Json(serde_json::json!({ "status": "live" })) }))
            .route("/healthz/ready", get(ready))
            .route("/metrics", get(exposition))
            .with_state(self)
    }

    /// Looks, or says again what was found a moment ago. One looks at a time.
    async fn health(&self) -> Health {
        let mut last = self.last.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < FRESH
        {
            return health.clone();
        }
        let health = self.look().await;
        *last = Some((Instant::now(), health.clone()));
        health
    }

    async fn look(&self) -> Health {
        let options = self.installation.pool.connect_options();
        let (database, migrations) = match tokio::time::timeout(SOON, postgres::has_every_migration(&options)).await {
            Ok(Ok(true)) => (Finding::OK, Finding::OK),
            Ok(Ok(false)) => (Finding::OK, Finding("some of this program's have not been applied")),
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready: the database can't be reached");
                (Finding("it can't be reached"), Finding::UNKNOWN)
            }
            Err(_) => {
                tracing::warn!("not ready: the database did not answer in time");
                (Finding("it did not answer within 2 s"), Finding::UNKNOWN)
            }
        };
        let signs = self.signing_keys.can_sign(self.installation.clock.now());
        let signing_keys = if signs { Finding::OK } else { Finding("none is active for some algorithm") };
        Health { database, migrations, signing_keys }
    }
}

/// What was found of one thing: [`Finding::OK`], or what is wrong. Never what a driver said, which may name a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Finding(&'static str);

impl Finding {
    const OK: Self = Self("ok");
    const UNKNOWN: Self = Self("unknown");
}

/// What a server needs to answer anybody.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    database: Finding,
    migrations: Finding,
    signing_keys: Finding,
}

/// Whether requests should be sent here.
async fn ready(State(observation): State<Observation>) -> Response {
    let health = observation.health().await;
    let fine = [health.database, health.migrations, health.signing_keys].iter().all(|finding| *finding == Finding::OK);
    let (status, word) = match (observation.stopping.is_cancelled(), fine) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    (status, Json(serde_json::json!({ "status": word, "checks": health }))).into_response()
}

/// Everything that was counted. Open logins are counted for it; where the database isn't there, they are left out.
async fn exposition(State(observation): State<Observation>) -> Response {
    let counted = tokio::time::timeout(SOON, observation.live.count_if_due(&observation.installation)).await;
    if !matches!(counted, Ok(Ok(()))) {
        tracing::debug!("open logins can't be counted now");
    }
    match observation.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written out");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The logins that nobody has decided, of all the installation, as far as that is known.
struct OpenGrants(LiveCodes, Clock);

impl fmt::Debug for OpenGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenGrants")
    }
}

impl Collector for OpenGrants {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(open) = self.0.count_of_all(self.1.now()) else { return Ok(()) };
        let help = "Device logins that wait for a decision, of the whole installation";
        ConstGauge::new(open).encode(encoder.encode_descriptor("open_grants", help, None, MetricType::Gauge)?)
    }
}

/// The connections to the database, looked at when they are asked for.
struct Connections(PgPool);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let idle = u32::try_from(self.0.num_idle()).unwrap_or(u32::MAX);
        let used = self.0.size().saturating_sub(idle);
        let mut family = encoder.encode_descriptor(
            "database_connections",
            "Connections to PostgreSQL in the pool, by what they do",
            None,
            MetricType::Gauge,
        )?;
        for (state, count) in [("idle", idle), ("used", used)] {
            ConstGauge::new(i64::from(count)).encode(family.encode_family(&[("state", state)])?)?;
        }
        let most = encoder.encode_descriptor(
            "database_connections_max",
            "The most connections that the pool opens",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(self.0.options().get_max_connections())).encode(most)
    }
}
