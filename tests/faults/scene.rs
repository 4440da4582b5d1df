//! Everything that a test needs: PostgreSQL, the proxy before it, and servers.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::crew::{ACCOUNTS, Crew, DEVICES};
use super::ledger::Ledger;
use super::node::{Node, PROGRAM};
use super::pgbouncer::PgBouncer;
use super::ports::free_port;
use super::postgres::{DATABASE, Postgres};
use super::process::{Account, leashed, run};
use super::proxy::Proxy;
use super::wire::Wire;

/// Tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// Scenes are named after this and their process.
const PREFIX: &str = "countersign-faults-";

/// Who logs in where.
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
refresh = "always"
interval = 1

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.user]]
email = "ada@acme.example"
name = "Ada"
password = { env = "ADA_PASSWORD" }

[[organization.user]]
email = "bob@acme.example"
name = "Bob"
password = { env = "BOB_PASSWORD" }
"#;

/// A scene. What it holds ends in this order.
pub struct Scene {
    pub nodes: Vec<Arc<Node>>,
    /// Between the servers and the proxy, in some scenes.
    pub pooler: Option<PgBouncer>,
    pub proxy: Proxy,
    pub postgres: Postgres,
    pub ledger: Arc<Ledger>,
    /// The public URL of all servers.
    pub origin: String,
    _directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A scene that has its PostgreSQL only.
pub struct Stage {
    postgres: Postgres,
    directory: TempDir,
    password: String,
    turn: MutexGuard<'static, ()>,
}

/// How servers get to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the proxy.
    Straight,
    /// Through PgBouncer, and with `listen_url` past it, through the proxy.
    PooledAndListening,
    /// Through PgBouncer, and nothing says that it is there.
    PooledAndDeaf,
}

/// The settings of a scene's servers.
struct Common {
    origin: String,
    secret: String,
    password: String,
    /// Ports through which PostgreSQL is reached: by requests, …
    requests: u16,
    /// … by the owner, …
    direct: u16,
    /// … and by what listens, if that is said.
    listens: Option<u16>,
}

impl Scene {
    /// So many servers.
    pub async fn of(nodes: usize) -> Self {
        let (turn, directory, password) = Stage::empty().await;
        let postgres = Postgres::primary(directory.path(), &password).await;
        Stage { postgres, directory, password, turn }.with_servers(nodes, Way::Straight).await
    }

    /// So many servers behind one PgBouncer, which has four connections for all of them.
    pub async fn behind_pgbouncer(nodes: usize, way: Way) -> Self {
        let (turn, directory, password) = Stage::empty().await;
        let postgres = Postgres::primary(directory.path(), &password).await;
        Stage { postgres, directory, password, turn }.with_servers(nodes, way).await
    }

    /// So many servers, with a PostgreSQL on a disk of so many MiB. `None`: this process may not mount one.
    pub async fn on_small_disk(nodes: usize, size: u32) -> Option<Self> {
        let (turn, directory, password) = Stage::empty().await;
        let postgres = Postgres::on_small_disk(directory.path(), &password, size).await?;
        Some(Stage { postgres, directory, password, turn }.with_servers(nodes, Way::Straight).await)
    }

    /// Speaks to all servers in turn.
    pub fn wire(&self) -> Wire {
        let host = self.origin.trim_start_matches("http://");
        Wire::new(&self.nodes, host, &self.ledger)
    }

    /// The crew begins.
    pub async fn crew(&self) -> Crew {
        self.crew_of(DEVICES).await
    }

    /// A crew with so many devices.
    pub async fn crew_of(&self, devices: usize) -> Crew {
        Crew::begin(&self.wire(), &self.ledger, &self.origin, devices).await
    }

    /// The end: nothing may have been wrong, as far as people, devices, the database and the servers' logs know.
    pub async fn close(&self, scenario: &str) {
        for node in &self.nodes {
            let log = node.log();
            if let Some(panic) = log.lines().find(|line| line.contains("panicked")) {
                self.ledger.wrong(format!("server {} panicked: {panic}", node.number));
            }
        }
        self.ledger.close(scenario, &self.postgres).await;
    }
}

impl Stage {
    /// Waits for its turn. The directory is one that PostgreSQL's account can pass through.
    async fn empty() -> (MutexGuard<'static, ()>, TempDir, String) {
        let turn = TURN.lock().await;
        clear_away();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        (turn, directory, URL_SAFE_NO_PAD.encode(random()))
    }

    async fn with_servers(self, count: usize, way: Way) -> Scene {
        let Self { postgres, directory, password, turn } = self;
        let proxy = Proxy::before(&postgres.socket()).await;
        let pooler_port = free_port();
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let pooler = match way {
            Way::Straight => None,
            _ => Some(PgBouncer::before(&postgres, directory.path(), pooler_port, &password).await),
        };
        let origin = format!("http://localhost:{}", ports[0]);
        let common = Common {
            origin: origin.clone(),
            secret: STANDARD.encode(random()),
            password,
            requests: if pooler.is_some() { pooler_port } else { proxy.port() },
            direct: proxy.port(),
            listens: (way == Way::PooledAndListening).then(|| proxy.port()),
        };
        let configuration = |port: u16| configuration(&common, port, directory.path());
        apply(directory.path(), &configuration(ports[0]));
        let start = |(number, port): (usize, &u16)| {
            Arc::new(Node::start(number, *port, directory.path(), &configuration(*port)))
        };
        let nodes: Vec<_> = ports.iter().enumerate().map(start).collect();
        for node in &nodes {
            node.ready().await;
        }
        let ledger = Arc::default();
        Scene { nodes, pooler, proxy, postgres, ledger, origin, _directory: directory, _turn: turn }
    }
}

/// The configuration of one server. Nothing limits the crew, which comes from one address.
fn configuration(common: &Common, port: u16, scene: &Path) -> String {
    const SERVER: &str = "countersign_server";
    let Common { origin, secret, password, requests, direct, listens } = common;
    let url = |role: &str, by: u16| format!("postgres://{role}:{password}@127.0.0.1:{by}/{DATABASE}?sslmode=disable");
    let listen_url = listens.map(|by| format!("listen_url = \"{}\"\n", url(SERVER, by))).unwrap_or_default();
    format!(
        "public_url = \"{origin}\"\n\
         listen = \"127.0.0.1:{port}\"\n\
         data_dir = \"{}\"\n\
         secrets = [\"{secret}\"]\n\
         [database]\n\
         url = \"{}\"\n\
         owner_url = \"{}\"\n\
         {listen_url}\
         [limits]\n\
         requests_per_address = 0\n\
         requests_per_client = 0\n\
         live_codes_per_address = 0\n\
         live_codes_per_client = 0\n\
         [phishing]\n\
         people = 0\n",
        scene.join(format!("data-{port}")).display(),
        url(SERVER, *requests),
        url(DATABASE, *direct),
    )
}

/// `countersign apply`, as an administrator does it.
fn apply(scene: &Path, configuration: &str) {
    let (file, directory) = (scene.join("apply.toml"), scene.join("directory.toml"));
    fs::write(&file, configuration).unwrap();
    fs::write(&directory, DIRECTORY).unwrap();
    let mut command = leashed(PROGRAM, &Account::Own, "KILL");
    command.arg("apply").arg("--config").arg(&file).arg(&directory);
    command.env("ADA_PASSWORD", ACCOUNTS[0].1).env("BOB_PASSWORD", ACCOUNTS[1].1);
    run(command);
}

/// Removes what earlier runs left, which were killed.
fn clear_away() {
    for path in fs::read_dir(std::env::temp_dir()).unwrap().filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.split('-').next());
        let process = name.and_then(|process| Pid::from_raw(process.parse().ok()?));
        if process.is_some_and(|process| test_kill_process(process).is_err()) {
            let _somebody_elses = fs::remove_dir_all(path);
        }
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}
