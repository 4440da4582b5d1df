//! The server's URLs, one file for each: what they answer, and how they refuse.

mod activate;
mod auth;
mod documented;
mod ops;
mod pages;
mod serve;
mod setup;
mod telemetry;
mod well_known;

use axum::body::Body;
use axum::http::{HeaderName, Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::app::{ACME, Answer};

/// Checks what holds of every refusal of an OAuth endpoint (SPEC §2.1), and gives its status and `error`.
#[track_caller]
fn refusal(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["error", "error_code", "error_description", "timestamp"], "{body}");
    let description = answer.text("error_description");
    // RFC 6749 §5.2 names the signs that it may have.
    assert!(description.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte)), "{description}");
    assert!(!description.trim().is_empty(), "{body}");
    assert!(chrono::DateTime::parse_from_rfc3339(&answer.text("timestamp")).is_ok(), "{body}");
    let code = match answer.error().as_str() {
        "authorization_pending" => "DEVICE_CODE_PENDING".to_owned(),
        "expired_token" => "DEVICE_CODE_EXPIRED".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    assert_eq!(answer.text("error_code"), code);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("location"), None);
    (answer.status.as_u16(), answer.error())
}

/// The same as something to compare with.
#[track_caller]
fn is_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(refusal(answer), (status, error.to_owned()), "{}", answer.body);
    let challenged = answer.header("www-authenticate").is_some();
    assert_eq!(challenged, status == 401, "{}", answer.body);
}

/// A body of some type, or of none said.
fn body_request(path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path);
    let request = match content_type {
        Some(content_type) => request.header(header::CONTENT_TYPE, content_type),
        None => request,
    };
    request.body(body.into()).unwrap()
}

/// The same request with one more header.
fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    request
}

/// The value of an Authorization header.
fn basic(id: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{password}")))
}

/// [`ACME`] with more settings for its public client.
fn acme_cli_with(settings: &str) -> String {
    ACME.replacen("client_id = \"acme-cli\"\n", &format!("client_id = \"acme-cli\"\n{settings}\n"), 1)
}
