//! What may be spent within an hour, counted in PostgreSQL for every server together.
//!
//! However many try something at once, no more is spent than the budgets allow. Where a statement of its own does the try, it
//! waits for its turn, sees that enough is left of all [`Budgets`], and pays for a wrong one ([`crate::device::guessing`]). Elsewhere
//! the try, or a mail to whom somebody likes, is paid for first:
//!
//! 1. [`spend`] takes the cost from each of several budgets, or from none. Each is one conditional statement on one row.
//! 2. The try is made.
//! 3. It cost nothing after all: [`give_back`]. Otherwise the cost is spent, also if the program ends before it knows.
//!
//! A bucket that fills up evenly lets twice its content pass within an hour. Here each cost is kept with its moment and
//! leaves an hour later, so that *within any hour* no more than the limit is spent.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use sqlx::Connection as _;

use crate::postgres::PgConnection;

/// What a budget is for. Rows are locked in this order, and who has too little left of several is told of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// User codes tried from one address, or one /64.
    Address,
    /// User codes that one browser tries.
    Browser,
    /// User codes that one person tries who is signed in.
    Account,
    /// User codes that anybody tries.
    Installation,
    /// Invitations that an organization mails.
    InvitingOrganization,
    /// Invitations that an organization mails to one address.
    InvitedAddress,
    /// Invitations that all organizations together mail to one address.
    InvitedByAnybody,
}

impl Purpose {
    /// As it is stored. Never change one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "user_code_browser",
            Self::Account => "user_code_account",
            Self::Address => "user_code_address",
            Self::Installation => "user_code_installation",
            Self::InvitingOrganization => "invitation_organization",
            Self::InvitedAddress => "invitation_address",
            Self::InvitedByAnybody => "invitation_anybody",
        }
    }

    /// Whose budget it is, for the audit and the log.
    #[must_use]
    pub const fn whose(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Account => "account",
            Self::Address | Self::InvitedAddress | Self::InvitedByAnybody => "address",
            Self::Installation => "installation",
            Self::InvitingOrganization => "organization",
        }
    }

    /// When a cost counts as spent: at its moment. Where there are too many for that, at the end of its minute, so that
    /// it stays a little longer than an hour and no row has more than 61 of them.
    fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Browser
            | Self::Account
            | Self::Address
            | Self::InvitingOrganization
            | Self::InvitedAddress
            | Self::InvitedByAnybody => now,
            Self::Installation => now.duration_trunc(MINUTE).map_or(now, |minute| minute + MINUTE),
        }
    }
}

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// The time within which a budget holds.
pub const WINDOW: TimeDelta = TimeDelta::hours(1);

/// Nobody is to hold a row at which others meet until a disk has written. What a crash of PostgreSQL may forget are the costs of its
/// last second; what a crash of ours may, nothing. Within a transaction it is an error, as it should be: what is spent must stay
/// spent whatever happens to the try. Who holds a row and is lost must not make everybody else wait.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '2s'";

/// A cost to be taken from a budget.
#[derive(Clone, Debug)]
pub struct Charge {
    /// What for.
    pub purpose: Purpose,
    /// Whose budget: an id, an address, a keyed hash.
    pub subject: String,
    /// How much.
    pub cost: i64,
    /// How much may be spent within an hour.
    pub limit: i64,
}

/// What was spent: to be given back, or not.
#[derive(Clone, Debug)]
#[must_use = "a right try is given back"]
pub struct Receipt(Budgets);

/// The budgets of a try, as the database takes them: an array of each thing.
#[derive(Clone, Debug)]
pub struct Budgets {
    charges: Vec<Charge>,
    at: DateTime<Utc>,
}

impl Budgets {
    /// For a try at this moment.
    #[must_use]
    pub fn new(mut charges: Vec<Charge>, at: DateTime<Utc>) -> Self {
        charges.retain(|charge| charge.cost > 0);
        charges.sort_by(|one, other| (one.purpose, &one.subject).cmp(&(other.purpose, &other.subject)));
        Self { charges, at }
    }

    /// What each is for.
    #[must_use]
    pub fn purposes(&self) -> Vec<String> {
        self.charges.iter().map(|charge| charge.purpose.as_str().to_owned()).collect()
    }

    /// Whose each is.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        self.charges.iter().map(|charge| charge.subject.clone()).collect()
    }

    /// When each counts a cost as spent.
    #[must_use]
    pub fn moments(&self) -> Vec<DateTime<Utc>> {
        self.charges.iter().map(|charge| charge.purpose.moment(self.at)).collect()
    }

    /// When what is spent now doesn't count any more.
    #[must_use]
    pub fn over_at(&self) -> Vec<DateTime<Utc>> {
        self.charges.iter().map(|charge| charge.purpose.moment(self.at) + WINDOW).collect()
    }

    /// What a wrong try costs.
    #[must_use]
    pub fn costs(&self) -> Vec<i64> {
        self.charges.iter().map(|charge| charge.cost).collect()
    }

    /// How much may be spent.
    #[must_use]
    pub fn limits(&self) -> Vec<i64> {
        self.charges.iter().map(|charge| charge.limit).collect()
    }

    /// Since when what was spent counts.
    #[must_use]
    pub fn since(&self) -> DateTime<Utc> {
        self.at - WINDOW
    }

    /// What to tell whom the budget at this place, counted from 1, has too little left for.
    pub async fn exhausted(&self, conn: &mut PgConnection, place: i32) -> Result<Option<Exhausted>, sqlx::Error> {
        let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        let Some(charge) = place.and_then(|place| self.charges.get(place)) else { return Ok(None) };
        exhausted(conn, charge, self.at).await.map(Some)
    }
}

async fn exhausted(conn: &mut PgConnection, charge: &Charge, now: DateTime<Utc>) -> Result<Exhausted, sqlx::Error> {
    Ok(Exhausted {
        purpose: charge.purpose,
        wait: wait(conn, charge, now).await?,
        is_news: note(conn, charge, now).await?,
    })
}

/// A budget has too little left. Nothing was spent of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Which.
    pub purpose: Purpose,
    /// After which time the same cost can be spent, if nobody else spends meanwhile.
    pub wait: TimeDelta,
    /// Whether this is the first time within an hour that somebody is told so.
    pub is_news: bool,
}

/// Takes the costs from all of these budgets, or from none; not within a transaction. The rows are taken in the order of
/// purposes and subjects, as everybody takes them.
pub async fn spend(
    conn: &mut PgConnection,
    charges: Vec<Charge>,
    now: DateTime<Utc>,
) -> Result<Result<Receipt, Exhausted>, sqlx::Error> {
    let budgets = Budgets::new(charges, now);
    let mut tx = conn.begin_with(BEGIN).await?;
    for charge in &budgets.charges {
        if !take(&mut tx, charge, now).await? {
            tx.rollback().await?;
            return Ok(Err(exhausted(conn, charge, now).await?));
        }
    }
    tx.commit().await?;
    Ok(Ok(Receipt(budgets)))
}

/// Takes one cost from its budget, if enough is left.
async fn take(conn: &mut PgConnection, charge: &Charge, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    if charge.cost > charge.limit {
        return Ok(false);
    }
    let at = charge.purpose.moment(now);
    let taken = sqlx::query!(
        "INSERT INTO budget AS b (purpose, subject, spent_at, spent, over_at)
         VALUES ($1, $2, ARRAY[$3::timestamptz], ARRAY[$4::bigint], $5)
         ON CONFLICT (purpose, subject) DO UPDATE
         SET (spent_at, spent) = (
                 SELECT array_agg(s.at ORDER BY s.at), array_agg(s.cost ORDER BY s.at)
                 FROM (SELECT k.at, sum(k.cost)::bigint AS cost
                       FROM unnest(b.spent_at || $3::timestamptz, b.spent || $4::bigint) AS k (at, cost)
                       WHERE k.at > $6 GROUP BY k.at) s),
             over_at = greatest(b.over_at, excluded.over_at)
         WHERE spent_since(b.spent_at, b.spent, $6) <= $7 - $4::bigint",
        charge.purpose.as_str(),
        charge.subject,
        at,
        charge.cost,
        at + WINDOW,
        now - WINDOW,
        charge.limit,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// How long until a cost can be spent.
async fn wait(conn: &mut PgConnection, charge: &Charge, now: DateTime<Utc>) -> Result<TimeDelta, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT spent_at, spent FROM budget WHERE purpose = $1 AND subject = $2",
        charge.purpose.as_str(),
        charge.subject,
    )
    .fetch_optional(conn)
    .await?;
    let spent: Vec<_> = row.map(|row| row.spent_at.into_iter().zip(row.spent).collect()).unwrap_or_default();
    Ok(until_free(&spent, charge, now))
}

/// How long until so many of these costs, oldest first, are an hour old that another one fits.
fn until_free(spent: &[(DateTime<Utc>, i64)], charge: &Charge, now: DateTime<Utc>) -> TimeDelta {
    let spent = || spent.iter().filter(|(at, _)| *at > now - WINDOW);
    let mut left: i64 = spent().map(|(_, cost)| cost).sum();
    for (at, cost) in spent() {
        left -= cost;
        if left + charge.cost <= charge.limit {
            return *at + WINDOW - now;
        }
    }
    // It costs more than the whole budget now: perhaps not any more in a while.
    if charge.cost > charge.limit { WINDOW } else { TimeDelta::zero() }
}

/// Notes that somebody is told that this budget is exhausted. `true` once an hour: a flood of refusals is one piece of news.
async fn note(conn: &mut PgConnection, charge: &Charge, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query!(
        "UPDATE budget SET noted_at = $3
         WHERE purpose = $1 AND subject = $2 AND (noted_at IS NULL OR noted_at <= $4)",
        charge.purpose.as_str(),
        charge.subject,
        now,
        now - WINDOW,
    )
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Gives back what a try cost that was right.
pub async fn give_back(conn: &mut PgConnection, Receipt(budgets): Receipt) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin_with(BEGIN).await?;
    for charge in &budgets.charges {
        sqlx::query!(
            "UPDATE budget b
             SET (spent_at, spent) = (
                 SELECT coalesce(array_agg(s.at ORDER BY s.at), '{}'), coalesce(array_agg(s.cost ORDER BY s.at), '{}')
                 FROM (SELECT k.at, CASE k.at WHEN $3 THEN k.cost - $4::bigint ELSE k.cost END AS cost
                       FROM unnest(b.spent_at, b.spent) AS k (at, cost)) s
                 WHERE s.cost > 0)
             WHERE purpose = $1 AND subject = $2",
            charge.purpose.as_str(),
            charge.subject,
            charge.purpose.moment(budgets.at),
            charge.cost,
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// How much of a budget was spent within the last hour.
pub async fn spent(
    conn: &mut PgConnection,
    purpose: Purpose,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    let spent = sqlx::query_scalar!(
        r#"SELECT spent_since(spent_at, spent, $3) AS "spent!" FROM budget WHERE purpose = $1 AND subject = $2"#,
        purpose.as_str(),
        subject,
        now - WINDOW,
    )
    .fetch_optional(conn)
    .await?;
    Ok(spent.unwrap_or(0))
}

/// Deletes budgets of which nothing was spent for an hour, at most so many, and says how many.
pub async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM budget WHERE (purpose, subject) IN (
             SELECT purpose, subject FROM budget WHERE over_at <= $1
             ORDER BY over_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn the_wait_is_until_enough_is_an_hour_old() {
        let charge = |cost| Charge { purpose: Purpose::Address, subject: String::new(), cost, limit: 30 };
        let spent = [(at(-4000), 30), (at(-3000), 10), (at(-1000), 5), (at(-10), 15)];
        let wait = |cost| until_free(&spent, &charge(cost), at(0)).num_seconds();
        assert_eq!(wait(1), 600);
        assert_eq!(wait(10), 600);
        assert_eq!(wait(11), 2600);
        assert_eq!(wait(30), 3590);
        assert_eq!(wait(31), 3600);
    }

    #[test]
    fn what_anybody_spends_counts_from_the_end_of_its_minute() {
        // 1,800,000,000 is a full minute.
        for (now, end) in [(0, 60), (59, 60), (60, 120)] {
            assert_eq!(Purpose::Installation.moment(at(now)), at(end));
            assert_eq!(Purpose::Address.moment(at(now)), at(now));
        }
    }
}
