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
    /// The server's role may put things where the owner's statements look for names, and the owner can't end that.
    #[error(
        "the server's role {role} may create functions and tables in the schema {schema}, which the owner of the database \
         would run: as a superuser, ALTER SCHEMA \"{schema}\" OWNER TO \"{owner}\"; \
         REVOKE CREATE ON SCHEMA \"{schema}\" FROM PUBLIC, \"{role}\"; (and it must not be a superuser, nor a member of \
         the owner's role)"
    )]
    Open {
        /// Which.
        role: String,
        /// Who owns the database.
        owner: String,
        /// Where.
        schema: String,
    },
    /// It did put something there, while it could.
    #[error(
        "{thing} in the schema {schema} belongs to the server's role {role}, and the owner of the database would use it: \
         DROP it, or as a superuser give it to \"{owner}\""
    )]
    Planted {
        /// Which.
        role: String,
        /// Who owns the database.
        owner: String,
        /// Where.
        schema: String,
        /// What.
        thing: String,
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
///
/// The owner's statements must mean what is written here, whatever the server's role did before. So until it is known that this
/// role can put nothing into the schema, names are looked for in `pg_catalog` only, and afterwards in this one schema only.
pub async fn prepare(owner: &PgConnectOptions, server: &PgConnectOptions) -> Result<(), RolesError> {
    let role = server.get_username();
    if role == owner.get_username() {
        return Err(RolesError::Same(role.to_owned()));
    }
    let mut conn = connect(owner).await.map_err(RolesError::Connect)?;
    let schema = of_names_alone(&mut conn).await.map_err(RolesError::Connect)?;
    make_role(&mut conn, role).await.map_err(|error| RolesError::NoRole { role: role.to_owned(), error })?;
    let refused = |error| RolesError::Grant { role: role.to_owned(), error };
    close_schema(&mut conn, role, &schema).await.map_err(refused)?;
    check_schema(&mut conn, owner.get_username(), role, &schema).await?;
    look_in(&mut conn, &schema).await.map_err(refused)?;
    migrate_with(&mut conn).await?;
    grant(&mut conn, role, &schema).await.map_err(refused)?;
    conn.close().await.map_err(RolesError::Connect)
}

/// As the owner, who looks for names in its own schema only. The database is [prepared](prepare): nobody else puts anything there.
pub async fn connect_to_prepared(owner: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut conn = connect(owner).await?;
    let schema = of_names_alone(&mut conn).await?;
    look_in(&mut conn, &schema).await?;
    Ok(conn)
}

async fn connect(owner: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connecting = tokio::time::timeout(CONNECT_WITHIN, owner.connect());
    connecting.await.map_err(|_| sqlx::Error::PoolTimedOut)?
}

/// In which schema the tables are or will be. From here on no name is looked for in it.
async fn of_names_alone(conn: &mut PgConnection) -> Result<String, sqlx::Error> {
    let schema: Option<String> = sqlx::query_scalar("SELECT pg_catalog.current_schema()").fetch_one(&mut *conn).await?;
    sqlx::query("SET search_path = pg_catalog, pg_temp").execute(conn).await?;
    schema.ok_or_else(|| sqlx::Error::Configuration("there is no schema in the owner's search_path".into()))
}

/// Looks for names in this schema too.
async fn look_in(conn: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let set = "SELECT set_config('search_path', format('%I', $1::text), false)";
    sqlx::query(set).bind(schema).execute(conn).await?;
    Ok(())
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

/// Before PostgreSQL 15 everybody may make things in `public`. Whoever owns it can end that.
async fn close_schema(conn: &mut PgConnection, role: &str, schema: &str) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin().await?;
    take_turn(&mut tx).await?;
    let sql = sqlx::query_scalar!(
        r#"SELECT format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I; GRANT CREATE ON SCHEMA %I TO %I',
                         nspname, $1::text, nspname, current_user) AS "sql!"
           FROM pg_namespace WHERE nspname = $2::text
             AND has_schema_privilege($1::text, oid, 'CREATE') AND pg_has_role(current_user, nspowner, 'USAGE')"#,
        role,
        schema,
    );
    if let Some(sql) = sql.fetch_optional(&mut *tx).await? {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Whether the server's role can put nothing into the schema, and has put nothing there.
async fn check_schema(conn: &mut PgConnection, owner: &str, role: &str, schema: &str) -> Result<(), RolesError> {
    let refused = |error| RolesError::Grant { role: role.to_owned(), error };
    let (role, owner, schema) = (role.to_owned(), owner.to_owned(), schema.to_owned());
    let open = sqlx::query_scalar!(
        r#"SELECT has_schema_privilege($1::text, oid, 'CREATE') AS "open!" FROM pg_namespace WHERE nspname = $2::text"#,
        role,
        schema,
    );
    if open.fetch_one(&mut *conn).await.map_err(refused)? {
        return Err(RolesError::Open { role, owner, schema });
    }
    let planted = sqlx::query_scalar!(
        r#"SELECT thing.what || ' ' || thing.name AS "thing!"
           FROM (SELECT 'the function' AS what, proname AS name, pronamespace AS place, proowner AS owner FROM pg_proc
                 UNION ALL SELECT 'the operator', oprname, oprnamespace, oprowner FROM pg_operator
                 UNION ALL SELECT 'the type', typname, typnamespace, typowner FROM pg_type WHERE typrelid = 0 AND typelem = 0
                 UNION ALL SELECT 'the table', relname, relnamespace, relowner FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
                ) thing
           JOIN pg_namespace n ON n.oid = thing.place
           WHERE n.nspname = $2::text AND pg_has_role($1::text, thing.owner, 'MEMBER')
           ORDER BY 1 LIMIT 1"#,
        role,
        schema,
    );
    match planted.fetch_optional(conn).await.map_err(refused)? {
        Some(thing) => Err(RolesError::Planted { role, owner, schema, thing }),
        None => Ok(()),
    }
}

async fn grant(conn: &mut PgConnection, role: &str, schema: &str) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin().await?;
    sqlx::query("SET LOCAL search_path = pg_catalog, pg_temp").execute(&mut *tx).await?;
    take_turn(&mut tx).await?;
    let named = "SELECT set_config('countersign.server_role', $1, true), set_config('countersign.schema', $2, true)";
    sqlx::query(named).bind(role).bind(schema).execute(&mut *tx).await?;
    sqlx::raw_sql(include_str!("roles.sql")).execute(&mut *tx).await?;
    tx.commit().await
}

async fn take_turn(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('countersign roles'))").execute(conn).await?;
    Ok(())
}

/// Whether the role of these connections could change what the audit says, or how long.
pub async fn may_rewrite_audit(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT bool_or(pg_has_role(c.relowner, 'MEMBER') OR has_table_privilege(c.oid, 'UPDATE')
                          OR has_table_privilege(c.oid, 'DELETE') OR has_table_privilege(c.oid, 'TRUNCATE')
                          OR has_table_privilege(c.oid, 'TRIGGER')
                          -- What the owner's statements mean, and so the owner, is decided by whoever can put things there.
                          OR has_schema_privilege(n.oid, 'CREATE') OR pg_has_role(n.nspowner, 'MEMBER')
                          OR pg_has_role(d.datdba, 'MEMBER')) AS "may!"
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_database d ON d.datname = current_database()
           WHERE c.oid IN ('audit_event'::regclass, 'audit_link'::regclass, 'audit_retention'::regclass)"#
    )
    .fetch_one(pool)
    .await
}
