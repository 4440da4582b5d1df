//! How many user codes could be guessed, and so what a guess costs, and how long new codes have to be.
//!
//! A guess of a code with n letters hits one of the live codes of that length with a probability of live ÷ 20ⁿ. That is
//! its cost, in units of 1 ÷ 20¹⁰. The installation's budget of an hour is 10⁻³ altogether, so that within any hour the
//! probability that any guess at all was right stays below that. Codes of eight letters may use up four fifths of it: when
//! they have, those of ten still can be typed.
//!
//! New codes have ten letters when eight would leave too few guesses to people who mistype: by the number of live codes,
//! or because somebody guesses.
//!
//! Nothing is counted for a guess or a request. Each server counts every two seconds at most, [beside](LiveCodes::keep) the
//! requests and as long as somebody needs it, and charges for more than it counted: codes that it made since, and a quarter
//! for those that others made. A request counts itself where nothing is known that is of use: the first one for a while.

mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::{self, Purpose};
use crate::config::Limits;
use crate::ids::ServiceId;
use crate::installation::Installation;
use crate::postgres::PgConnection;

use super::codes::Length;

use tally::{Tally, count};

/// The installation's budget of an hour: 10⁻³, in units of 1 ÷ 20¹⁰.
pub const BUDGET: i64 = 10_240_000_000;

/// How much of it may be spent before guesses of eight letters are refused.
pub const BUDGET_OF_EIGHT: i64 = BUDGET / 5 * 4;

/// Eight letters have to leave so many guesses an hour for each live code. Of ten codes one is mistyped, and where one is
/// live for a minute, sixty are typed within the hour.
const GUESSES_PER_CODE: i64 = 6;

/// New codes have ten letters when so much was spent within an hour, …
const PRESSURE: i64 = BUDGET / 4;

/// … and eight again when it is less than this and there are half as many live codes as eight letters can bear.
const RELIEF: i64 = BUDGET / 10;

/// How long a count is good.
const FRESH: Duration = Duration::from_secs(2);

/// A count that takes long is good for longer, so that it is no burden: twenty times as long, its rests included, up to this.
const LONGEST: Duration = Duration::from_secs(10);

/// A count for which nobody waits rests after some 2,000 codes, …
const STRETCH: f64 = 2000.0;

/// … for 5 ms, and so often at most. A hundred thousand codes take a processor of PostgreSQL's for a twentieth of a second, which
/// everybody who polls meanwhile would notice.
const MOST_RESTS: f64 = 100.0;

/// After which time everybody waits for the next count who needs one.
const USABLE: TimeDelta = TimeDelta::seconds(15);

/// How long after somebody needed a count it is made anew again and again.
const WANTED: Duration = Duration::from_mins(1);

/// The live codes, as far as this server knows. Cheap to clone.
#[derive(Clone)]
pub struct LiveCodes(Arc<Inner>);

struct Inner {
    limits: Limits,
    seen: Mutex<Seen>,
    counting: tokio::sync::Mutex<()>,
    /// Told when somebody needs a count that isn't good any more.
    wanted: Notify,
}

struct Seen {
    counted_at: Option<DateTime<Utc>>,
    good_until: DateTime<Utc>,
    counted: Tally,
    /// Made here before the count that is under way, …
    made_before: Tally,
    /// … and since it, or since the last one.
    made: Tally,
    length: Length,
    /// When somebody last asked what is known.
    wanted_at: Option<Instant>,
}

/// Who has as many live codes as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The address, or its /64.
    Address,
    /// The client.
    Client,
}

impl LiveCodes {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let seen = Seen {
            counted_at: None,
            good_until: DateTime::UNIX_EPOCH,
            counted: Tally::default(),
            made_before: Tally::default(),
            made: Tally::default(),
            length: Length::Eight,
            wanted_at: None,
        };
        let (counting, wanted) = (tokio::sync::Mutex::default(), Notify::new());
        Self(Arc::new(Inner { limits, seen: Mutex::new(seen), counting, wanted }))
    }

    /// Whether nothing is known that is of use, so that whoever needs it has to [look](Self::look). When it only is time for the
    /// next count, that is made beside the requests.
    #[must_use]
    pub fn is_unknown(&self, now: DateTime<Utc>) -> bool {
        let mut seen = self.seen();
        seen.wanted_at = Some(Instant::now());
        if !seen.is_good(now) {
            self.0.wanted.notify_one();
        }
        !seen.is_usable(now)
    }

    /// Counts, if nothing is known that is of use. One request does, and the others wait for it.
    pub async fn look(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        if !self.is_unknown(now) {
            return Ok(());
        }
        let _counting = self.0.counting.lock().await;
        if self.seen().is_usable(now) { Ok(()) } else { self.count(conn, 0.0, now).await }
    }

    /// Counts whenever it is time for it and somebody needed it lately, until `stop`. What fails is tried again, and meanwhile
    /// requests count when they have to.
    pub async fn keep(self, installation: Installation, stop: CancellationToken) {
        let counting = async {
            loop {
                let lately = self.seen().wanted_at.is_some_and(|at| at.elapsed() < WANTED);
                let pause =
                    async { if lately { tokio::time::sleep(FRESH).await } else { std::future::pending().await } };
                tokio::select! {
                    () = self.0.wanted.notified() => {}
                    () = pause => {}
                }
                if let Err(error) = self.count_if_due(&installation).await {
                    tracing::debug!(%error, "live codes can't be counted now");
                    tokio::time::sleep(FRESH).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = counting => {}
        }
    }

    /// How many codes are live in the whole installation, if that is known.
    #[must_use]
    pub fn count_of_all(&self, now: DateTime<Utc>) -> Option<i64> {
        let mut seen = self.seen();
        let is_usable = seen.is_usable(now);
        let all = seen.tallies().iter().map(|tally| tally.eight + tally.ten).sum();
        is_usable.then_some(all)
    }

    /// Counts, unless that was done a moment ago.
    pub async fn count_if_due(&self, installation: &Installation) -> Result<(), sqlx::Error> {
        if self.seen().is_good(installation.clock.now()) {
            return Ok(());
        }
        let mut conn = installation.pool.acquire().await?;
        let _counting = self.0.counting.lock().await;
        let now = installation.clock.now();
        if self.seen().is_good(now) { Ok(()) } else { self.count(&mut conn, self.rests(now), now).await }
    }

    /// After which part of the codes a count rests: none, when there is no earlier one and so somebody waits for it.
    fn rests(&self, now: DateTime<Utc>) -> f64 {
        let seen = self.seen();
        if !seen.is_usable(now) {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "so many codes are never live")]
        let live = (seen.counted.eight + seen.counted.ten).max(1) as f64;
        (1.0 / STRETCH).min(MOST_RESTS / live)
    }

    /// Counts, and rests after this part of the codes. The caller holds `counting`.
    async fn count(&self, conn: &mut PgConnection, rests: f64, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        let began = Instant::now();
        {
            let mut seen = self.seen();
            let made = std::mem::take(&mut seen.made);
            seen.made_before.absorb(made);
        }
        let counted = count(conn, &self.0.limits, rests, now).await?;
        let length = settle(conn, counted.eight + counted.ten, now).await?;
        let good_for = (began.elapsed() * 20).clamp(FRESH, LONGEST);
        let mut seen = self.seen();
        seen.counted_at = Some(now);
        seen.good_until = now + TimeDelta::from_std(good_for).unwrap_or_default();
        seen.counted = counted;
        seen.made_before = Tally::default();
        seen.length = length;
        Ok(())
    }

    /// How many letters a new code has.
    #[must_use]
    pub fn length(&self) -> Length {
        self.seen().length
    }

    /// What a guess of a code with so many letters costs the installation, and how much may be spent for it.
    #[must_use]
    pub fn price(&self, length: Length) -> (i64, i64) {
        let mut seen = self.seen();
        let [counted, before, made] = seen.tallies().map(|tally| *tally.of_length(length));
        let live = at_most(counted) + before + made;
        match length {
            Length::Eight => (live.saturating_mul(400), BUDGET_OF_EIGHT),
            Length::Ten => (live, BUDGET),
        }
    }

    /// Whether this client or this address, as [`subscriber`](crate::http::client_address::subscriber) gives it, has as many live codes as it may have.
    #[must_use]
    pub fn full(&self, client: ServiceId, address: IpNet) -> Option<Full> {
        let limits = self.0.limits;
        let mut seen = self.seen();
        let tallies = seen.tallies();
        let of_address: i64 = tallies.iter().filter_map(|tally| tally.of_addresses.get(&address)).sum();
        let of_client: i64 = tallies.iter().filter_map(|tally| tally.of_clients.get(&client)).sum();
        let is_full = |count: i64, limit: u32| limit > 0 && count >= i64::from(limit);
        if is_full(of_address, limits.live_codes_per_address) {
            return Some(Full::Address);
        }
        is_full(of_client, limits.live_codes_per_client).then_some(Full::Client)
    }

    /// Notes that a code was made here.
    pub fn made(&self, length: Length, client: ServiceId, address: IpNet) {
        let mut seen = self.seen();
        seen.made.add(length, client, 1);
        if self.0.limits.live_codes_per_address > 0 {
            *seen.made.of_addresses.entry(address).or_default() += 1;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_good(&self, now: DateTime<Utc>) -> bool {
        // A clock that was set back makes every count old.
        self.counted_at.is_some_and(|at| at <= now && now < self.good_until)
    }

    fn is_usable(&self, now: DateTime<Utc>) -> bool {
        self.counted_at.is_some_and(|at| at <= now && now < at + USABLE)
    }

    fn tallies(&mut self) -> [&mut Tally; 3] {
        [&mut self.counted, &mut self.made_before, &mut self.made]
    }
}

/// How many there may be by the next count, if other servers make no more than a quarter and a hundred meanwhile.
const fn at_most(counted: i64) -> i64 {
    counted.saturating_add(counted / 4).saturating_add(100)
}

/// How many letters new codes have from now on, everywhere.
async fn settle(conn: &mut PgConnection, live: i64, now: DateTime<Utc>) -> Result<Length, sqlx::Error> {
    let spent = budget::spent(conn, Purpose::Installation, "", now).await?;
    let letters = sqlx::query_scalar!("SELECT letters FROM user_code_length").fetch_one(&mut *conn).await?;
    let is = usize::try_from(letters).ok().and_then(Length::of).unwrap_or(Length::Eight);
    let to_be = length_for(is, live, spent);
    if to_be != is {
        let to_be = i16::try_from(to_be.letters()).unwrap_or(8);
        let changed =
            sqlx::query!("UPDATE user_code_length SET letters = $1, since = $2 WHERE letters <> $1", to_be, now,)
                .execute(conn)
                .await?;
        if changed.rows_affected() == 1 {
            let percent = spent * 100 / BUDGET;
            tracing::warn!(
                event = "user_code_length",
                letters = to_be,
                live,
                percent,
                "new user codes have another length"
            );
        }
    }
    Ok(to_be)
}

/// How many letters new codes should have, when they have `is`, so many are live, and so much of the budget was spent.
fn length_for(is: Length, live: i64, spent: i64) -> Length {
    let needed = |live: i64| {
        let live = at_most(live);
        // So many guesses are needed, and each costs so much.
        live.saturating_mul(GUESSES_PER_CODE).saturating_mul(live.saturating_mul(400))
    };
    match is {
        Length::Eight if needed(live) > BUDGET_OF_EIGHT || spent > PRESSURE => Length::Ten,
        Length::Ten if needed(live.saturating_mul(2)) <= BUDGET_OF_EIGHT && spent < RELIEF => Length::Eight,
        as_it_is => as_it_is,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_thousandth() {
        assert_eq!(BUDGET * 1000, 20_i64.pow(10));
        assert_eq!(20_i64.pow(10) / 20_i64.pow(8), 400);
    }

    #[test]
    fn many_live_codes_or_many_guesses_make_new_codes_longer_and_half_as_many_shorter_again() {
        use Length::{Eight, Ten};
        for (is, live, spent, to_be) in [
            (Eight, 0, 0, Eight),
            (Eight, 1397, 0, Eight),
            (Eight, 1399, 0, Ten),
            (Ten, 1399, 0, Ten),
            (Ten, 700, 0, Ten),
            (Ten, 690, 0, Eight),
            (Eight, 0, PRESSURE, Eight),
            (Eight, 0, PRESSURE + 1, Ten),
            (Ten, 0, PRESSURE / 2, Ten),
            (Ten, 0, RELIEF - 1, Eight),
            (Eight, i64::MAX / 2, 0, Ten),
        ] {
            assert_eq!(length_for(is, live, spent), to_be, "{is:?}, {live} live, {spent} spent");
        }
    }

    #[test]
    fn a_guess_costs_what_was_counted_a_quarter_more_and_what_was_made_here_since() {
        let live = LiveCodes::new(Limits::none());
        let (client, address) = (ServiceId(uuid::Uuid::nil()), "192.0.2.1/32".parse().unwrap());
        assert_eq!(live.price(Length::Eight), (100 * 400, BUDGET_OF_EIGHT));
        assert_eq!(live.price(Length::Ten), (100, BUDGET));
        live.seen().counted.add(Length::Eight, client, 1000);
        for _ in 0..7 {
            live.made(Length::Eight, client, address);
        }
        assert_eq!(live.price(Length::Eight).0, (1000 + 250 + 100 + 7) * 400);
        assert_eq!(live.price(Length::Ten).0, 100);
        assert_eq!(live.full(client, address), None);
        assert!(live.seen().made.of_addresses.is_empty(), "nobody asks for them");
    }

    #[test]
    fn a_count_rests_for_half_a_second_at_most_and_not_while_somebody_waits_for_it() {
        let (live, now) = (LiveCodes::new(Limits::none()), DateTime::UNIX_EPOCH);
        let rests = |at| format!("{:.4}", live.rests(at));
        assert_eq!(rests(now), "0.0000", "nothing was counted yet");
        for (codes, part) in [(0, "0.0005"), (100_000, "0.0005"), (200_000, "0.0005"), (1_000_000, "0.0001")] {
            let mut seen = live.seen();
            seen.counted_at = Some(now);
            seen.counted.eight = codes;
            drop(seen);
            assert_eq!(rests(now), part, "{codes}");
        }
        assert_eq!(rests(now + USABLE), "0.0000", "it is too old");
    }

    #[test]
    fn a_client_and_an_address_may_have_so_many() {
        let limits = Limits { live_codes_per_address: 2, live_codes_per_client: 3, ..Limits::none() };
        let live = LiveCodes::new(limits);
        let client = ServiceId(uuid::Uuid::nil());
        let [one, other]: [IpNet; 2] = ["192.0.2.1/32", "2001:db8::/64"].map(|address| address.parse().unwrap());
        live.made(Length::Eight, client, one);
        assert_eq!(live.full(client, one), None);
        live.made(Length::Ten, client, one);
        assert_eq!((live.full(client, one), live.full(client, other)), (Some(Full::Address), None));
        live.made(Length::Ten, client, other);
        assert_eq!(live.full(client, other), Some(Full::Client));
        assert_eq!(live.full(ServiceId(uuid::Uuid::from_u128(1)), other), None);
    }
}
