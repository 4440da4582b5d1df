//! Clients that are slow, silent or under another name; and a handler that panics.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use axum::{Router, body::Body};
use countersign::config::Phishing;
use countersign::geo::Places;
use countersign::pages::{self, Pages};
use countersign::server::patience::Patience;
use countersign::server::{Server, Settings};
use countersign::upstream::Upstream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::api::with_header;
use crate::support::{App, Device};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

/// A server that loses patience quickly.
async fn impatient(app: &App) -> SocketAddr {
    let patience =
        Patience { idle: Duration::from_secs(4), head: Duration::from_secs(1), write: Duration::from_secs(1) };
    let server = Server::new(app.installation.clone(), Settings { patience, ..Settings::default() }).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, std::future::pending()));
    address
}

/// What comes until the server closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut with bytes unread is reset: that is an end as well.
    let _reset = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8(bytes).unwrap()
}

fn poll(device: &Device<'_>, prefer: &str) -> String {
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=acme-cli&device_code={}",
        device.device_code
    );
    format!(
        "POST /auth/token HTTP/1.1\r\nHost: localhost\r\n{prefer}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_header_that_comes_byte_by_byte_is_not_waited_for() {
    let app = App::acme().await;
    let mut stream = TcpStream::connect(impatient(&app).await).await.unwrap();
    let begun = Instant::now();
    let mut wrote = 0;
    for byte in "GET /activate HTTP/1.1\r\nHost: localhost\r\nX: ".bytes().chain(std::iter::repeat(b'x')) {
        if stream.write_all(&[byte]).await.is_err() || begun.elapsed() > SOON {
            break;
        }
        wrote += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() < SOON, "cut off after {wrote} bytes");
    // Nothing at all, and half a header: both end.
    let address = impatient(&app).await;
    for begin in ["", "POST /auth/token HTTP/1.1\r\nHost: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "");
    }
}

#[tokio::test]
async fn a_poll_may_be_held_and_a_client_may_pause_longer_than_a_header_may_take() {
    let app = App::acme().await;
    let address = impatient(&app).await;
    let device = Device::ask(&app, "read").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for prefer in ["", "Prefer: wait=6\r\n", ""] {
        stream.write_all(poll(&device, prefer).as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await.expect("an answer").unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("authorization_pending"), "{prefer}: {answer}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(until_closed(&mut stream).await, "", "idle for too long in the end");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered() {
    let app = App::acme().await;
    let mut stream = TcpStream::connect(app.listen().await).await.unwrap();
    let head = "POST /auth/device/code HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 40\r\n\r\nclient_id=acme";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"invalid_request\""), "{answer}");
}

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

#[tokio::test]
async fn https_is_asked_for_where_it_is_there() {
    let app = App::at("https://auth.acme.example", crate::support::app::ACME).await;
    for path in ["/activate", "/.well-known/jwks.json", "/nowhere"] {
        assert_eq!(app.get(path).await.headers[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000", "{path}");
    }
    let plain = App::acme().await;
    if !plain.installation.public_url.is_secure() {
        assert!(plain.get("/activate").await.headers.get(header::STRICT_TRANSPORT_SECURITY).is_none());
    }
}

async fn boom() -> StatusCode {
    panic!("a secret")
}

#[tokio::test]
async fn a_panic_is_one_answer() {
    let app = App::acme().await;
    let pages = Pages {
        installation: app.installation.clone(),
        upstream: Upstream::new().unwrap(),
        places: Places::default(),
        phishing: Phishing::default(),
        notices: app.notices.clone(),
    };
    let door = Router::new().route("/boom", get(boom)).route("/fine", get(|| async { "fine" }));
    let door = pages::served(pages, door);
    let ask = |path: &str| door.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    let answer = ask("/boom").await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let page = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("Something went wrong on our side") && !page.contains("secret"), "{page}");
    assert_eq!(ask("/fine").await.unwrap().status(), StatusCode::OK);
}
