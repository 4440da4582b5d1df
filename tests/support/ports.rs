//! Ports for servers that are started later, and for nobody.

use std::sync::Mutex;

use tokio::net::TcpSocket;

/// A port of loopback at which nobody listens. Whoever asks for any port gets another one for as long as this process runs: a
/// socket that doesn't listen keeps it, and servers, who set `SO_REUSEADDR`, may bind beside that.
pub fn free_port() -> u16 {
    static KEPT: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    KEPT.lock().unwrap().push(socket);
    port
}
