//! **Another host** (DNS rebinding): the attacker's own name leads to this server's address, and their site reads its pages.
//!
//! The attacker has: a domain whose address they change while the victim's browser is on it.
//!
//! What must happen: pages are given out under the public URL's name only, to everybody else a page that says where it is.
//! Endpoints for programs keep nothing in browsers, and answer whoever reaches them.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use super::with_header;
use crate::support::App;

#[tokio::test]
async fn pages_are_given_out_under_the_public_name_only() {
    let app = App::acme().await;
    let host = app.installation.public_url.host();
    let ask = |path: &str, host: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.send(with_header(request, "host", host))
    };
    for path in ["/activate", "/account", "/nowhere"] {
        let answer = ask(path, "rebound.example").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(answer.body.contains(&host) && !answer.body.contains("rebound"), "{}", answer.body);
        assert!(answer.headers.get(header::SET_COOKIE).is_none());
        assert_ne!(ask(path, &host).await.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    // Programs may call it as they reach it: a tool in the same network needs no detour.
    assert_eq!(ask("/.well-known/openid-configuration", "inner:8080").await.status, StatusCode::OK);
}
