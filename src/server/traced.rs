//! A span for every request, for a collector (`telemetry/traces`). What it says is named here, and is nothing that a stranger wrote: no path, no
//! query, no address.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::http::client_address::TrustedProxies;
use crate::http::request_number::RequestNumber;
use crate::telemetry::traces::TARGET;

/// Middleware of a router whose routes are complete. A trace goes on that a trusted proxy began; what anybody else says of one is
/// ignored, who could hang their requests on others' traces, or have all of them told.
pub async fn trace(State(proxies): State<TrustedProxies>, request: Request, next: Next) -> Response {
    let span = span(&request);
    if proxies.passed_on(&request) {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
        let _nobody_is_told = span.set_parent(parent);
    }
    let answer = next.run(request).instrument(span.clone()).await;
    let status = answer.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let number = request.extensions().get::<RequestNumber>().map(RequestNumber::as_str);
    let method = method(request.method());
    tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        countersign.request_id = number,
    )
}

/// A method that there is: others are whatever somebody sent.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}
