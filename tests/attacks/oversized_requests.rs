//! **Oversized requests**: bodies without an end, fields without number, values as large as a book.
//!
//! The attacker has: a connection, and patience.
//!
//! What must happen: a request costs what one request may cost. It is answered with what is wrong, nothing of it is kept, and
//! whoever polls meanwhile notices nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt as _;
use futures_util::stream::repeat;

use super::audited;
use crate::support::{App, Device};

const FORM: &str = "application/x-www-form-urlencoded";

/// Everything that takes a body.
const DOORS: [&str; 11] = [
    "/auth/device/code",
    "/auth/device/verify",
    "/auth/token",
    "/auth/revoke",
    "/auth/introspect",
    "/activate",
    "/activate/sign-in",
    "/activate/mfa",
    "/activate/confirm",
    "/account/acme/sign-in",
    "/account/acme/password",
];

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", content_type).body(body.into()).unwrap()
}

#[tokio::test]
async fn a_body_without_an_end_is_not_read_to_it() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    for path in DOORS {
        for content_type in [FORM, "application/json"] {
            let read = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&read);
            let endless = repeat(vec![b'a'; 4096]).map(move |piece| {
                counter.fetch_add(piece.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(piece)
            });
            let answer = app.send(post(path, content_type, Body::from_stream(endless))).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
            assert!(read.load(Ordering::Relaxed) <= 80 * 1024, "{path} read {}", read.load(Ordering::Relaxed));
        }
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn what_is_small_enough_to_be_read_is_not_believed_for_that() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let many = (0..6000).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let long = format!("client_id=acme-cli&scope={}", "read+".repeat(10_000));
    for (content_type, body) in [(FORM, many), ("application/json", deep), ("application/json", "{\"a\":".repeat(9000))]
    {
        for path in DOORS {
            let answer = app.send(post(path, content_type, body.clone())).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {content_type}");
        }
    }
    // One scope said ten thousand times is one scope.
    let answer = app.send(post("/auth/device/code", FORM, long)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    for form in [format!("user_code={}", "W".repeat(60_000)), format!("user_code={}", "%F0%9F%94%91".repeat(5_000))] {
        let answer = app.send(post("/auth/device/verify", FORM, form)).await;
        assert_eq!(answer.error(), "invalid_grant");
    }
    let code = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=acme-cli&device_code=csd_{}",
        "A".repeat(60_000)
    );
    assert_eq!(app.send(post("/auth/token", FORM, code)).await.error(), "invalid_grant");
    assert_eq!((audited(&app, "requested").await, device.poll().await.error()), (2, "authorization_pending".into()));
}
