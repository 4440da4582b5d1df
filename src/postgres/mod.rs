//! PostgreSQL: the pool, whether it answers, the embedded migrations, and what an error says.

pub mod availability;
pub mod managed;
pub mod notifications;
pub mod roles;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _};
pub use sqlx::{PgConnection, PgPool};
use tokio::time::timeout;

pub use availability::{Availability, Away};

/// The migrations of `migrations/`, compiled in.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long a request waits for a connection. Short, because a poll answers `authorization_pending` rather than wait.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection may have been idle to be given out unasked: under load none has to be asked.
const FRESH: Duration = Duration::from_secs(1);

/// How long an idle connection may take to say that it is there, before another is made.
const GREETING: Duration = Duration::from_secs(1);

/// How long a connection that comes back may take to finish what was begun on it, before it is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// A server that is lost in the middle of a transaction holds its locks until PostgreSQL notices, which TCP alone lets take
/// hours. Said on each connection rather than when it is made: a pooler between may refuse such parameters. One that lends
/// connections for a transaction keeps it on whichever it lent for this, and others never hear it: there the pooler has to say
/// it to each (`connect_query`, docs/operations.md). Short, because whoever needs what is locked waits for it; what computes for
/// longer within a transaction says so ([`compute`]).
const SESSION: &str = "SET idle_in_transaction_session_timeout = '5s'";

/// For [`compute`].
const COMPUTING: &str = "SET LOCAL idle_in_transaction_session_timeout = '5min'";

/// For [`computed`]: as in [`SESSION`].
const COMPUTED: &str = "SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// Has PostgreSQL end a query whose connection was closed, which it else notices at the query's end: one that waits for a lock
/// would keep a connection of PostgreSQL's few. Not every system that PostgreSQL runs on can tell.
const ATTENTIVE: &str = "SET client_connection_check_interval = '2s'";

/// How to connect to the database that `url` names.
pub fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    // PgBouncer refuses a connection that asks for digits, and PostgreSQL's default is exact since version 12.
    Ok(PgConnectOptions::from_str(url)?.application_name("countersign").extra_float_digits(None::<i8>))
}

/// The way to the database past a pooler. `Debug` says nothing of it, since it holds a password.
#[derive(Clone)]
pub struct Direct(pub PgConnectOptions);

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct(…)")
    }
}

/// Opens a pool. Connections are made when they are needed: a database that is away doesn't keep the server from starting.
#[must_use]
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for >= FRESH {
                    answers(conn, GREETING).await?;
                }
                Ok(true)
            })
        })
        .after_release(|conn, _| Box::pin(async move { answers(conn, FAREWELL).await.map(|()| true) }))
        .after_connect(|conn, _| Box::pin(prepare(conn)))
        .connect_lazy_with(options)
}

async fn prepare(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute(SESSION).await?;
    match conn.execute(ATTENTIVE).await {
        Err(error) if error.as_database_error().is_none() => Err(error),
        _either => Ok(()),
    }
}

/// Lets this transaction do nothing for minutes: its server computes, and the machine may be busy.
pub async fn compute(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute(COMPUTING).await.map(drop)
}

/// Ends what [`compute`] began.
pub async fn computed(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute(COMPUTED).await.map(drop)
}

/// Whether a connection is alive. sqlx asks without a limit, and a network that swallows what it is given is silent for a quarter
/// of an hour.
async fn answers(conn: &mut PgConnection, within: Duration) -> Result<(), sqlx::Error> {
    let answered = timeout(within, conn.ping()).await;
    answered.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Brings the schema up to date. Many processes may start at once: sqlx holds an advisory lock meanwhile, which is the
/// session's: a pooler that lends connections for a transaction would keep it for ever. Where there is nothing to do, a role that
/// may not do it is enough.
pub async fn migrate(pool: &PgPool, direct: Option<&Direct>) -> Result<(), MigrateError> {
    let mut conn = pool.acquire().await?;
    if is_up_to_date(&mut conn).await? {
        return Ok(());
    }
    let Some(Direct(past_the_pooler)) = direct else { return migrate_with(&mut conn).await };
    drop(conn);
    let connecting = timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(past_the_pooler));
    let mut conn = connecting.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    migrate_with(&mut conn).await?;
    Ok(conn.close().await?)
}

async fn migrate_with(conn: &mut PgConnection) -> Result<(), MigrateError> {
    MIGRATOR.run(conn).await
}

/// How the schema of a database stands to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// No migration was made.
    Empty,
    /// So many of this program's are missing.
    Behind(usize),
    /// As this program has it.
    UpToDate,
    /// Made by a newer program: the first migration that isn't known here.
    Newer(i64),
    /// This migration is another one than here, or was begun and not finished.
    Changed(i64),
}

/// Looks how far the schema is, and changes nothing.
pub async fn schema(conn: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *conn).await?;
    if !there {
        return Ok(Schema::Empty);
    }
    let made: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
            .fetch_all(conn)
            .await?;
    let known = |version: i64| MIGRATOR.iter().find(|migration| migration.version == version);
    let changed = made.iter().find(|(version, checksum, success)| {
        known(*version).is_some_and(|known| !success || *known.checksum != *checksum.as_slice())
    });
    if let Some((version, ..)) = changed {
        return Ok(Schema::Changed(*version));
    }
    let missing =
        MIGRATOR.iter().filter(|migration| made.iter().all(|(version, ..)| *version != migration.version)).count();
    if missing > 0 {
        return Ok(Schema::Behind(missing));
    }
    let newer = made.iter().find(|(version, ..)| known(*version).is_none());
    Ok(newer.map_or(Schema::UpToDate, |(version, ..)| Schema::Newer(*version)))
}

/// Whether every migration was made, as it is here. One that is not known here is an error: a newer program made it.
async fn is_up_to_date(conn: &mut PgConnection) -> Result<bool, MigrateError> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *conn).await?;
    if !there {
        return Ok(false);
    }
    let made: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations").fetch_all(conn).await?;
    let known: HashMap<i64, &[u8]> =
        MIGRATOR.iter().map(|migration| (migration.version, &*migration.checksum)).collect();
    if let Some((version, ..)) = made.iter().find(|(version, ..)| !known.contains_key(version)) {
        return Err(MigrateError::VersionMissing(*version));
    }
    let right = |(version, checksum, success): &(i64, Vec<u8>, bool)| {
        *success && known.get(version).is_some_and(|known| *known == checksum.as_slice())
    };
    Ok(made.len() == known.len() && made.iter().all(right))
}

/// Whether every migration of this program has been applied; a newer one may have applied more. Asked by a connection of
/// its own: a pool that is busy says nothing of the database.
pub async fn has_every_migration(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
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

/// Whether the database refused what a row holds (PostgreSQL's error classes 22 and 23). Without that row, a statement that
/// writes several would have succeeded.
#[must_use]
pub fn is_of_a_row(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// Whether a row was found that this program can't read. Without it, the others could have been.
#[must_use]
pub fn is_of_an_unreadable_row(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
}

/// A row that the schema's constraints don't allow: another program wrote it, or the schema is newer than this one.
#[must_use]
pub fn impossible_row(table: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a row of {table} is in no state that this program knows").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_computed_has_as_long_as_everybody() {
        assert_eq!(COMPUTED, SESSION.replacen("SET", "SET LOCAL", 1));
    }
}
