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

/// What becomes of what is sent, and of connections that were made before something happened.
#[derive(Clone, Copy)]
struct Weather {
    way: Way,
    /// Connections of earlier ages are silent for good.
    age: u32,
}

/// A proxy on a port of its own. It ends with this value.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    target: Arc<Mutex<PathBuf>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before the PostgreSQL at this socket.
    pub async fn before(socket: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(socket.to_owned()));
        let (weather, weathers) = watch::channel(Weather { way: Way::Open, age: 0 });
        let task = tokio::spawn(serve(listener, address, weathers, target.clone()));
        Self { address, weather, target, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on this becomes of what is sent, over connections that are there too.
    pub fn set(&self, way: Way) {
        self.weather.send_modify(|weather| weather.way = way);
    }

    /// Connections that are there hear nothing any more, and aren't told that they are of no use: their packets go to a machine
    /// that is gone, or through a firewall that has forgotten them. New ones are as ever.
    pub fn forget_connections(&self) {
        self.weather.send_modify(|weather| weather.age += 1);
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

async fn serve(
    first: TcpListener,
    address: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    target: Arc<Mutex<PathBuf>>,
) {
    let mut listener = Some(first);
    let mut carried = JoinSet::new();
    loop {
        let accepted = match &listener {
            Some(listener) => tokio::select! {
                accepted = listener.accept() => accepted.ok(),
                _ = weather.wait_for(|weather| weather.way == Way::Cut) => None,
            },
            None => None,
        };
        if let Some((client, _)) = accepted {
            let socket = target.lock().unwrap().clone();
            let age = weather.borrow().age;
            carried.spawn(carry(client, socket, weather.clone(), age));
        } else if weather.borrow().way == Way::Cut {
            // Without a listener new connections are refused.
            listener = None;
            carried.shutdown().await;
            if weather.wait_for(|weather| weather.way != Way::Cut).await.is_err() {
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
async fn carry(client: TcpStream, socket: PathBuf, mut weather: watch::Receiver<Weather>, age: u32) {
    alive(&mut weather, age).await;
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let _delayed_anyway = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, (weather.clone(), age), false) => {}
        () = pump(from_server, to_client, (weather, age), true) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (mut weather, age): (watch::Receiver<Weather>, u32),
    is_answer: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        // The end of a connection is news too, which a dead network doesn't bring.
        let way = alive(&mut weather, age).await;
        let Ok(length @ 1..) = read else { return };
        if let (Way::Slow(delay), true) = (way, is_answer) {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Waits for as long as nothing gets through to a connection of this age. Those that a cut ends are dropped where they wait.
async fn alive(weather: &mut watch::Receiver<Weather>, age: u32) -> Way {
    let alive =
        weather.wait_for(|weather| weather.way != Way::Dead && weather.age == age).await.map(|weather| weather.way);
    match alive {
        Ok(way) => way,
        Err(_) => std::future::pending().await,
    }
}
