//! **A slow client** (slowloris): connections that are held open by sending, or reading, next to nothing.
//!
//! The attacker has: as many connections as they like, and all the time in the world.
//!
//! What must happen: a header, a body and an answer have their time, after which the connection is closed or answered. A poll
//! that is held and a client that pauses between two polls are no slow clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign::server::patience::Patience;
use countersign::server::{Server, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{App, Device};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

/// A server that loses patience quickly.
async fn impatient(app: &App) -> SocketAddr {
    let patience =
        Patience { idle: Duration::from_secs(8), head: Duration::from_secs(1), write: Duration::from_secs(1) };
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_that_send_a_byte_a_second_do_not_slow_down_the_others() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let app = App::acme().await;
    let address = impatient(&app).await;
    let device = Device::ask(&app, "read").await;
    let stop = CancellationToken::new();
    let slow: Vec<_> = (0..1000)
        .map(|_| {
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    for byte in "POST /auth/token HTTP/1.1\r\nX: ".bytes().chain(std::iter::repeat(b'x')) {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        if stop.is_cancelled() || stream.write_all(&[byte]).await.is_err() {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..5 {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(poll(&device, "Connection: close\r\n").as_bytes()).await.unwrap();
        let answer = until_closed(&mut stream).await;
        assert!(answer.contains("authorization_pending"), "{answer}");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        app.advance(5);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.cancel();
    for client in slow {
        tokio::time::timeout(SOON, client).await.expect("it ends").unwrap();
    }
}
