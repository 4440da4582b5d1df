//! PostgreSQL: the pool, the embedded migrations, and what an error says.

pub mod managed;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
pub use sqlx::{PgConnection, PgPool};

/// The migrations of `migrations/`, compiled in.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long a request waits for a connection. Short, because a poll answers `authorization_pending` rather than wait.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens a pool on `url`. Connections are made when they are needed: a database that is away doesn't keep the server
/// from starting.
pub fn pool(url: &str, max_connections: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("countersign");
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options))
}

/// Brings the schema up to date. Many processes may start at once: sqlx holds an advisory lock meanwhile.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATOR.run(pool).await
}

/// Whether every migration of this program has been applied; a newer one may have applied more. Asked by a connection of
/// its own: a pool that is busy says nothing of the database.
pub async fn is_up_to_date(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut conn = PgConnection::connect_with(options).await?;
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(&mut conn).await?;
    conn.close().await?;
    Ok(MIGRATOR.iter().all(|migration| applied.contains(&migration.version)))
}

/// Whether the database said that the named constraint was violated.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().and_then(|error| error.constraint()) == Some(constraint)
}

/// A row that the schema's constraints don't allow: another program wrote it, or the schema is newer than this one.
#[must_use]
pub fn impossible_row(table: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a row of {table} is in no state that this program knows").into())
}
