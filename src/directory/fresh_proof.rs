//! What a service, or one of its scopes, asks of who approves besides the policy on second factors.

use std::time::Duration;

use super::{stored_as_text, word};

/// How fresh a proof has to be, and of which kind. The default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreshProof {
    /// How old a sign-in, and a second factor where one is asked, may be at the moment of the decision. Zero: proven for
    /// this very login. `None`: as old as they may be anyway.
    pub max_age: Option<Duration>,
    /// The second factor that is asked; `None`: what the policies say.
    pub factor: Option<Factor>,
}

/// A second factor. In order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// Any that there is: an authenticator's code, a recovery code, or the word of a provider that is trusted.
    Mfa,
    /// An authenticator's code, typed here.
    Otp,
}
stored_as_text!("factor", Factor { Mfa = "mfa", Otp = "otp" });

impl FreshProof {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What satisfies both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let max_age = [self.max_age, other.max_age].into_iter().flatten().min();
        Self { max_age, factor: self.factor.max(other.factor) }
    }

    /// As rows hold it.
    pub(crate) fn stored(max_age_seconds: Option<i32>, factor: Option<&str>) -> Result<Self, sqlx::Error> {
        let max_age = max_age_seconds.map(|seconds| Duration::from_secs(u64::from(seconds.unsigned_abs())));
        Ok(Self { max_age, factor: factor.map(word).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_the_stricter_counts_in_each_way() {
        let asks = |seconds: Option<u64>, factor| FreshProof { max_age: seconds.map(Duration::from_secs), factor };
        let (nothing, hour, now) = (FreshProof::default(), asks(Some(3600), Some(Factor::Otp)), asks(Some(0), None));
        assert_eq!((nothing.and(hour), hour.and(nothing)), (hour, hour));
        assert_eq!(hour.and(now), asks(Some(0), Some(Factor::Otp)));
        assert_eq!(asks(None, Some(Factor::Mfa)).and(hour).factor, Some(Factor::Otp));
        assert!(nothing.and(nothing).is_nothing() && !now.is_nothing());
    }
}
