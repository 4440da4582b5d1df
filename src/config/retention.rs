//! How long what is over is kept.

use std::time::Duration;

use serde::Deserialize;

use super::spans::{DAY, a_day_to_a_century, whole_days};

/// How long what is over is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Device logins, after their code's time was over: `7d`. What was approved is kept as long as it can be reported, if that is
    /// longer.
    #[serde(deserialize_with = "a_day_to_a_century")]
    pub grants: Duration,
    /// Signed-in devices, after they were signed out or their session's longest life was over: `90d`.
    #[serde(deserialize_with = "a_day_to_a_century")]
    pub sessions: Duration,
    /// Events of the audit, in days: `400d`. None: for ever.
    #[serde(deserialize_with = "whole_days")]
    pub audit: Option<u32>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { grants: 7 * DAY, sessions: 90 * DAY, audit: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Retention, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_week_ninety_days_and_for_ever_unless_it_is_set() {
        let days = |retention: Retention| (retention.grants / 86_400, retention.sessions / 86_400, retention.audit);
        let second = Duration::from_secs(1);
        assert_eq!(days(read("").unwrap()), (7 * second, 90 * second, None));
        let set = read("grants = '1d'\nsessions = '1year'\naudit = '13months'").unwrap();
        assert_eq!((set.grants, set.audit), (DAY, Some(396)), "begun days count");
        assert_eq!(read("audit = '90d'").unwrap().audit, Some(90));
        for wrong in [
            "grants = '23h'",
            "grants = 7",
            "grants = 'long'",
            "sessions = '0s'",
            "sessions = '200years'",
            "audit = '89d'",
            "audit = 400",
            "logs = '7d'",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
