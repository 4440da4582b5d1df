//! What `countersign serve` listens at: addresses of the configuration, or sockets that somebody else holds.
//!
//! Who starts the server may hand it sockets that listen already (`sd_listen_fds(3)`): systemd, or the test of this. They
//! outlive the server, so that no connection is refused while one program takes another's place.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;

use super::environment::variable;

/// The name of the socket for health and metrics.
const TELEMETRY: &str = "telemetry";

/// The listening sockets of a server.
pub struct Sockets {
    /// The one that everybody reaches.
    pub public: TcpListener,
    /// The one for health and metrics.
    pub telemetry: Option<TcpListener>,
}

impl Sockets {
    /// Takes what was handed over, and binds the rest.
    pub async fn open(public: SocketAddr, telemetry: Option<SocketAddr>) -> anyhow::Result<Self> {
        let inherited = Inherited::take()?;
        let public = match inherited.public {
            Some(listener) => listener,
            None => bind(public).await?,
        };
        let telemetry = match (inherited.telemetry, telemetry) {
            (Some(listener), _) => Some(listener),
            (None, Some(address)) => Some(bind(address).await?),
            (None, None) => None,
        };
        Ok(Self { public, telemetry })
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))
}

/// What was handed over.
#[derive(Default)]
struct Inherited {
    public: Option<TcpListener>,
    telemetry: Option<TcpListener>,
}

impl Inherited {
    fn take() -> anyhow::Result<Self> {
        // A process may have the variables of its parent, for whom the sockets were.
        let meant = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
        if !meant {
            return Ok(Self::default());
        }
        // Before the sockets: taking those takes the variables out of the environment.
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut inherited = Self::default();
        for (index, name) in (0..handed.len()).zip(names.split(':').chain(std::iter::repeat(""))) {
            let listener = handed.take_tcp_listener(index).with_context(|| format!("LISTEN_FDS: socket {index}"))?;
            let Some(listener) = listener else { continue };
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener).with_context(|| format!("LISTEN_FDS: socket {index}"))?;
            let place = if name == TELEMETRY { &mut inherited.telemetry } else { &mut inherited.public };
            if place.replace(listener).is_some() {
                bail!("LISTEN_FDS: more sockets than one to listen at, and one named \"{TELEMETRY}\"");
            }
        }
        Ok(inherited)
    }
}
