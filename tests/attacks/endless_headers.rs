//! **Endless headers**: fields without number, or one that doesn't end, to fill the server's memory.
//!
//! The attacker has: many connections.
//!
//! What must happen: a connection holds a hundred fields, and some 400 KiB or what came at once with them, and then ends. What browsers and proxies
//! send is far below that and is answered.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::App;

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_header_may_be_so_long_and_no_longer() {
    let app = App::acme().await;
    let address = app.listen().await;
    let many = "X: y\r\n".repeat(101);
    let long = format!("X: {}\r\n", "y".repeat(2 * 1024 * 1024));
    for fields in [many, long] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /activate HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        // Before all of it is sent the answer may be there and the connection gone.
        let _cut_off = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await.expect("an answer or an end");
        let answer = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    // A hundred fields, with a cookie among them as large as any browser sends.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let fields = format!("{}Cookie: a={}\r\n", "X: y\r\n".repeat(90), "b".repeat(8 * 1024));
    let request = format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "HTTP/1.1 200");
}
