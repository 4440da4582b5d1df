//! A PostgreSQL with the durability it has by itself, and a database for each measurement.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign::postgres::managed::{Managed, Options};
use countersign::postgres::{self, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

/// What is set otherwise than PostgreSQL does by itself. Nothing of it touches durability.
pub const SETTINGS: [&str; 2] = ["shared_buffers = '1GB'", "max_wal_size = '8GB'"];

/// The most connections.
const CONNECTIONS: u16 = 250;

/// Directories are named after this and their process.
const PREFIX: &str = "load-";

/// The PostgreSQL, and the directory for everything.
pub struct Cluster {
    managed: Managed,
    /// Deleted at the end.
    pub directory: PathBuf,
}

impl Cluster {
    /// Makes a new one.
    pub async fn start() -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        clear_away(parent);
        let directory = parent.join(format!("{PREFIX}{}", std::process::id()));
        let options = || Options { data_dir: directory.join("postgres"), durable: true, max_connections: CONNECTIONS };
        fs::create_dir_all(&directory).unwrap();
        let managed = Managed::start(options()).await.unwrap();
        let mut conn = PgConnection::connect(&managed.url("postgres")).await.unwrap();
        for setting in SETTINGS {
            conn.execute(AssertSqlSafe(format!("ALTER SYSTEM SET {setting}"))).await.unwrap();
        }
        conn.close().await.unwrap();
        managed.stop().await.unwrap();
        let managed = Managed::start(options()).await.unwrap();
        Self { managed, directory }
    }

    /// A new database, a copy of `template` if there is one.
    pub async fn create(&self, name: &str, template: Option<&str>) -> Database {
        let mut conn = self.connect("postgres").await;
        conn.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))).await.unwrap();
        let template = template.map(|template| format!(" TEMPLATE \"{template}\"")).unwrap_or_default();
        conn.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\"{template}"))).await.unwrap();
        conn.close().await.unwrap();
        let url = self.managed.url(name);
        let server_url = url.replacen("countersign@", "countersign_server@", 1);
        assert_ne!(url, server_url);
        let pool = postgres::pool(postgres::options(&url).unwrap(), 4);
        Database { url, server_url, pool }
    }

    /// Ends connections to a database and deletes it: the disk is for the next one.
    pub async fn drop(&self, name: &str) {
        let mut conn = self.connect("postgres").await;
        conn.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))).await.unwrap();
        conn.close().await.unwrap();
    }

    async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.managed.url(database)).await.unwrap()
    }

    /// Its version, as it says it, and whether it is durable.
    pub async fn described(&self) -> String {
        let mut conn = self.connect("postgres").await;
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut conn).await.unwrap();
        let mut durable = Vec::new();
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let show = AssertSqlSafe(format!("SHOW {setting}"));
            let value: String = sqlx::query_scalar(show).fetch_one(&mut conn).await.unwrap();
            assert_eq!(value, "on", "{setting}");
            durable.push(format!("`{setting} = {value}`"));
        }
        conn.close().await.unwrap();
        let set = SETTINGS.map(|setting| format!("`{setting}`")).join(", ");
        format!("PostgreSQL {version} with {}; set besides: {set}", durable.join(", "))
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        let file = fs::read_to_string(self.managed.cluster_dir().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// Stops it and deletes everything.
    pub async fn stop(self) {
        let (cluster, directory) = (self.managed.cluster_dir().to_owned(), self.directory.clone());
        self.managed.stop().await.unwrap();
        let _left_for_the_next_run = (fs::remove_dir_all(cluster), fs::remove_dir_all(directory));
    }
}

/// Removes what runs that were killed left.
fn clear_away(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let elsewhere = fs::read_to_string(entry.path().join("postgres/postgres-location"));
            let elsewhere = elsewhere.map(|path| fs::remove_dir_all(path.trim()));
            let _somebody_elses_or_gone = (elsewhere, fs::remove_dir_all(entry.path()));
        }
    }
}

/// One database.
pub struct Database {
    /// As its owner.
    pub url: String,
    /// As the server's role.
    pub server_url: String,
    /// As its owner.
    pub pool: PgPool,
}

/// What there is in the directory.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// Acme.
    pub organization: Uuid,
    /// Its tool.
    pub service: Uuid,
    /// Somebody.
    pub person: Uuid,
}

impl Database {
    /// What the directory made.
    pub async fn ids(&self) -> Ids {
        let found = sqlx::query_as(
            "SELECT o.id, s.id, u.id FROM organization o JOIN service s ON s.organization_id = o.id
             JOIN app_user u ON u.organization_id = o.id WHERE s.client_id = 'acme-cli' LIMIT 1",
        );
        let (organization, service, person) = found.fetch_one(&self.pool).await.unwrap();
        Ids { organization, service, person }
    }

    /// One number.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Statements without an answer.
    pub async fn execute(&self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    /// Puts everything where it will stay, so that the next turn pays for itself only.
    pub async fn rest(&self) {
        self.execute("VACUUM (ANALYZE) device_grant".to_owned()).await;
        self.execute("VACUUM (ANALYZE) session".to_owned()).await;
        self.execute("CHECKPOINT".to_owned()).await;
    }

    /// Waits until the server has linked every event (docs/audit.md): what it does beside its answers is over.
    pub async fn settle(&self) {
        const LEFT: &str = "SELECT (SELECT count(*) FROM audit_event) - (SELECT count(*) FROM audit_link)";
        for _ in 0..1200 {
            if self.count(LEFT).await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server doesn't link its events");
    }
}
