//! What holds whatever the URL: whose request it is, and how it goes over a real socket.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use std::net::SocketAddr;

use crate::api::with_header;
use crate::support::app::form_request;
use crate::support::{App, Browser, Device};

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
async fn the_person_is_told_when_the_device_is_on_another_network() {
    let app = App::acme().await;
    for (address, warned) in [("127.0.0.9", false), ("203.0.113.7", true)] {
        let device = Device::ask(&app, "read").await;
        let mut browser = Browser::new(&app);
        browser.address = Some(address);
        let confirm = browser.enter_and_sign_in(&device.user_code).await;
        assert_eq!(confirm.text().contains("On another network than you"), warned, "{address}");
    }
}

#[tokio::test]
async fn over_a_socket_a_whole_conversation_takes_one_connection() {
    let app = App::acme().await;
    let address = app.listen().await;
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    for _ in 0..3 {
        let answer = client.post(format!("http://{address}/auth/device/code")).form(&[("client_id", "acme-cli")]);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(answer.headers().get("connection").is_none());
    }
    // A body that is too large is answered, and not by a closed connection.
    let answer = client.post(format!("http://{address}/auth/token")).form(&[("x", "y".repeat(100_000))]);
    assert_eq!(answer.send().await.unwrap().status(), 413);
}
