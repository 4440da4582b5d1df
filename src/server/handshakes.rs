//! TLS handshakes, beside the listener that accepts connections.
//!
//! 1. Each is a task of its own: a client that takes its time holds up nobody else, and none is waited for longer than for
//!    the head of a request.
//! 2. So many are under way at most. When another connection comes, the one that has taken longest is given up for it: honest
//!    clients need a round trip or two, so that it is one of those who never meant to end.
//! 3. A connection counts among the others from its first byte on, and is over a moment after the server is asked to end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;

use super::connections::{Connections, Place, QUIET};
use super::tls::Tls;

/// How many may be under way.
pub const MOST: usize = 512;

/// A connection whose handshake is done.
pub struct Shaken {
    /// What is said inside.
    pub stream: Box<TlsStream<TcpStream>>,
    /// The other end.
    pub address: SocketAddr,
    /// Among the others.
    pub place: Place,
}

/// The handshakes of one listener.
pub struct Handshakes {
    tls: Tls,
    /// How long one may take.
    within: Duration,
    under_way: JoinSet<Option<Shaken>>,
    /// In the order in which they began; those that are done are among them for a while.
    begun: VecDeque<AbortHandle>,
}

impl Handshakes {
    /// None yet.
    #[must_use]
    pub fn new(tls: Tls, within: Duration) -> Self {
        Self { tls, within, under_way: JoinSet::new(), begun: VecDeque::new() }
    }

    /// Begins one.
    pub fn begin(&mut self, stream: TcpStream, address: SocketAddr, connections: &Connections) {
        while self.begun.len() >= MOST {
            if let Some(oldest) = self.begun.pop_front() {
                oldest.abort();
            }
        }
        let (accept, within, connections) = (self.tls.acceptor().accept(stream), self.within, connections.clone());
        let place = connections.enter();
        let begun = self.under_way.spawn(async move {
            let given_up = async {
                tokio::select! {
                    () = tokio::time::sleep(within) => {}
                    () = async {
                        connections.ending().await;
                        tokio::time::sleep(QUIET).await;
                    } => {}
                }
            };
            tokio::select! {
                accepted = accept => match accepted {
                    Ok(stream) => Some(Shaken { stream: Box::new(stream), address, place }),
                    Err(error) => {
                        tracing::debug!(%error, %address, "a TLS handshake failed");
                        None
                    }
                },
                () = given_up => {
                    tracing::debug!(%address, "a TLS handshake took too long");
                    None
                }
            }
        });
        self.begun.push_back(begun);
    }

    /// The next that is done. Never ends when none is under way.
    pub async fn next(&mut self) -> Shaken {
        while let Some(done) = self.under_way.join_next().await {
            self.begun.retain(|handshake| !handshake.is_finished());
            if let Ok(Some(shaken)) = done {
                return shaken;
            }
        }
        std::future::pending().await
    }
}
