//! What a server tells of itself: logs, and metrics.

mod histogram;
pub mod leftover;
pub mod metrics;
pub mod requests;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

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

/// Sends logs to standard error, panics too. `filter` is as in `RUST_LOG`; one that can't be read counts as `info`.
pub fn start(format: LogFormat, filter: &str) {
    // sqlx warns of an unknown parameter of the database's URL together with its value.
    let filter = format!("{filter},sqlx_postgres::options=off");
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info,sqlx_postgres::options=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log_panics();
    // Whoever started a subscriber before (a test does) keeps it.
    let _already_started = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
