//! The headers of pages: nothing is framed, stored, referred to or run. And of every answer: come back by HTTPS only.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// No script at all, styles from our one stylesheet, forms to ourselves.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

/// Where a page's form may end, besides here: browsers hold redirects after a form to its policy as well.
#[derive(Clone, Debug)]
pub struct FormMayEndAt(pub String);

/// Middleware of the pages.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = match response.extensions_mut().remove::<FormMayEndAt>() {
        Some(FormMayEndAt(origin)) => {
            let policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", &format!("form-action 'self' {origin}"));
            HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(CONTENT_SECURITY_POLICY))
        }
        None => HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in FIXED {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Middleware for everything under an https public URL (RFC 6797). A year, as long as browsers want it at least; this host
/// alone, because its neighbours aren't ours.
pub async fn strict_transport(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let (name, value) = STRICT_TRANSPORT;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// What [`strict_transport`] adds.
pub const STRICT_TRANSPORT: (HeaderName, &str) = (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");

const FIXED: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), publickey-credentials-get=()",
    ),
];
