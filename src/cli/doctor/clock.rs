//! Whether two clocks agree. Codes, one-time passwords and proofs of keys are good for seconds to minutes.

use chrono::{DateTime, TimeDelta, Utc};

use super::finding::Verdict;

/// So far clocks are apart that nobody cares for; what asking takes is in it.
const CLOSE: TimeDelta = TimeDelta::seconds(3);

/// From here on one-time passwords and proofs are refused that are good.
const FAR: TimeDelta = TimeDelta::seconds(30);

/// This machine's clock against that of `whom`.
pub(super) fn compare(whom: &str, here: DateTime<Utc>, there: DateTime<Utc>) -> Verdict {
    let apart = here - there;
    if apart.abs() <= CLOSE {
        return Verdict::ok(format!("it agrees with that of {whom}"));
    }
    let ahead = if apart > TimeDelta::zero() { "ahead of" } else { "behind" };
    let span = humantime::format_duration(std::time::Duration::from_secs(apart.abs().num_seconds().unsigned_abs()));
    let says = format!("this machine's clock is {span} {ahead} that of {whom}");
    let mend = format!(
        "have one time service set both clocks (chrony, systemd-timesyncd: timedatectl set-ntp true), here and where {whom} runs"
    );
    if apart.abs() < FAR { Verdict::warning(says, mend) } else { Verdict::failure(says, mend) }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Outcome;
    use super::*;

    #[test]
    fn seconds_are_warned_of_and_more_is_wrong() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let outcome = |seconds| compare("it", now, now + TimeDelta::seconds(seconds)).outcome;
        assert_eq!([0, 3, -3].map(outcome), [Outcome::Ok; 3]);
        assert_eq!([4, -29].map(outcome), [Outcome::Warning; 2]);
        assert_eq!([30, -86_400].map(outcome), [Outcome::Failure; 2]);
        assert_eq!(
            compare("it", now, now + TimeDelta::seconds(90)).says,
            "this machine's clock is 1m 30s behind that of it"
        );
    }
}
