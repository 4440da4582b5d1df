//! A PostgreSQL of the test's own: a primary, and a standby that streams from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::disk::Disk;
use super::process::{Account, Running, leashed, logging, run};

/// What the servers' database is called.
pub const DATABASE: &str = "countersign";

/// What the standby calls itself.
const STANDBY: &str = "standby";

/// How long a start may take, after a crash too.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// One PostgreSQL, which listens on a Unix socket only.
pub struct Postgres {
    place: Place,
    data: PathBuf,
    port: u16,
    disk: Option<Disk>,
    process: Option<Running>,
}

/// Where clusters of one scene are, and how they are entered.
#[derive(Clone)]
struct Place {
    scene: PathBuf,
    programs: PathBuf,
    account: Account,
    password: String,
}

impl Postgres {
    /// A primary in a scene that its account can pass through, with the database and roles of `docs/operations.md`.
    pub async fn primary(scene: &Path, password: &str) -> Self {
        let mut postgres = Self::cluster(scene, password);
        postgres.start().await;
        postgres.make_database().await;
        postgres
    }

    /// The same on a small disk. `None`: this process may not mount one.
    pub async fn on_small_disk(scene: &Path, password: &str, size: u32) -> Option<Self> {
        let mut postgres = Self::cluster(scene, password);
        let at = scene.join("disk");
        fs::create_dir(&at).unwrap();
        let disk = Disk::mount(&at, size, &postgres.place.account)?;
        let mut copy = Command::new("nsenter");
        copy.args(&disk.entrance()[1..]).arg("cp").arg("-a").arg(&postgres.data).arg(&at);
        run(copy);
        postgres.data = at.join("primary");
        postgres.disk = Some(disk);
        postgres.start().await;
        postgres.make_database().await;
        Some(postgres)
    }

    fn cluster(scene: &Path, password: &str) -> Self {
        let account = Account::of_postgres();
        let place = Place { scene: scene.to_owned(), programs: programs(), account, password: password.to_owned() };
        fs::create_dir(place.sockets()).unwrap();
        place.account.own(&place.sockets());
        let data = place.directory("primary");
        let password_file = scene.join("password");
        fs::write(&password_file, password).unwrap();
        let mut initdb = leashed(place.programs.join("initdb"), &place.account, "KILL");
        initdb.arg("-D").arg(&data).arg(format!("--pwfile={}", password_file.display()));
        // Small segments, so that a full disk is felt soon.
        initdb.args(["-U", "postgres", "-A", "password", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]);
        run(initdb);
        Self { place, data, port: 5432, disk: None, process: None }
    }

    /// A standby of this primary that streams through a slot. From now on nothing is committed here before it is there too.
    pub async fn standby(&self) -> Self {
        let place = self.place.clone();
        let data = place.directory(STANDBY);
        let from = format!(
            "host={} port={} user=postgres password={} application_name={STANDBY}",
            place.sockets().display(),
            self.port,
            place.password
        );
        let mut copy = leashed(place.programs.join("pg_basebackup"), &place.account, "KILL");
        copy.arg("-d").arg(from).arg("-D").arg(&data).args(["-R", "-X", "stream", "-C", "-S", STANDBY]);
        copy.args(["--checkpoint=fast", "--no-sync"]);
        run(copy);
        let mut standby = Self { place, data, port: self.port + 1, disk: None, process: None };
        standby.start().await;
        self.tell(&format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")).await;
        self.tell("SELECT pg_reload_conf()").await;
        let deadline = Instant::now() + STARTS_WITHIN;
        while self.number("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await == 0 {
            assert!(Instant::now() < deadline, "the standby doesn't stream");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        standby
    }

    /// Starts it and waits until it answers. What a crash left is recovered, or is still ending.
    pub async fn start(&mut self) {
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            if self.process.as_mut().is_none_or(Running::has_ended) {
                self.process = Some(Running::start(self.command(), Signal::QUIT));
            }
            if self.connect("postgres").await.is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL doesn't start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn command(&self) -> Command {
        let postgres = self.place.programs.join("postgres");
        let mut command = match &self.disk {
            None => leashed(postgres, &self.place.account, "QUIT"),
            Some(disk) => {
                let [nsenter, arguments @ ..] = disk.entrance();
                let mut command = leashed(nsenter, &Account::Own, "QUIT");
                command.args(arguments).arg("setpriv").args(self.place.account.flags());
                command.args(["--pdeathsig", "QUIT"]).arg(postgres);
                command
            }
        };
        // Processes are killed here, machines are not: what the kernel has is safe without fsync.
        command.arg("-D").arg(&self.data).args(["-c", "fsync=off", "-c", "listen_addresses=", "-c"]);
        command.arg(format!("unix_socket_directories={}", self.place.sockets().display()));
        command.args(["-c", &format!("port={}", self.port), "-c", "max_connections=100"]);
        logging(&mut command, &self.place.scene.join("postgres.log"));
        command
    }

    /// Stops it: `INT` is a fast shutdown, `QUIT` an immediate one, `KILL` no shutdown at all.
    pub fn stop(&mut self, signal: Signal) {
        let mut process = self.process.take().unwrap();
        process.signal(signal);
        process.wait(STARTS_WITHIN);
    }

    /// Suspends what receives on a standby, until it is to go on: what is sent to it meanwhile waits in the kernel.
    pub async fn hold_back(&self) -> Pid {
        let receiver = self.number("SELECT pid::bigint FROM pg_stat_wal_receiver").await;
        let receiver = Pid::from_raw(i32::try_from(receiver).unwrap()).unwrap();
        kill_process(receiver, Signal::STOP).unwrap();
        receiver
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) {
        self.tell("SELECT pg_promote(true, 20)").await;
    }

    /// The disk, if it has a small one.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.place.sockets().join(format!(".s.PGSQL.{}", self.port))
    }

    /// Where its socket is, and its port.
    pub fn address(&self) -> (PathBuf, u16) {
        (self.place.sockets(), self.port)
    }

    /// As whom it runs.
    pub fn account(&self) -> &Account {
        &self.place.account
    }

    /// What it and the others of its scene logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.scene.join("postgres.log")).unwrap_or_default()
    }

    /// A connection of a superuser, not through the proxy.
    pub async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new().socket(self.place.sockets()).port(self.port).username("postgres");
        PgConnection::connect_with(&options.password(&self.place.password).database(database)).await
    }

    /// Runs a statement as a superuser.
    pub async fn tell(&self, statement: &str) {
        let mut connection = self.connect("postgres").await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }

    /// The number that a query of the servers' database gives.
    pub async fn number(&self, query: &str) -> i64 {
        let mut connection = self.connect(DATABASE).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
    }

    /// Writes to its log, and nowhere else, until it can't.
    pub async fn exhaust_log(&self) {
        let Ok(mut connection) = self.connect("postgres").await else { return };
        let message = "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))";
        while connection.execute(message).await.is_ok() {}
    }

    async fn make_database(&self) {
        let password = &self.place.password;
        for role in [DATABASE, "countersign_server"] {
            self.tell(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'")).await;
        }
        self.tell(&format!("CREATE DATABASE {DATABASE} OWNER {DATABASE}")).await;
        self.tell(&format!("REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")).await;
        self.tell(&format!("GRANT CONNECT ON DATABASE {DATABASE} TO countersign_server")).await;
        let mut connection = self.connect(DATABASE).await.unwrap();
        let owned = format!("ALTER SCHEMA public OWNER TO {DATABASE}; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        sqlx::raw_sql(AssertSqlSafe(owned)).execute(&mut connection).await.unwrap();
    }
}

impl Place {
    fn sockets(&self) -> PathBuf {
        self.scene.join("run")
    }

    /// A new directory that belongs to PostgreSQL.
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.scene.join(name);
        fs::create_dir(&directory).unwrap();
        self.account.own(&directory);
        fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        directory
    }
}

/// PostgreSQL's programs: the newest version of Debian's, or whatever is in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    if let Some(newest) = versions.filter(|path| path.join("bin/postgres").exists()).max_by_key(number) {
        return newest.join("bin");
    }
    let said = Command::new("pg_config").arg("--bindir").output().expect("PostgreSQL's programs are missing");
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}
