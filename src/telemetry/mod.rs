//! What a server tells of itself: logs, metrics, and traces.

mod histogram;
pub mod leftover;
pub mod metrics;
pub mod notices;
pub mod requests;
pub mod traces;

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use traces::Traces;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs a panic as one event, in the span of its request: where it was, and not what it says. That is at times the very
/// value that could not be handled.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic: this is a fault of Countersign, please report it");
    }));
}

/// What no log says: sqlx warns of an unknown parameter of the database's URL together with its value; and spans that are made for a
/// collector.
const NEVER: &str = "sqlx_postgres::options=off,otel=off,opentelemetry_otlp=off";

/// Sends logs to standard error, panics too, and traces where they are wanted. `filter` is as in `RUST_LOG`; one that can't be read counts
/// as `info`.
pub fn start(format: LogFormat, filter: &str, traces: Option<&Traces>) {
    let filter = EnvFilter::try_new(format!("{filter},{NEVER}"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(format!("info,{NEVER}")));
    log_panics();
    let Some(traces) = traces else {
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // Whoever started a subscriber before (a test does) keeps it.
        let _already_started = match format {
            LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        return;
    };
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(log.with_filter(filter)).with(traces.layer());
    let _already_started = subscriber.try_init();
}
