//! A database of its own for each test, on a PostgreSQL that runs as long as the test binary.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign::postgres::managed::{Managed, Options};
use countersign::postgres::{self, PgPool};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Migrated once; every test's database is a copy.
const TEMPLATE: &str = "template_countersign";

/// A fresh, migrated database.
pub async fn database() -> PgPool {
    postgres::pool(&database_url().await, 8).unwrap()
}

/// The URL of a fresh, migrated database.
pub async fn database_url() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
    connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    connection.close().await.unwrap();
    server.url(&name)
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
    let data_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-postgres", env!("CARGO_CRATE_NAME")));
    let options = Options { data_dir, durable: false, max_connections: 400 };
    let server = Managed::start(options).await.unwrap();
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let old: Vec<String> = sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname ~ '^(test|template)_'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    for name in old {
        connection.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    }
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).await.unwrap();
    connection.close().await.unwrap();
    let pool = postgres::pool(&server.url(TEMPLATE), 1).unwrap();
    postgres::migrate(&pool).await.unwrap();
    pool.close().await;
    server
}
