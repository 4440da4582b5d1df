//! Between servers and PostgreSQL: passes on, slows down, cuts, or is a network that has died.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It arrives.
    Open,
    /// What PostgreSQL says arrives so much later: a round trip takes as much longer.
    Slow(Duration),
    /// Connections are closed, and new ones refused.
    Cut,
    /// Nothing arrives, not even that a connection was closed; new connections are taken and hear nothing. What was sent
    /// meanwhile arrives when the network is back, as TCP sends it again.
    Dead,
}

/// A proxy on a port of its own. It ends with this value.
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    target: Arc<Mutex<PathBuf>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before the PostgreSQL at this socket.
    pub async fn before(socket: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(socket.to_owned()));
        let (way, ways) = watch::channel(Way::Open);
        let task = tokio::spawn(serve(listener, address, ways, target.clone()));
        Self { address, way, target, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on this becomes of what is sent, over connections that are there too.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// New connections go to another PostgreSQL; those that are there are cut.
    pub async fn turn_to(&self, socket: &Path) {
        self.set(Way::Cut);
        socket.clone_into(&mut self.target.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.set(Way::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(first: TcpListener, address: SocketAddr, mut ways: watch::Receiver<Way>, target: Arc<Mutex<PathBuf>>) {
    let mut listener = Some(first);
    let mut carried = JoinSet::new();
    loop {
        let accepted = match &listener {
            Some(listener) => tokio::select! {
                accepted = listener.accept() => accepted.ok(),
                _ = ways.wait_for(|way| *way == Way::Cut) => None,
            },
            None => None,
        };
        if let Some((client, _)) = accepted {
            let socket = target.lock().unwrap().clone();
            carried.spawn(carry(client, socket, ways.clone()));
        } else if *ways.borrow() == Way::Cut {
            // Without a listener new connections are refused.
            listener = None;
            carried.shutdown().await;
            if ways.wait_for(|way| *way != Way::Cut).await.is_err() {
                return;
            }
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while carried.try_join_next().is_some() {}
    }
}

/// One connection, until either side closes it.
async fn carry(client: TcpStream, socket: PathBuf, mut ways: watch::Receiver<Way>) {
    alive(&mut ways).await;
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let _delayed_anyway = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, ways.clone(), false) => {}
        () = pump(from_server, to_client, ways, true) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut ways: watch::Receiver<Way>,
    is_answer: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        // The end of a connection is news too, which a dead network doesn't bring.
        let way = alive(&mut ways).await;
        let Ok(length @ 1..) = read else { return };
        if let (Way::Slow(delay), true) = (way, is_answer) {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits for as long as the network is dead. Those that a cut ends are dropped where they wait.
async fn alive(ways: &mut watch::Receiver<Way>) -> Way {
    let alive = ways.wait_for(|way| *way != Way::Dead).await.map(|way| *way);
    match alive {
        Ok(way) => way,
        Err(_) => std::future::pending().await,
    }
}
