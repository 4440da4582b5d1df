//! A database of its own for each test, on a PostgreSQL that runs as long as the test binary.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign::postgres::managed::{Managed, Options};
use countersign::postgres::{self, PgPool, roles};
use rustix::process::{Pid, test_kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Data directories are named after this and their process.
const PREFIX: &str = concat!(env!("CARGO_CRATE_NAME"), "-postgres-");

/// Migrated once; every test's database is a copy.
const TEMPLATE: &str = "template_countersign";

/// The role that serves requests, as in production: not the one that owns the tables.
const SERVER_ROLE: &str = "countersign_server";

/// A fresh, migrated database, as the server's role sees it.
pub async fn database() -> PgPool {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
    connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    connection.close().await.unwrap();
    postgres::pool(as_server(&server.url(&name)), 8)
}

fn as_server(url: &str) -> PgConnectOptions {
    postgres::options(url).unwrap().username(SERVER_ROLE)
}

/// The PostgreSQL of this test binary. Its guardian stops it when the process ends, however it ends.
fn server() -> &'static Managed {
    static SERVER: OnceLock<Managed> = OnceLock::new();
    SERVER.get_or_init(|| {
        // On a thread whose runtime outlives every test's.
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                ready.send(start().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        started.recv().unwrap()
    })
}

async fn start() -> Managed {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::thread::spawn(|| clear_away(parent));
    let data_dir = parent.join(format!("{PREFIX}{}", std::process::id()));
    let server = Managed::start(Options { data_dir, durable: false, max_connections: 400 }).await.unwrap();
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).await.unwrap();
    connection.close().await.unwrap();
    let url = server.url(TEMPLATE);
    roles::prepare(&postgres::options(&url).unwrap(), &as_server(&url)).await.unwrap();
    server
}

/// Removes what earlier runs left, beside the tests: some disks take longer for it than the tests for themselves.
fn clear_away(parent: &Path) {
    for directory in std::fs::read_dir(parent).unwrap().filter_map(|entry| Some(entry.ok()?.path())) {
        let name = directory.file_name().and_then(|name| name.to_str());
        let pid = name.and_then(|name| Pid::from_raw(name.strip_prefix(PREFIX)?.parse().ok()?));
        if pid.is_some_and(|pid| test_kill_process(pid).is_err()) && !directory.join("postgres/postmaster.pid").exists()
        {
            // What is still in use, or another run removes too, is somebody else's turn.
            let elsewhere = std::fs::read_to_string(directory.join("postgres-location"));
            let elsewhere = elsewhere.map(|path| std::fs::remove_dir_all(path.trim()));
            let _left_for_the_next_run = (elsewhere, std::fs::remove_dir_all(&directory));
        }
    }
}
