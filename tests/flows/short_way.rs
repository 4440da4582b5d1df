//! A plain poll that is pending is answered before the router, every other behind it, and nobody can tell which was which.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::stream;

use crate::support::app::{ACME, form_request};
use crate::support::dpop::{DeviceKey, with_proof};
use crate::support::{App, Browser, Device};

/// A field that makes a poll go the long way, and changes nothing about it.
const UNKNOWN: (&str, &str) = ("unknown", "whatever");

fn form<'a>(client_id: &'a str, device_code: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
        ("client_id", client_id),
    ]
}

fn poll(device: &Device<'_>, more: &[(&str, &str)]) -> Request<Body> {
    let fields = [form("acme-cli", &device.device_code), more.to_vec()].concat();
    form_request("/auth/token", &fields)
}

/// A device whose code, and whose client, this server has in memory.
async fn known(app: &App) -> Device<'_> {
    app.until_known("acme-cli").await;
    let device = Device::ask(app, "read").await;
    while app.send_the_short_way(poll(&device, &[])).await.status == StatusCode::IM_A_TEAPOT {
        // The first look is at the database. Time passes, so that these polls are no flood.
        app.advance(5);
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
    app.advance(20);
    device
}

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    // It is written into every answer, here or there.
    headers.retain(|(name, _)| name != "content-length");
    headers.sort();
    headers
}

#[tokio::test]
async fn both_ways_give_the_same_answers_and_keep_one_pace() {
    for issuer in ["https://auth.acme.example", "http://localhost:8080"] {
        let app = App::at(issuer, ACME).await;
        let device = known(&app).await;
        let both = async || {
            let short = app.send_the_short_way(poll(&device, &[])).await;
            let long = app.send(poll(&device, &[UNKNOWN])).await;
            assert_eq!(sorted(&short.headers), sorted(&long.headers), "{issuer}");
            (short, long)
        };
        for _ in 0..2 {
            let (short, long) = both().await;
            assert_eq!(short.error(), "authorization_pending", "{issuer}");
            assert_eq!((short.status, short.body), (long.status, long.body), "{issuer}");
        }
        // Of those that come at once the sixth is one too many, whichever way the five before it came.
        let (fifth, sixth) = both().await;
        assert_eq!(
            (fifth.error().as_str(), sixth.error().as_str()),
            ("authorization_pending", "slow_down"),
            "{issuer}"
        );
        let (short, long) = both().await;
        assert_eq!(short.error(), "slow_down", "{issuer}");
        assert_eq!((short.status, short.body), (long.status, long.body), "{issuer}");
    }
}

#[tokio::test]
async fn polls_are_counted_whichever_way_they_come() {
    let app = App::acme().await;
    let device = known(&app).await;
    let counted = async || {
        let pending = app.metric("polls_total{answer=\"authorization_pending\"}").await.unwrap();
        let requests = app.metric("http_requests_total{route=\"/auth/token\",status=\"400\"}").await.unwrap();
        let timed = app.metric("http_request_duration_seconds_count{route=\"/auth/token\"}").await.unwrap();
        let under_way = app.metric("http_requests_under_way{route=\"/auth/token\"}").await.unwrap();
        [pending, requests, timed, under_way]
    };
    let before = counted().await;
    assert_eq!(app.send(poll(&device, &[])).await.error(), "authorization_pending");
    assert_eq!(app.send(poll(&device, &[UNKNOWN])).await.error(), "authorization_pending");
    let after = counted().await;
    assert_eq!([0, 1, 2, 3].map(|n: usize| (after[n] - before[n]).to_string()), ["2", "2", "2", "0"]);
}

#[tokio::test]
async fn what_is_not_a_plain_pending_poll_is_passed_on_whole() {
    let app = App::acme().await;
    let device = known(&app).await;
    let with = |name: &'static str, value: &str| {
        let mut request = poll(&device, &[]);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let body = serde_urlencoded::to_string(form("acme-cli", &device.device_code)).unwrap();
    let stranger = form_request("/auth/token", &form("acme-agent", &device.device_code));
    let none = form_request("/auth/token", &form("acme-cli", "csd_made-up"));
    let mut slow = poll(&device, &[]);
    *slow.body_mut() = Body::from_stream(stream::iter(["grant_type=x", "&rest"].map(Ok::<_, std::io::Error>)));
    let mut silent = poll(&device, &[]);
    *silent.body_mut() = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    for request in [
        with("prefer", "wait=1"),
        with("dpop", "proof"),
        with("authorization", "Basic YWNtZS1jbGk6"),
        with("origin", "https://acme.example"),
        with("content-type", "application/json"),
        with("content-length", "2000"),
        with("transfer-encoding", "chunked"),
        poll(&device, &[("resource", "https://api.acme.example")]),
        poll(&device, &[("client_secret", "secret")]),
        poll(&device, &[("client_id", "acme-cli")]),
        stranger,
        none,
        slow,
        silent,
        Request::post("/auth/revoke").body(Body::from(body)).unwrap(),
    ] {
        let told = format!("{request:?}");
        assert_eq!(app.send_the_short_way(request).await.status, StatusCode::IM_A_TEAPOT, "{told}");
    }
    // A body that comes in pieces is read as one.
    let fields = form("acme-cli", &device.device_code);
    let (mut request, body) = (form_request("/auth/token", &fields), serde_urlencoded::to_string(&fields).unwrap());
    let pieces: Vec<_> = body.into_bytes().chunks(7).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    *request.body_mut() = Body::from_stream(stream::iter(pieces));
    assert_eq!(app.send(request).await.error(), "authorization_pending");
}

#[tokio::test]
async fn nothing_but_an_open_grant_of_a_public_client_is_answered_from_memory() {
    let app = App::acme().await;
    let passes_on =
        async |device: &Device<'_>| app.send_the_short_way(poll(device, &[])).await.status == StatusCode::IM_A_TEAPOT;
    // Approved, denied, expired.
    let device = known(&app).await;
    Browser::new(&app).approve_code(&device.user_code).await;
    assert!(passes_on(&device).await);
    assert!(device.poll().await.json()["access_token"].is_string());
    let device = known(&app).await;
    app.advance(901);
    assert!(passes_on(&device).await);
    assert_eq!(device.poll().await.error(), "expired_token");
    // Bound to a key.
    let key = DeviceKey::new();
    let asked = form_request("/auth/device/code", &[("client_id", "acme-cli")]);
    let asked = app.send(with_proof(asked, &key.proof(&app, "/auth/device/code"))).await;
    let bound = form_request("/auth/token", &form("acme-cli", &asked.text("device_code")));
    assert_eq!(app.send_the_short_way(bound).await.status, StatusCode::IM_A_TEAPOT);
    // Of a service that lets nobody log in any more.
    let device = known(&app).await;
    app.execute("UPDATE service SET device_login = false WHERE client_id = 'acme-cli'").await;
    app.until_known("acme-cli").await;
    assert!(passes_on(&device).await);
    assert_eq!(device.poll().await.error(), "unauthorized_client");
}
