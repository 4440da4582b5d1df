//! A network between a server and PostgreSQL that tests can break.

use std::path::PathBuf;

use countersign::postgres::{self, PgPool};
use sqlx::postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// It passes everything on.
    Fine,
    /// It cuts every connection, and new ones at once.
    Cut,
    /// It takes everything and passes nothing on. Connections that were there then stay dead for ever, as where the state of a
    /// firewall was lost.
    Dead,
}

/// A way to a PostgreSQL that listens at a socket of this machine.
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// To the PostgreSQL of this pool. It ends with the test's runtime.
    pub async fn to(pool: &PgPool) -> Self {
        let options = pool.connect_options();
        let socket = options.get_socket().unwrap().join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = watch::Sender::new(Weather::Fine);
        let seen = weather.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, socket.clone(), seen.clone()));
            }
        });
        Self { port, weather }
    }

    /// The pool's database by this way, as a server opens it.
    pub fn pool(&self, pool: &PgPool, max_connections: u32) -> PgPool {
        let options = pool.connect_options();
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(options.get_username())
            .database(options.get_database().unwrap());
        postgres::pool(options, max_connections)
    }

    /// From now on the network does this.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(mut stream: TcpStream, socket: PathBuf, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow_and_update() == Weather::Fine {
        let Ok(mut postgres) = UnixStream::connect(&socket).await else { return };
        // Whatever comes after the weather has changed is not passed on any more.
        tokio::select! {
            biased;
            _changed = weather.changed() => {}
            _over = copy_bidirectional(&mut stream, &mut postgres) => return,
        }
        if *weather.borrow_and_update() == Weather::Dead {
            // PostgreSQL doesn't learn of it either.
            std::future::pending::<()>().await;
            drop(postgres);
        }
    } else if *weather.borrow() == Weather::Dead {
        std::future::pending::<()>().await;
    }
}
