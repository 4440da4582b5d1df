//! The SQL of tries.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::installation::Installation;
use crate::postgres::PgConnection;

use super::{Allowance, Subject, seconds};

/// A network's row is shared: who holds it and is lost must not make everybody else wait.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'";

/// How many seconds a node's clock may be ahead of another's for the longest delays to hold at both.
const SKEW: u32 = 60;

/// Whether a try may be made now.
pub enum Reservation {
    /// It may, and counts as wrong until it turns out to be right.
    Granted(Try),
    /// Not yet.
    Closed(Delay),
}

/// A try that is counted.
pub struct Try {
    at: DateTime<Utc>,
    counted: Vec<Counted>,
}

/// What a try has done to one subject.
struct Counted {
    mac: [u8; 32],
    not_before: DateTime<Utc>,
}

/// A time in which no try is taken.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    mac: [u8; 32],
    /// Whose delay it is, as the audit names it.
    pub of: &'static str,
    /// For how many seconds from now: at least one.
    pub seconds: u64,
}

/// Reserves a try that counts for all of these, or for none: the first that has to wait ends it. A subject that others
/// share comes last, so that they don't wait for each other in a circle.
pub async fn reserve(installation: &Installation, subjects: &[Subject<'_>]) -> Result<Reservation, sqlx::Error> {
    let at = installation.clock.now();
    let mut tx = installation.pool.begin_with(BEGIN).await?;
    let mut counted = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let mac = subject.mac(&installation.keyring);
        let Some(not_before) = count(&mut tx, &mac, subject.allowance(), at).await? else {
            let seconds = left(&mut tx, &mac, at).await?;
            return Ok(Reservation::Closed(Delay { mac, of: subject.as_str(), seconds }));
        };
        counted.push(Counted { mac, not_before });
    }
    tx.commit().await?;
    Ok(Reservation::Granted(Try { at, counted }))
}

/// Counts one try, if its time has come: gives from when the next one may come.
///
/// Where there is no delay the next one may come at any time, also at one that is earlier than this: two requests of one moment,
/// or of two nodes, arrive in another order than they read the clock in. A delay that would last longer than any was begun
/// by a clock that has been set back since, and binds nobody.
async fn count(
    conn: &mut PgConnection,
    mac: &[u8; 32],
    allowance: Allowance,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO attempt AS a (subject_mac, level, counted_at, not_before, forget_at)
         VALUES ($1, 1, $2, to_timestamp(0), $2::timestamptz + make_interval(secs => $3))
         ON CONFLICT (subject_mac) DO UPDATE SET
             level = attempt_level(a.level, a.counted_at, $2, $3, $4),
             counted_at = greatest(a.counted_at, $2),
             not_before = CASE
                 WHEN attempt_delay(attempt_level(a.level, a.counted_at, $2, $3, $4), $5, $6) > '0'
                 THEN $2::timestamptz + attempt_delay(attempt_level(a.level, a.counted_at, $2, $3, $4), $5, $6)
                 ELSE to_timestamp(0) END,
             forget_at = greatest(a.counted_at, $2)
                 + make_interval(secs => $3 * attempt_level(a.level, a.counted_at, $2, $3, $4)),
             told = false
         WHERE a.not_before <= $2 OR a.not_before > $2::timestamptz + make_interval(secs => $6 + $7)
         RETURNING a.not_before",
        mac,
        at,
        f64::from(allowance.forgotten_in),
        f64::from(allowance.most()),
        f64::from(allowance.free),
        f64::from(allowance.longest_delay),
        f64::from(SKEW),
    )
    .fetch_optional(conn)
    .await
}

/// How many seconds are left until a subject's next try.
async fn left(conn: &mut PgConnection, mac: &[u8; 32], at: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let not_before =
        sqlx::query_scalar!("SELECT not_before FROM attempt WHERE subject_mac = $1", mac).fetch_optional(conn).await?;
    Ok(not_before.map_or(1, |until| seconds(from_to(at, until)).max(1)))
}

fn from_to(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

impl Try {
    /// For how many seconds the next one has to wait, if this one is wrong.
    #[must_use]
    pub fn next_in(&self) -> Option<u64> {
        let longest = self.counted.iter().map(|counted| seconds(from_to(self.at, counted.not_before))).max();
        longest.filter(|seconds| *seconds > 0)
    }

    /// Gives the try back, because it was right: as if it had not been made.
    pub async fn was_right(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        for counted in &self.counted {
            sqlx::query!(
                "UPDATE attempt
                 SET level = greatest(0, level - 1),
                     not_before = CASE WHEN not_before = $2 THEN to_timestamp(0) ELSE not_before END
                 WHERE subject_mac = $1",
                &counted.mac,
                counted.not_before,
            )
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }
}

impl Delay {
    /// Whether nobody was told yet to wait for this: `true` once in each delay, for the audit. A flood is one event.
    pub async fn is_news(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
        let told = sqlx::query!(
            "UPDATE attempt SET told = true WHERE subject_mac = $1 AND not_before > $2 AND NOT told",
            &self.mac,
            now,
        )
        .execute(conn)
        .await?;
        Ok(told.rows_affected() == 1)
    }
}

/// Deletes what is forgotten, at most so many rows, and says how many.
pub async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM attempt WHERE subject_mac = ANY(ARRAY(
             SELECT subject_mac FROM attempt WHERE forget_at <= $1 AND not_before <= $1
             ORDER BY forget_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}
