//! Tries at passwords and second factors: how many somebody has, and how long they wait for the next one.
//!
//! 1. A try is **reserved** before anything is checked ([`reserve`]): it counts for one or two [`Subject`]s, each by one
//!    statement whose WHERE repeats that the time for it has come. However many arrive at once at however many nodes,
//!    no more get through than there are.
//! 2. The password is hashed, or the code compared, with no row locked.
//! 3. A right one is **given back** ([`Try::was_right`]). A wrong one has been counted already, and so has one whose
//!    server died meanwhile.
//!
//! A right try takes away nothing but itself: somebody who has an account can't clear what they did to others', and
//! nobody gains tries by waiting for its owner to sign in. What was counted is forgotten by and by instead.
//!
//! `docs/security.md` has the sums.

mod store;

use std::net::IpAddr;
use std::time::Duration;

use crate::http::client_address::subscriber;
use crate::ids::{OrganizationId, UserId};
use crate::secrets::{Keyring, Purpose};

pub use store::{Delay, Reservation, Try, reserve, sweep};

/// The random part of a known browser's cookie.
pub type KnownBrowserId = [u8; 16];

/// Whom a try counts for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The password of whoever has this e-mail address in an organization, if anybody has.
    Account {
        /// The organization.
        organization: OrganizationId,
        /// The address in lower case, as PostgreSQL folds it.
        email: &'a str,
    },
    /// Passwords from one network: an IPv4 address, or a /64 of IPv6.
    Network(IpAddr),
    /// The password of one account, from a browser in which it was right before.
    KnownBrowser(KnownBrowserId),
    /// The password of somebody who is signed in and wants another.
    OwnPassword(UserId),
    /// New recovery codes of an account while they are made. Nothing is guessed, but much is hashed.
    NewRecoveryCodes(UserId),
    /// The second factor of an account.
    SecondFactor(UserId),
    /// The second factor of one account, from a browser in which it was proven before.
    SecondFactorInKnownBrowser(KnownBrowserId),
    /// Setup links from one network. One is 256 bits of chance: what is kept down is the work, and the lines in the audit.
    SetupLink(IpAddr),
}

/// How many tries there are, and how fast they are forgotten.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// So many tries come without a delay. After them the next one waits 1 s, then 2 s, 4 s, …
    free: u32,
    /// … and so many seconds at most.
    longest_delay: u32,
    /// One try is forgotten in so many seconds.
    forgotten_in: u32,
}

/// A person mistypes twice, remembers an older password, and is through.
const PASSWORD: Allowance = Allowance { free: 5, longest_delay: 15 * 60, forgotten_in: 3600 };

/// Behind one address may be an office: many people, each with a mistake now and then.
const NETWORK: Allowance = Allowance { free: 100, longest_delay: 15 * 60, forgotten_in: 60 };

/// Six digits are guessed sooner than a password, and who comes this far has the password.
const SECOND_FACTOR: Allowance = Allowance { free: 5, longest_delay: 3600, forgotten_in: 4 * 3600 };

/// Somebody clicks twice. Who clicks more often waits until the first are done; who hangs up, a minute for each.
const IN_THE_MAKING: Allowance = Allowance { free: 3, longest_delay: 60, forgotten_in: 60 };

impl Allowance {
    /// The level from which the delay is the longest. More is not counted, so that it is forgotten in hours.
    const fn most(self) -> u32 {
        self.free + self.longest_delay.next_power_of_two().ilog2()
    }
}

impl Subject<'_> {
    const fn allowance(self) -> Allowance {
        match self {
            Self::Account { .. } | Self::KnownBrowser(_) | Self::OwnPassword(_) => PASSWORD,
            Self::Network(_) | Self::SetupLink(_) => NETWORK,
            Self::NewRecoveryCodes(_) => IN_THE_MAKING,
            Self::SecondFactor(_) | Self::SecondFactorInKnownBrowser(_) => SECOND_FACTOR,
        }
    }

    /// As the audit names it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Account { .. } | Self::OwnPassword(_) | Self::NewRecoveryCodes(_) | Self::SecondFactor(_) => {
                "account"
            }
            Self::Network(_) | Self::SetupLink(_) => "network",
            Self::KnownBrowser(_) | Self::SecondFactorInKnownBrowser(_) => "browser",
        }
    }

    /// As it is stored. Under another installation's secret counting begins anew.
    fn mac(self, keyring: &Keyring) -> [u8; 32] {
        let mac = |parts: &[&[u8]]| keyring.mac(Purpose::Attempt, parts);
        match self {
            Self::Account { organization, email } => mac(&[b"account", organization.0.as_bytes(), email.as_bytes()]),
            Self::Network(ip) => mac(&[b"network", subscriber(ip).to_string().as_bytes()]),
            Self::KnownBrowser(id) => mac(&[b"known browser", &id]),
            Self::OwnPassword(user) => mac(&[b"own password", user.0.as_bytes()]),
            Self::NewRecoveryCodes(user) => mac(&[b"new recovery codes", user.0.as_bytes()]),
            Self::SecondFactor(user) => mac(&[b"second factor", user.0.as_bytes()]),
            Self::SecondFactorInKnownBrowser(id) => mac(&[b"second factor in known browser", &id]),
            Self::SetupLink(ip) => mac(&[b"setup link", subscriber(ip).to_string().as_bytes()]),
        }
    }
}

/// Whole seconds, the last one begun counting as one.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most tries of one day, however they are spread over it: those that find less than the longest delay add a whole
    /// one to the level, which can only rise to the top and as far as it fell; the others wait for that long.
    fn in_a_day(allowance: Allowance, at_first: u32) -> u32 {
        const DAY: u32 = 24 * 3600;
        at_first + DAY / allowance.forgotten_in + DAY / allowance.longest_delay + 1
    }

    #[test]
    fn the_sums_of_the_documentation_are_right() {
        assert_eq!((PASSWORD.most(), NETWORK.most(), SECOND_FACTOR.most()), (15, 110, 17));
        let first_day = |allowance: Allowance| in_a_day(allowance, allowance.most());
        assert_eq!(first_day(PASSWORD), 136);
        assert_eq!(first_day(NETWORK), 1647);
        assert_eq!(first_day(SECOND_FACTOR), 48);
        assert_eq!(in_a_day(SECOND_FACTOR, 0), 31);
        // Three of a million codes are good at any time.
        let of_a_million = |tries: u32| f64::from(tries) * 3e-6;
        assert!(of_a_million(48) < 1.5e-4 && of_a_million(31) < 1e-4 && of_a_million(17 + 365 * 31) < 0.035);
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
        assert_eq!(seconds(Duration::from_millis(2001)), 3);
    }
}
