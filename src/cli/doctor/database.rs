//! The database, and what stands in it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::installation::Installation;
use crate::postgres::{self, Schema, roles};

use super::super::opening;
use super::clock::compare;
use super::finding::{Finding, Verdict};
use super::{keys, neighbours};

/// How long a connection may take, and a question.
const PATIENCE: Duration = Duration::from_secs(8);

/// PostgreSQL's number of the oldest version that will do: 14.
const OLDEST: i32 = 140_000;

const DATABASE: &str = "database";
const VERSION: &str = "database version";
const MIGRATIONS: &str = "database migrations";
const ROLE: &str = "database role";
const DURABILITY: &str = "database durability";
const CLOCK: &str = "database clock";
const OF_THE_DATABASE: [&str; 5] = [VERSION, CLOCK, DURABILITY, MIGRATIONS, ROLE];
const SECRET: &str = "installation secret";

/// Looks at it.
pub(super) async fn look(config: &Config, clock: &Clock) -> Vec<Finding> {
    let (secrets, found) = match opening::secrets_there(config) {
        Ok(secrets) if secrets.is_empty() => {
            let mend = "start countersign serve once, which makes one, or give secrets; for a database that is in use, the one it was made with";
            (None, Verdict::failure("there is none yet", mend))
        }
        Ok(secrets) => {
            let says = if config.secrets.is_empty() {
                "it is in the data directory".to_owned()
            } else {
                format!("{} configured", secrets.len())
            };
            (Some(secrets), Verdict::ok(says))
        }
        Err(error) => (
            None,
            Verdict::failure(
                format!("{error:#}"),
                "run the doctor as the account of countersign serve, or restore the file from a backup",
            ),
        ),
    };
    let mut findings = vec![found.of(SECRET)];
    let skipped = |checks: &[&'static str], why: &str| -> Vec<Finding> {
        checks.iter().copied().map(|check| Verdict::skipped(why).of(check)).collect()
    };
    let rest = [&OF_THE_DATABASE[..], &keys::CHECKS[..], &neighbours::CHECKS[..]].concat();
    let options = match opening::database_there(config) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let mend = "start countersign serve, which starts it, and look at its log and at postgres.log in data_dir";
            findings.push(Verdict::failure("the managed PostgreSQL was never started", mend).of(DATABASE));
            findings.extend(skipped(&rest, "the database can't be reached"));
            return findings;
        }
        Err(error) => {
            let mend = "write it as in postgres://user:password@host/database";
            findings.push(Verdict::failure(format!("{error:#}"), mend).of(DATABASE));
            findings.extend(skipped(&rest, "the database can't be reached"));
            return findings;
        }
    };
    let managed = config.database.url.is_none();
    let mut conn = match timeout(PATIENCE, options.connect()).await {
        Ok(Ok(conn)) => conn,
        failed => {
            let error = failed.ok().and_then(Result::err);
            findings.push(unreachable(error.as_ref(), managed).of(DATABASE));
            findings.extend(skipped(&rest, "the database can't be reached"));
            return findings;
        }
    };
    findings.push(Verdict::ok("it can be reached").of(DATABASE));
    findings.push(or_failed(version(&mut conn).await).of(VERSION));
    findings.push(or_failed(now(&mut conn, clock).await).of(CLOCK));
    findings.push(or_failed(durability(&mut conn).await).of(DURABILITY));
    let schema = postgres::schema(&mut conn).await;
    let usable = matches!(schema, Ok(Schema::UpToDate | Schema::Newer(_)));
    findings.push(or_failed(schema.map(migrations)).of(MIGRATIONS));
    let pool = postgres::pool(options, 2);
    if usable {
        findings.push(or_failed(roles::may_rewrite_audit(&pool).await.map(role)).of(ROLE));
    } else {
        findings.extend(skipped(&[ROLE], "the migrations have to be made first"));
    }
    let of_rows = [&keys::CHECKS[..], &neighbours::CHECKS[..]].concat();
    match secrets.map(|secrets| opening::looking(pool, &secrets, config, clock)) {
        Some(Ok(installation)) if usable => findings.extend(rows(config, &installation, &mut conn).await),
        Some(_) if !usable => findings.extend(skipped(&of_rows, "the migrations have to be made first")),
        _ => findings.extend(skipped(&of_rows, "there is no installation secret to open them with")),
    }
    findings
}

async fn rows(config: &Config, installation: &Installation, conn: &mut PgConnection) -> Vec<Finding> {
    let mut findings = keys::look(config, installation, conn).await;
    findings.extend(neighbours::look(installation, conn).await);
    findings
}

/// A question that PostgreSQL did not answer is a finding too.
pub(super) fn or_failed(verdict: Result<Verdict, sqlx::Error>) -> Verdict {
    verdict.unwrap_or_else(|error| {
        let mend = "look at PostgreSQL's log; after a restore or an upgrade, start countersign serve once";
        Verdict::failure(format!("it can't be asked: {error}"), mend)
    })
}

fn unreachable(error: Option<&sqlx::Error>, managed: bool) -> Verdict {
    let Some(error) = error else {
        let mend = "look at host and port of database.url, and let this machine through (firewall, listen_addresses)";
        return Verdict::failure("it did not answer in time", mend);
    };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let mend = match (error, code.as_deref()) {
        (sqlx::Error::Io(_), _) if managed => {
            "start countersign serve, which starts it; if it runs, look at its log and at postgres.log in data_dir"
        }
        (sqlx::Error::Io(_), _) => {
            "start PostgreSQL, look at host and port of database.url, and let this machine through (firewall, listen_addresses)"
        }
        (sqlx::Error::Tls(_), _) => "look at sslmode and sslrootcert of database.url, and at the server's certificate",
        (_, Some("28P01" | "28000")) => "look at user and password of database.url, and at pg_hba.conf",
        (_, Some("3D000")) => "make the database: CREATE DATABASE, or correct its name in database.url",
        (_, Some("53300")) => "raise max_connections of PostgreSQL, or lower database.max_connections of the servers",
        (_, Some("57P03")) => "wait until PostgreSQL has started; its log says how far it is",
        _ => "look at PostgreSQL's log, and at database.url",
    };
    Verdict::failure(format!("it can't be reached: {error}"), mend)
}

async fn version(conn: &mut PgConnection) -> Result<Verdict, sqlx::Error> {
    let (number, text): (i32, String) =
        sqlx::query_as("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
            .fetch_one(conn)
            .await?;
    let says = format!("PostgreSQL {}", text.split(' ').next().unwrap_or_default());
    Ok(if number >= OLDEST {
        Verdict::ok(says)
    } else {
        Verdict::failure(format!("{says} is too old"), "upgrade it to PostgreSQL 14 or newer")
    })
}

async fn now(conn: &mut PgConnection, clock: &Clock) -> Result<Verdict, sqlx::Error> {
    let there: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(conn).await?;
    Ok(compare("PostgreSQL", clock.now(), there))
}

async fn durability(conn: &mut PgConnection) -> Result<Verdict, sqlx::Error> {
    let (fsync, full_pages, commit): (String, String, String) = sqlx::query_as(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')",
    )
    .fetch_one(conn)
    .await?;
    Ok(match (fsync.as_str(), full_pages.as_str(), commit.as_str()) {
        ("on", "on", "off") => Verdict::warning(
            "synchronous_commit is off: what was answered last can be undone by a crash, so a code could be redeemed twice",
            "synchronous_commit = on in postgresql.conf, and ALTER ROLE … RESET synchronous_commit where a role has its own",
        ),
        ("on", "on", _) => Verdict::ok(format!("what is committed is on disk (synchronous_commit = {commit})")),
        _ => Verdict::failure(
            "fsync or full_page_writes is off: a crash of its machine can destroy the database",
            "fsync = on and full_page_writes = on in postgresql.conf, and restart PostgreSQL",
        ),
    })
}

fn migrations(schema: Schema) -> Verdict {
    match schema {
        Schema::UpToDate => Verdict::ok("every one of this program's is made"),
        Schema::Empty => Verdict::failure(
            "none was made: this database is empty",
            "start countersign serve, which makes them, or look whether database.url names the right database",
        ),
        Schema::Behind(count) => Verdict::failure(
            format!("{count} of this program's are not made"),
            "restart countersign serve with this version: it makes them at its start, as database.owner_url if that is set",
        ),
        Schema::Newer(version) => Verdict::warning(
            format!("a newer program made one ({version}) that this one doesn't know"),
            "use the same version everywhere; an older one doesn't start on this database",
        ),
        Schema::Changed(version) => Verdict::failure(
            format!("one ({version}) is not as this program has it, or was not finished"),
            "restore the database from a backup, or use the program that made it",
        ),
    }
}

fn role(may_rewrite_audit: bool) -> Verdict {
    if may_rewrite_audit {
        return Verdict::warning(
            "the server's role owns the audit and could rewrite it",
            "make a second role and set database.owner_url (docs/operations.md, Two database roles)",
        );
    }
    Verdict::ok("the server's role can't change the audit")
}
