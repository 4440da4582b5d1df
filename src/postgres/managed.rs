//! The managed PostgreSQL: the server that Countersign starts for itself when nobody gives it a database.
//!
//! `countersign dev`, `countersign serve` without a database URL, and the tests stand on it. How it works, in order:
//!
//! 1. **Lock.** A file lock makes the data directory ours alone ([`lock`]). A server waits for its turn.
//! 2. **Account.** PostgreSQL refuses to run as root, so root hands it to an unprivileged account ([`account`]); anyone
//!    else runs it as themselves.
//! 3. **Place.** The cluster lives in `data_dir/postgres`; only where root's data directory is out of that account's
//!    reach (beneath `/root`, say) does it live elsewhere, recorded in `data_dir/postgres-location` ([`place`]).
//! 4. **Cluster.** `initdb` works in a sibling directory that is renamed at the end: there is a whole cluster or
//!    none ([`cluster`]).
//! 5. **Way clear.** A server left over from a killed process is stopped, a stale `postmaster.pid` removed
//!    ([`leftover`]).
//! 6. **Guardian.** A small shell process starts PostgreSQL and stops it when we stop or die, whichever way we
//!    die ([`guardian`]).
//!
//! The server listens on a Unix socket only. The socket's directory has mode 0700 and that is the authentication: who
//! can enter it is the account that owns the data, or root, and `pg_hba.conf` trusts them.
//!
//! Files are touched with blocking calls: all this happens before anything is served, and each call is short.

mod account;
mod cluster;
mod error;
mod guardian;
mod leftover;
mod lock;
mod place;
mod programs;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

pub use self::error::ManagedError;
use self::{account::Account, guardian::Guardian, lock::DataDirLock, place::Place, programs::Programs};

/// The database role that owns everything in a managed cluster.
const ROLE: &str = "countersign";

/// Names the socket file (`.s.PGSQL.5432`); nothing listens on TCP.
const PORT: u16 = 5432;

/// Longest wait for the first accepted connection. Long, because recovery after a crash replays the log first.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Pause between two attempts to connect while the server starts.
const READY_POLL: Duration = Duration::from_millis(25);

/// How often a start is tried while the last server's processes still hold its shared memory.
const START_ATTEMPTS: u32 = 40;

/// Pause between two such starts.
const START_PAUSE: Duration = Duration::from_millis(250);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of this installation; created with mode 0700 when missing. The cluster lives in `postgres` in it.
    pub data_dir: PathBuf,
    /// Whether data must survive a crash of the machine. Tests say no and run several times faster.
    pub durable: bool,
    /// Upper limit of connections to the server, from all pools together.
    pub max_connections: u16,
}

/// A running PostgreSQL that belongs to this process.
///
/// Dropped without [`stop`](Self::stop), or killed with its process, the server still ends by itself within seconds:
/// its guardian sees the pipe close.
#[derive(Debug)]
pub struct Managed {
    guardian: Guardian,
    place: Place,
    // Held for as long as the server runs: released by the kernel when this process ends.
    _lock: DataDirLock,
}

impl Managed {
    /// Starts the server of `options.data_dir`, making its cluster first where there is none, and returns when it
    /// accepts connections.
    ///
    /// # Errors
    ///
    /// [`ManagedError::Missing`] without PostgreSQL 14 or newer, [`ManagedError::InUse`] when another process runs on
    /// this data directory, [`ManagedError::Start`] with the log's last lines when the server ends at once.
    pub async fn start(options: Options) -> Result<Self, ManagedError> {
        let data_dir = place::create_data_dir(&options.data_dir)?;
        let lock = DataDirLock::acquire(&data_dir)?;
        let account = Account::choose(&data_dir).await?;
        let place = Place::choose(&data_dir, &account, options.durable).await?;
        let programs = Programs::find(place.cluster_version()?).await?;

        cluster::create_unless_there(&place, &programs, &account, options.durable).await?;
        leftover::clear(&place.cluster).await?;
        place.prepare_socket_dir(&account)?;

        let command =
            ServerCommand { program: &programs.postgres, place: &place, account: &account, options: &options };
        let guardian = start_until_ready(&command).await?;
        tracing::info!(
            version = programs.major,
            cluster = %place.cluster.display(),
            account = account.name(),
            "PostgreSQL is ready",
        );
        Ok(Self { guardian, place, _lock: lock })
    }

    /// The URL of `database` on this server, for this process, `psql` and other tools of the same account.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.place.url(database)
    }

    /// How sqlx connects to `database` on this server.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.place.connect_options(database)
    }

    /// Where the cluster is: `data_dir/postgres`, or the place recorded in `data_dir/postgres-location`.
    #[must_use]
    pub fn cluster_dir(&self) -> &Path {
        &self.place.cluster
    }

    /// Stops the server (its "fast" shutdown: transactions are rolled back, clients disconnected) and waits for it.
    ///
    /// # Errors
    ///
    /// [`ManagedError::Stop`] when it does not end within a minute, immediate shutdown included.
    pub async fn stop(self) -> Result<(), ManagedError> {
        self.guardian.stop().await?;
        tracing::info!(cluster = %self.place.cluster.display(), "PostgreSQL has stopped");
        Ok(())
    }

    /// Waits until the server ends without having been asked to. Safe to drop and call again.
    ///
    /// # Errors
    ///
    /// [`ManagedError::Io`] when the operating system can't be asked.
    pub async fn ended(&mut self) -> Result<(), ManagedError> {
        self.guardian.ended().await.map(drop)
    }
}

/// Everything one start of the server needs.
struct ServerCommand<'a> {
    program: &'a Path,
    place: &'a Place,
    account: &'a Account,
    options: &'a Options,
}

impl ServerCommand<'_> {
    /// The server's arguments: everything that differs from a fresh `postgresql.conf`.
    fn arguments(&self) -> Vec<String> {
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            format!("unix_socket_directories={}", self.place.socket_dir.display()),
            "unix_socket_permissions=0700".to_owned(),
            format!("max_connections={}", self.options.max_connections),
            "logging_collector=off".to_owned(),
            "log_destination=stderr".to_owned(),
            // Terse leaves DETAIL out of the log, where a violated constraint would quote the row's values.
            "log_error_verbosity=terse".to_owned(),
        ];
        if !self.options.durable {
            let off = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
            settings.extend(off.map(str::to_owned));
        }
        let directory = ["-D".to_owned(), self.place.cluster.display().to_string()];
        let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        directory.into_iter().chain(settings).collect()
    }
}

/// Starts the server, again while what a crashed one left behind is still ending.
async fn start_until_ready(command: &ServerCommand<'_>) -> Result<Guardian, ManagedError> {
    let mut attempt = 1;
    loop {
        match start_once(command).await {
            // Backends of a killed server end by themselves, shortly after it.
            Err(ManagedError::Start { log, .. }) if attempt < START_ATTEMPTS && log.contains("shared memory block") => {
                attempt += 1;
                tokio::time::sleep(START_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Starts the server once and waits until it accepts a connection or has ended.
async fn start_once(command: &ServerCommand<'_>) -> Result<Guardian, ManagedError> {
    let place = command.place;
    let (log, log_start) = place.open_log()?;
    let mut guardian = Guardian::start(command.program, &command.arguments(), place, command.account, log)?;

    let connect = place.connect_options("postgres");
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        tokio::select! {
            ended = guardian.ended() => {
                let status = ended?;
                return Err(ManagedError::Start { status, log: place.log_since(log_start) });
            }
            accepted = accepts(&connect) => if accepted { return Ok(guardian) },
        }
        if Instant::now() > deadline {
            guardian.stop().await?;
            return Err(ManagedError::NotReady { seconds: READY_WITHIN.as_secs(), log: place.log_since(log_start) });
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Whether the server accepts a session: a socket that can be opened is not enough while it recovers.
async fn accepts(connect: &PgConnectOptions) -> bool {
    let session = async {
        let session = connect.connect().await?;
        session.close().await
    };
    matches!(tokio::time::timeout(Duration::from_secs(5), session).await, Ok(Ok(())))
}
