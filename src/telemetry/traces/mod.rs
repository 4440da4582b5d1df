//! Traces: what a request did, told to a collector by OTLP over HTTP, where `OTEL_…` asks for it.
//!
//! 1. [`Wanted::read`] looks whether anything is to be told, and to whom. Nothing is the default, and costs nothing: the spans
//!    of [`TARGET`] are then wanted by nobody, and the server has no layer that makes them.
//! 2. Spans of this target, and no others, reach the collector: each names its attributes one by one where it is made, so that what
//!    people type, addresses and queries stay out. The statements of a request, whose values are bound and not part of them, go along.
//! 3. Spans wait in a bounded queue for a thread of their own. A collector that is away or hangs makes it full, and what is too much is
//!    dropped: nobody waits for it, but at the end, and there for [`FLUSH_WITHIN`] at most.

mod sender;
mod wanted;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use sender::Sender;

pub use wanted::{Unwanted, Wanted};

/// The target of spans that a collector is told, and no log.
pub const TARGET: &str = "otel";

/// How long the last spans may take to be told when the server ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// How this program is called where nobody calls it otherwise.
const SERVICE: &str = "countersign";

/// What tells a collector.
pub struct Traces(SdkTracerProvider);

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A variable holds something that can't be used.
    #[error("the exporter can't be set up: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// There is no way to speak TLS.
    #[error("no HTTP client for the collector: {0}")]
    Client(#[from] reqwest::Error),
}

impl Traces {
    /// Begins; in a runtime, on which the sending is done. Where to, with which headers, how many of the requests, and under which name
    /// is read from the environment by the exporter itself.
    pub fn begin(wanted: &Wanted) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new(wanted.timeout)?).build()?;
        let resource = Resource::builder();
        let resource = if wanted.named { resource } else { resource.with_service_name(SERVICE) };
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.with_attribute(version).build())
            .build();
        Ok(Self(provider))
    }

    /// What hears of spans.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let told = Targets::new().with_target(TARGET, LevelFilter::INFO).with_target("sqlx::query", LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(told)
    }

    /// Tells what is still to be told, if the collector takes it in time, and ends.
    pub async fn end(self) {
        let ending = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_WITHIN));
        let ended = tokio::time::timeout(FLUSH_WITHIN + Duration::from_secs(1), ending).await;
        if !matches!(ended, Ok(Ok(Ok(())))) {
            tracing::warn!("the collector did not take the last traces in time: they are lost");
        }
    }
}
