//! Two roles: one owns the tables and brings them up to date, the other serves requests and can't rewrite the audit.
//!
//! PostgreSQL lets an owner do everything with a table, drop its triggers for one. So "append-only" holds against a role that
//! owns nothing: `database.url`'s, when `database.owner_url` names another. The owner makes the server's role if there is none,
//! and after each migration gives it what the program needs (`roles.sql`).

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{PgPool, migrate_with};

/// How long the owner waits for its connection: as long as a request does.
const CONNECT_WITHIN: Duration = super::ACQUIRE_TIMEOUT;

/// Why the roles could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    /// The owner can't connect.
    #[error("the owner of the database can't connect: {0}")]
    Connect(sqlx::Error),
    /// The schema can't be brought up to date.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Both URLs name one role.
    #[error("database.url and database.owner_url name the same role, {0}: the server needs one of its own")]
    Same(String),
    /// The server's role isn't there, and the owner may not make it.
    #[error("there is no role {role}, and the owner may not make it: CREATE ROLE \"{role}\" LOGIN … ({error})")]
    NoRole {
        /// Which.
        role: String,
        /// What PostgreSQL said.
        error: sqlx::Error,
    },
    /// The owner may not give it what it needs.
    #[error("the server's role {role} can't be given what it needs: {error}")]
    Grant {
        /// Which.
        role: String,
        /// What PostgreSQL said.
        error: sqlx::Error,
    },
}

/// As the owner: brings the schema up to date, and makes the server's role ready for it.
pub async fn prepare(owner: &PgConnectOptions, server: &PgConnectOptions) -> Result<(), RolesError> {
    let role = server.get_username();
    if role == owner.get_username() {
        return Err(RolesError::Same(role.to_owned()));
    }
    let connecting = tokio::time::timeout(CONNECT_WITHIN, owner.connect());
    let connected = connecting.await.map_err(|_| RolesError::Connect(sqlx::Error::PoolTimedOut))?;
    let mut conn = connected.map_err(RolesError::Connect)?;
    migrate_with(&mut conn).await?;
    make_role(&mut conn, role).await.map_err(|error| RolesError::NoRole { role: role.to_owned(), error })?;
    grant(&mut conn, role).await.map_err(|error| RolesError::Grant { role: role.to_owned(), error })?;
    conn.close().await.map_err(RolesError::Connect)
}

/// Makes the role if there is none. Without a password: one is set by whoever administers PostgreSQL.
async fn make_role(conn: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    // Of two servers that start at once, the second finds it.
    let mut tx = conn.begin().await?;
    take_turn(&mut tx).await?;
    let sql = sqlx::query_scalar!(
        r#"SELECT format('CREATE ROLE %I LOGIN', $1::text) AS "sql!"
           WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"#,
        role,
    );
    if let Some(sql) = sql.fetch_optional(&mut *tx).await? {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
        tracing::info!(role, "made the server's role");
    }
    tx.commit().await
}

async fn grant(conn: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin().await?;
    take_turn(&mut tx).await?;
    let named = "SELECT set_config('countersign.server_role', $1, true)";
    sqlx::query(named).bind(role).execute(&mut *tx).await?;
    sqlx::raw_sql(include_str!("roles.sql")).execute(&mut *tx).await?;
    tx.commit().await
}

async fn take_turn(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('countersign roles'))").execute(conn).await?;
    Ok(())
}

/// Whether the role of these connections could change what the audit says.
pub async fn may_rewrite_audit(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT bool_or(pg_has_role(c.relowner, 'MEMBER') OR has_table_privilege(c.oid, 'UPDATE')
                          OR has_table_privilege(c.oid, 'DELETE') OR has_table_privilege(c.oid, 'TRUNCATE')
                          OR has_table_privilege(c.oid, 'TRIGGER')) AS "may!"
           FROM pg_class c WHERE c.oid IN ('audit_event'::regclass, 'audit_link'::regclass)"#
    )
    .fetch_one(pool)
    .await
}
