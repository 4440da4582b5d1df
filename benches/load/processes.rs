//! The processes that are measured: the server itself, and the bare one beside which it is seen.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::database::Database;
use super::http::{Connection, request};

/// Everybody's password.
pub const PASSWORD: &str = "the password of everybody here";

/// Connections to the database that the server may open: as many as by default. More of them have polls wait for processes of
/// PostgreSQL, of which two cores run no more at a time.
pub const DATABASE_CONNECTIONS: u32 = 10;

/// What is there to log in to. Nobody has to prove a second factor: what is measured is approvals, not one-time passwords.
const DIRECTORY: &str = r#"
[[organization]]
slug = "acme"
name = "Acme"
mfa = "off"

[[organization.service]]
slug = "cli"
name = "Acme CLI"
client_id = "acme-cli"
device_login = true
scopes = { read = "Read your projects" }
default_scopes = ["read"]
code_lifetime = "1h"
interval = 5
refresh = "always"
verified = true

[[organization.provider]]
slug = "password"
kind = "password"
"#;

/// How many people there are.
pub const PEOPLE: usize = 32;

/// The address of one of them.
pub fn address_of(person: usize) -> String {
    format!("person-{person:02}@acme.example")
}

fn directory() -> String {
    let person = |person| {
        let email = address_of(person);
        format!("\n[[organization.user]]\nemail = \"{email}\"\npassword = {{ env = \"BENCH_PASSWORD\" }}\n")
    };
    std::iter::once(DIRECTORY.to_owned()).chain((0..PEOPLE).map(person)).collect()
}

/// A process that listens, and ends with this one.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start to its first answer.
    pub ready_after: Duration,
}

impl Process {
    /// Starts a program and waits for its first answer.
    async fn start(program: &Path, arguments: &[&str], address: SocketAddr, log: &Path) -> Self {
        let begun = Instant::now();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().append(true).create(true).open(log).unwrap())
            .spawn()
            .unwrap();
        let mut process = Self { child, address, ready_after: Duration::ZERO };
        let hello = request("GET", "/.well-known/oauth-authorization-server", "", "");
        loop {
            if let Ok(mut connection) = Connection::open(address).await
                && connection.ask(&hello).await.is_ok()
            {
                process.ready_after = begun.elapsed();
                return process;
            }
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("{} ended, {status}: {}", program.display(), fs::read_to_string(log).unwrap_or_default());
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{} doesn't answer", program.display());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        let _gone_already = kill_process(pid, Signal::TERM);
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _gone_already = (self.child.kill(), self.child.wait());
    }
}

/// A loopback address where nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// The installation whose servers are started.
pub struct Installation {
    directory: PathBuf,
    secret: String,
}

impl Installation {
    /// With its secret, and its files in this directory.
    pub fn new(directory: &Path, secret: &str) -> Self {
        Self { directory: directory.to_owned(), secret: secret.to_owned() }
    }

    /// Where servers write what they have to say.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn configuration(&self, database: &Database, address: SocketAddr) -> PathBuf {
        let path = self.directory.join(format!("{}.toml", address.port()));
        let text = format!(
            r#"public_url = "http://localhost:{port}"
listen = "{address}"
data_dir = "{directory}/data"
secrets = ["{secret}"]
trusted_proxies = ["127.0.0.0/8"]

[database]
url = "{url}"
owner_url = "{owner_url}"
max_connections = {DATABASE_CONNECTIONS}

[limits]
requests_per_address = 0
requests_per_client = 0
live_codes_per_address = 0
live_codes_per_client = 0

[log]
filter = "warn"
"#,
            port = address.port(),
            directory = self.directory.display(),
            secret = self.secret,
            url = database.server_url,
            owner_url = database.url,
        );
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    /// Brings a database up to date, and makes its directory.
    pub fn apply(&self, database: &Database) {
        let configuration = self.configuration(database, free_address());
        let directory = self.directory.join("acme.toml");
        fs::write(&directory, self::directory()).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["apply", "--config"])
            .args([&configuration, &directory])
            .env("BENCH_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// A server on this database.
    pub async fn serve(&self, database: &Database) -> Process {
        let address = free_address();
        let configuration = self.configuration(database, address);
        let arguments = ["serve", "--config", configuration.to_str().unwrap()];
        let program = Path::new(env!("CARGO_BIN_EXE_countersign"));
        Process::start(program, &arguments, address, &self.log()).await
    }

    /// The bare server.
    pub async fn bare(&self) -> Process {
        let address = free_address();
        let program = std::env::current_exe().unwrap();
        Process::start(&program, &[super::bare::ARGUMENT, &address.to_string()], address, &self.log()).await
    }
}
