//! PgBouncer, which lends its connections to PostgreSQL for a transaction: configured as `docs/operations.md` says, but for where
//! things are and for how few connections it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use super::postgres::Postgres;
use super::process::{Account, Running, leashed, logging};

/// How long a start may take.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// How many connections to PostgreSQL all servers share.
pub const CONNECTIONS: usize = 4;

/// The first version that keeps prepared statements for whoever it lends a connection to.
const OLDEST: [u32; 2] = [1, 21];

/// A PgBouncer.
pub struct PgBouncer {
    program: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
    account: Account,
    port: u16,
    process: Option<Running>,
}

impl PgBouncer {
    /// Before this PostgreSQL, at this port of loopback.
    pub async fn before(postgres: &Postgres, scene: &Path, port: u16, password: &str) -> Self {
        let users = scene.join("userlist.txt");
        fs::write(&users, format!("\"countersign_server\" \"{password}\"\n")).unwrap();
        let configuration = scene.join("pgbouncer.ini");
        fs::write(&configuration, as_documented(postgres, port, &users)).unwrap();
        // Where PostgreSQL's account gets to as well.
        let program = scene.join("pgbouncer");
        fs::copy(installed(), &program).unwrap();
        let (log, account) = (scene.join("pgbouncer.log"), postgres.account().clone());
        let mut pgbouncer = Self { program, configuration, log, account, port, process: None };
        pgbouncer.start().await;
        pgbouncer
    }

    async fn start(&mut self) {
        let mut command = leashed(&self.program, &self.account, "KILL");
        command.arg(&self.configuration);
        logging(&mut command, &self.log);
        self.process = Some(Running::start(command, Signal::QUIT));
        let deadline = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let over = self.process.as_mut().is_none_or(Running::has_ended);
            assert!(!over && Instant::now() < deadline, "PgBouncer doesn't start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it at once, with whatever is under way, and starts it again after a while.
    pub async fn restart(&mut self, away: Duration) {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::QUIT);
        process.wait(STARTS_WITHIN);
        tokio::time::sleep(away).await;
        self.start().await;
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The configuration of `docs/operations.md`, at home in this scene.
fn as_documented(postgres: &Postgres, port: u16, users: &Path) -> String {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, rest) = manual.split_once("[databases]").unwrap();
    let (settings, _) = rest.split_once("```").unwrap();
    let documented = format!("[databases]{settings}");
    let (sockets, database_port) = postgres.address();
    let of_the_scene = [
        ("host=db.acme.example port=5432", format!("host={} port={database_port}", sockets.display())),
        ("listen_addr = 10.0.0.7", "listen_addr = 127.0.0.1\nunix_socket_dir =".to_owned()),
        ("listen_port = 6432", format!("listen_port = {port}")),
        // Unoptimized, a server takes a tenth of a second or more for SCRAM, and all make their connections anew at once.
        ("auth_type = scram-sha-256", "auth_type = plain".to_owned()),
        ("/etc/pgbouncer/userlist.txt", users.display().to_string()),
        ("default_pool_size = 20", format!("default_pool_size = {CONNECTIONS}")),
        ("server_tls_sslmode = verify-full", "server_tls_sslmode = disable".to_owned()),
    ];
    of_the_scene.iter().fold(documented, |text, (documented, here)| {
        assert!(text.contains(documented), "docs/operations.md says nothing of {documented}");
        text.replace(documented, here)
    })
}

/// The one that `scripts/install --tests` has seen to: of the system, or built beside the tests.
fn installed() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_countersign")).ancestors().nth(2).unwrap().join("tools/pgbouncer");
    let places = [built, "/usr/sbin/pgbouncer".into(), "/usr/bin/pgbouncer".into(), "/usr/local/bin/pgbouncer".into()];
    let found = places.into_iter().find(|path| version_of(path).is_some_and(|version| version >= OLDEST));
    found.expect("PgBouncer 1.21 or newer is missing: scripts/install --tests")
}

fn version_of(program: &Path) -> Option<[u32; 2]> {
    let said = Command::new(program).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut numbers = said.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}
