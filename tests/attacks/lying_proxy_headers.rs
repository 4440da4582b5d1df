//! **Lying proxy headers**: a request says of itself that it was forwarded, and for whom.
//!
//! The attacker has: every header of their requests: `X-Forwarded-For`, `Forwarded`, `X-Forwarded-Host`, `Host`. They want to be
//! near a victim, to be many, or to have links with another name in them.
//!
//! What must happen: only trusted proxies say whose request it is, and from right to left as far as these reach. Addresses in
//! answers are the public URL's, whatever a request says.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};

use super::{ADA, with_header};
use crate::support::app::{ACME, ADA_PASSWORD, form_request};
use crate::support::{App, Browser};

fn from(peer: &str, forwarded: Option<&str>, request: Request<Body>) -> Request<Body> {
    let mut request = match forwarded {
        Some(value) => with_header(request, "x-forwarded-for", value),
        None => request,
    };
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4711)));
    request
}

#[tokio::test]
async fn only_a_trusted_proxy_says_whose_request_it_is() {
    let app = App::acme().await;
    for (peer, forwarded, expected) in [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", Some("198.51.100.1"), "203.0.113.7"),
        ("10.0.0.1", Some("198.51.100.1"), "198.51.100.1"),
        ("10.0.0.1", Some("192.0.2.66, 198.51.100.1, 10.0.0.2"), "198.51.100.1"),
        ("10.0.0.1", Some("2001:db8::1"), "2001:db8::1"),
        ("::ffff:10.0.0.1", Some("198.51.100.1"), "198.51.100.1"),
        ("10.0.0.1", None, "10.0.0.1"),
    ] {
        let request = form_request("/auth/device/code", &[("client_id", "acme-cli")]);
        let answer = app.send(from(peer, forwarded, request)).await;
        assert_eq!(answer.status, StatusCode::OK);
        let addresses: (String, String) = sqlx::query_as(
            "SELECT host(g.ip), host(e.ip) FROM device_grant g JOIN audit_event e ON e.grant_id = g.id ORDER BY g.id DESC LIMIT 1",
        )
        .fetch_one(&app.installation.pool)
        .await
        .unwrap();
        assert_eq!(addresses, (expected.to_owned(), expected.to_owned()), "{peer} {forwarded:?}");
        app.advance(1);
    }
}

#[tokio::test]
async fn nobody_is_near_by_saying_so() {
    let block = "client_id = \"acme-cli\"\nproximity = \"block\"";
    let app = App::with(&ACME.replace("client_id = \"acme-cli\"", block)).await;
    // The kit knows the victim's address, and claims it: directly, and through the proxy with more hops than there were, or
    // with something beside them that is no text.
    for (peer, claim) in [
        ("203.0.113.66", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, 203.0.113.66"),
        ("10.0.0.1", "\u{ff}192.0.2.7, 203.0.113.66"),
    ] {
        let request = form_request("/auth/device/code", &[("client_id", "acme-cli")]);
        let request = with_header(request, "forwarded", "for=192.0.2.7");
        let codes = app.send(from(peer, Some(claim), request)).await;
        let mut victim = Browser::behind_proxy(&app, "192.0.2.7");
        let page = victim.enter(&codes.text("user_code")).await;
        let page = victim.sign_in(&page, ADA, ADA_PASSWORD).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
        assert!(page.text().contains("203.0.113.66"), "{}", page.text());
        app.advance(1);
    }
}

/// The proxy doesn't say for whom it asks: everybody seems to be where it is, and nobody is near anybody.
#[tokio::test]
async fn nobody_is_near_because_a_proxy_is_silent() {
    let block = "client_id = \"acme-cli\"\nproximity = \"block\"";
    let app = App::with(&ACME.replace("client_id = \"acme-cli\"", block)).await;
    for said in [None, Some("unknown"), Some("203.0.113.66, \u{ff}")] {
        let request = form_request("/auth/device/code", &[("client_id", "acme-cli")]);
        let codes = app.send(from("10.0.0.1", said, request)).await;
        let mut browser = Browser::new(&app);
        browser.address = Some("10.0.0.1");
        let page = browser.enter(&codes.text("user_code")).await;
        let page = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{said:?}: {}", page.text());
        app.advance(1);
    }
}

#[tokio::test]
async fn addresses_in_answers_are_the_public_ones() {
    let app = App::acme().await;
    for name in
        ["host", "x-forwarded-host", "x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-forwarded-proto"]
    {
        let request = form_request("/auth/device/code", &[("client_id", "acme-cli")]);
        let codes = app.send(from("203.0.113.7", None, with_header(request, name, "evil.example"))).await;
        assert_eq!(codes.text("verification_uri"), "https://auth.acme.example/activate", "{name}");
        let metadata = Request::get("/.well-known/openid-configuration").body(Body::empty()).unwrap();
        let metadata = app.send(from("203.0.113.7", None, with_header(metadata, name, "evil.example"))).await;
        assert!(metadata.body.contains("https://auth.acme.example/auth/token") && !metadata.body.contains("evil"));
    }
}
