//! The state machine of a device grant.
//!
//! ```text
//! pending ──► claimed ──┬──► approved ──► redeemed
//!    │           │      └──► denied
//!    └───────────┴── its time passes: expired
//! ```

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use crate::directory::fresh_proof::FreshProof;
use crate::directory::user::Profile;
use crate::ids::{BrowserSessionId, GrantId, OrganizationId, ServiceId, SessionId, UserId};

use super::codes::Length;
use super::verification::Number;

/// How long after its end an expired code is still called expired, and not unknown.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);

/// How long a client may poll on after its tokens were sent: it may not have received them. Later, it is a replay.
const REPLAY_GRACE: TimeDelta = TimeDelta::seconds(10);

/// The longest a code can live: the longest lifetime that can be configured, and what an approval may add.
pub const LONGEST_LIFE: TimeDelta = TimeDelta::minutes(75);

/// A device login in progress.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Whose users may approve it.
    pub organization_id: OrganizationId,
    /// What wants to act as the person.
    pub service_id: ServiceId,
    /// Where it stands.
    pub state: State,
    /// The only browser that may act on it.
    pub claimed_by: Option<BrowserSessionId>,
    /// When it became that browser's.
    pub claimed_at: Option<DateTime<Utc>>,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// RFC 8707.
    pub resources: Vec<String>,
    /// RFC 9449: the key it is bound to.
    pub dpop_jkt: Option<String>,
    /// Seconds between polls.
    pub poll_interval: i16,
    /// How its user code is drawn.
    pub user_code_length: Length,
    /// What is stored of its user code.
    pub user_code_mac: Option<Vec<u8>>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ends, decided or not.
    pub expires_at: DateTime<Utc>,
    /// What asked for it.
    pub device: Device,
    /// The second factor proven for it.
    pub mfa: Option<MfaProof>,
    /// What had to be proven for it when it was claimed, whatever its service asks later.
    pub fresh_proof: FreshProof,
}

/// What is known of the requesting device.
#[derive(Clone, Debug)]
pub struct Device {
    /// What it calls itself: a claim.
    pub name: Option<String>,
    /// What its program calls itself: a claim.
    pub user_agent: Option<String>,
    /// Where it is.
    pub ip: IpAddr,
}

/// A second factor proven for one grant.
#[derive(Clone, Debug)]
pub struct MfaProof {
    /// Whose.
    pub user_id: UserId,
    /// When.
    pub at: DateTime<Utc>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// Whether it was for another login of the same browser.
    pub borrowed: bool,
}

/// Where a grant stands. Expiry is said by the clock.
#[derive(Clone, Debug)]
pub enum State {
    /// Nobody has typed the code.
    Pending,
    /// One browser may decide.
    Claimed,
    /// Tokens wait to be minted.
    Approved(Approval),
    /// The person said no; or the device didn't know the number that the page showed them.
    Denied {
        /// The latter.
        by_numbers: bool,
    },
    /// The tokens are out.
    Redeemed {
        /// When.
        at: DateTime<Utc>,
        /// What it became.
        session: SessionId,
    },
}

/// What a person approved.
#[derive(Clone, Debug)]
pub struct Approval {
    /// As whom the device will act.
    pub user_id: UserId,
    /// What tokens say of them.
    pub person: Profile,
    /// When they signed in.
    pub auth_time: DateTime<Utc>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// What they granted.
    pub scopes: Vec<String>,
    /// What the device has to send besides, and how often it was wrong; `None`: nothing.
    pub number: Option<(Number, i16)>,
}

/// What a poll is told.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// Not decided.
    Pending,
    /// Redeem it.
    Approved(&'a Approval),
    /// The person said no.
    Denied,
    /// Too late.
    Expired,
    /// So late that it isn't known any more.
    Forgotten,
    /// Redeemed a moment ago: perhaps the answer was lost.
    Redeemed(SessionId),
    /// Redeemed before: somebody else has the code.
    Replayed(SessionId),
}

impl Grant {
    /// What a poll at `now` is told (SPEC §2.3).
    #[must_use]
    pub fn answer(&self, now: DateTime<Utc>) -> Answer<'_> {
        let expired = now >= self.expires_at;
        match &self.state {
            State::Redeemed { at, session } if now - *at > REPLAY_GRACE => Answer::Replayed(*session),
            State::Redeemed { session, .. } => Answer::Redeemed(*session),
            _ if now - self.expires_at >= REMEMBERED => Answer::Forgotten,
            State::Denied { .. } => Answer::Denied,
            State::Pending | State::Claimed | State::Approved(_) if expired => Answer::Expired,
            State::Approved(approval) => Answer::Approved(approval),
            State::Pending | State::Claimed => Answer::Pending,
        }
    }

    /// Whether it is this browser's to decide, or was.
    #[must_use]
    pub fn is_claimed_by(&self, browser: BrowserSessionId) -> bool {
        self.claimed_by == Some(browser)
    }

    /// When its tokens were made.
    #[must_use]
    pub fn redeemed_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            State::Redeemed { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.expires_at
    }
}

/// Whether a code of this grant may still be alive, as far as can be told without the database.
#[must_use]
pub fn may_be_alive(grant: GrantId, now: DateTime<Utc>) -> bool {
    now - grant.asked_at() <= LONGEST_LIFE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn grant(state: State) -> Grant {
        Grant {
            id: GrantId::new(at(0), &[0; 10]),
            organization_id: uuid::Uuid::nil().into(),
            service_id: uuid::Uuid::nil().into(),
            state,
            claimed_by: None,
            claimed_at: None,
            scopes: vec![],
            resources: vec![],
            dpop_jkt: None,
            poll_interval: 5,
            user_code_length: Length::Eight,
            user_code_mac: None,
            created_at: at(0),
            expires_at: at(900),
            device: Device { name: None, user_agent: None, ip: [127, 0, 0, 1].into() },
            mfa: None,
            fresh_proof: FreshProof::default(),
        }
    }

    fn approved() -> State {
        State::Approved(Approval {
            user_id: uuid::Uuid::nil().into(),
            person: Profile { email: None, email_verified: false, name: String::new() },
            auth_time: at(0),
            amr: vec![],
            scopes: vec![],
            number: None,
        })
    }

    fn redeemed() -> State {
        State::Redeemed { at: at(100), session: uuid::Uuid::nil().into() }
    }

    #[test]
    fn a_poll_is_told_the_state_and_then_the_time() {
        let said = |state: State, seconds| format!("{:?}", grant(state).answer(at(seconds)));
        for open in [State::Pending, State::Claimed] {
            assert_eq!(said(open.clone(), 899), "Pending");
            assert_eq!(said(open.clone(), 900), "Expired");
            assert_eq!(said(open.clone(), 900 + 3599), "Expired");
            assert_eq!(said(open, 900 + 3600), "Forgotten");
        }
        assert!(said(approved(), 899).starts_with("Approved"));
        assert_eq!(said(approved(), 900), "Expired");
        assert_eq!(said(State::Denied { by_numbers: false }, 0), "Denied");
        assert_eq!(said(State::Denied { by_numbers: false }, 1000), "Denied");
        assert!(said(redeemed(), 110).starts_with("Redeemed"));
        assert!(said(redeemed(), 111).starts_with("Replayed"));
        assert!(said(redeemed(), 100_000).starts_with("Replayed"));
    }
}
