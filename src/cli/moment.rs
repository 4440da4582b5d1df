//! Moments on the command line.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

/// A moment as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This one.
    At(DateTime<Utc>),
    /// So long before now.
    Ago(TimeDelta),
}

impl std::str::FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = |text| DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok();
        let day = |text: &str| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
        let ago = |text| TimeDelta::from_std(humantime::parse_duration(text).ok()?).ok();
        let moment = at(text).or_else(|| day(text)).map(Self::At).or_else(|| ago(text).map(Self::Ago));
        moment.ok_or("it is a time like 2026-11-25T12:00:00Z, a day like 2026-11-25, or a time span like 24h")
    }
}

impl Moment {
    /// The moment, when it is `now`.
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub_signed(span).unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = DateTime::parse_from_rfc3339("2026-11-25T12:00:00Z").unwrap().to_utc();
        let read = |text: &str| text.parse::<Moment>().map(|moment| moment.before(now).to_rfc3339());
        assert_eq!(read("2026-11-25T12:00:00+02:00").unwrap(), "2026-11-25T10:00:00+00:00");
        assert_eq!(read("2026-11-25").unwrap(), "2026-11-25T00:00:00+00:00");
        assert_eq!(read("24h").unwrap(), "2026-11-24T12:00:00+00:00");
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-25T12:00:00", "24", "-1h"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
