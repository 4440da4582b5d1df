//! Time spans as people write them, within their bounds. No error repeats what was written.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub(super) const DAY: Duration = Duration::from_hours(24);

/// Nobody counts in more.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24 + 25 * 24);

/// The audit is kept at least so many days: the database holds to it too (`prune_audit` in `migrations/`).
const AUDIT_AT_LEAST: u32 = 90;

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|_| D::Error::custom("it must be a time span"))
}

fn checked<E: serde::de::Error>(duration: Duration, fits: bool, otherwise: &str) -> Result<Duration, E> {
    if fits { Ok(duration) } else { Err(E::custom(otherwise)) }
}

pub(super) fn at_most_an_hour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = span(deserializer)?;
    checked(duration, duration <= Duration::from_hours(1), "it must be an hour (\"1h\") at most")
}

pub(super) fn at_least_a_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = span(deserializer)?;
    checked(duration, duration >= DAY, "it must be at least a day (\"1d\")")
}

pub(super) fn a_minute_to_a_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = span(deserializer)?;
    let fits = (Duration::from_mins(1)..=DAY).contains(&duration);
    checked(duration, fits, "it must be between a minute (\"1m\") and a day (\"1d\")")
}

pub(super) fn a_day_to_a_century<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = span(deserializer)?;
    let fits = (DAY..=LONGEST).contains(&duration);
    checked(duration, fits, "it must be between a day (\"1d\") and a hundred years")
}

pub(super) fn whole_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let duration = a_day_to_a_century(deserializer)?;
    let days = u32::try_from(duration.as_secs().div_ceil(DAY.as_secs())).map_err(D::Error::custom)?;
    if days < AUDIT_AT_LEAST {
        return Err(D::Error::custom(format!("it must be at least {AUDIT_AT_LEAST} days (\"{AUDIT_AT_LEAST}d\")")));
    }
    Ok(Some(days))
}
