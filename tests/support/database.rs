//! A database of its own for each test.

use countersign::postgres::{self, PgPool};
use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

/// A fresh, migrated database on the server of `TEST_DATABASE_URL`, whose user may create databases.
pub async fn database() -> PgPool {
    let server = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL names a server for tests");
    let bytes = countersign::secrets::Random::system().bytes::<16>();
    let name = format!("test_{}", Uuid::from_bytes(bytes).simple());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    let pool = postgres::pool(url.as_str(), 5).unwrap();
    postgres::migrate(&pool).await.unwrap();
    pool
}
