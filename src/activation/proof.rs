//! What a login has to prove, and what of a person's proofs counts for it.
//!
//! Three ask for something: the policies on second factors, the service, and the scopes that the device asks for. The
//! strictest counts, and what was asked when the code was claimed stays asked. Ages are those of the moment; the SQL of the
//! approval (`proven_as_asked`) says the same of the moment of the decision.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::device::grant::{Grant, MfaProof};
use crate::directory::fresh_proof::{Factor, FreshProof};
use crate::directory::service::Service;
use crate::pages::signed_in::Account;
use crate::words;

/// What service, scopes and the grant itself ask.
#[must_use]
pub fn asked_of(grant: &Grant, service: &Service) -> FreshProof {
    service.asks_to_prove(&grant.scopes).and(grant.fresh_proof)
}

/// Whether something that was proven at `at` is fresh enough for a login. Zero is since its code was claimed.
#[must_use]
pub fn is_fresh(max_age: Duration, grant: &Grant, at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    if max_age.is_zero() {
        return grant.claimed_at.is_some_and(|claimed_at| at >= claimed_at);
    }
    TimeDelta::from_std(max_age).is_ok_and(|max_age| at >= now - max_age)
}

/// What is asked of somebody who is signed in, for one login, at one moment.
pub struct Asked<'a> {
    grant: &'a Grant,
    service: &'a Service,
    account: &'a Account,
    needed: FreshProof,
    now: DateTime<Utc>,
}

impl<'a> Asked<'a> {
    /// Of this account for this grant.
    pub fn of(grant: &'a Grant, service: &'a Service, account: &'a Account, now: DateTime<Utc>) -> Self {
        Self { grant, service, account, needed: asked_of(grant, service), now }
    }

    /// Whether they signed in lately enough. Where their provider doesn't say when they did, nobody can tell, and an
    /// authenticator has to make up for it.
    pub fn is_sign_in_fresh(&self) -> bool {
        let (Some(max_age), Some(at)) = (self.needed.max_age, self.account.sign_in.proven_at) else { return true };
        let for_this = !max_age.is_zero() || self.account.sign_in.grant_id == Some(self.grant.id);
        for_this && is_fresh(max_age, self.grant, at, self.now)
    }

    /// The second factor that they have to prove; `None`: none.
    pub fn factor(&self) -> Option<Factor> {
        if self.is_undated() {
            return Some(Factor::Otp);
        }
        let by_policy = self.account.needs_mfa(self.service.mfa).then_some(Factor::Mfa);
        self.needed.factor.or(by_policy)
    }

    /// Whether they have proven it for this login, as it is asked.
    pub fn is_factor_proven(&self) -> bool {
        self.grant.mfa.as_ref().is_some_and(|proof| self.counts(proof))
    }

    /// Whether a proof of a second factor is one of theirs, of the kind and the age that are asked.
    pub fn counts(&self, proof: &MfaProof) -> bool {
        let kind = self.factor() != Some(Factor::Otp) || proof.amr.iter().any(|method| method == "otp");
        let fresh = self.needed.max_age.is_none_or(|max_age| {
            is_fresh(max_age, self.grant, proof.at, self.now) && (!max_age.is_zero() || !proof.borrowed)
        });
        proof.user_id == self.account.user.id && kind && fresh && !self.is_unprovable()
    }

    /// Why they have to sign in although they are signed in; `None`: they don't.
    pub fn why_sign_in(&self) -> Option<String> {
        let max_age = self.needed.max_age.filter(|_| !self.is_sign_in_fresh())?;
        let asks = self.who_asks(|asked| asked.max_age == Some(max_age));
        Some(format!("{asks} asks for {}. Sign in again.", sign_in_of(max_age)))
    }

    /// Why they have to prove a second factor, where that isn't what the policies ask of everybody.
    pub fn why_factor(&self) -> Option<String> {
        let asks = if self.is_undated() {
            let asks = self.who_asks(|asked| asked.max_age == self.needed.max_age);
            return Some(format!(
                "{asks} asks for a recent sign-in, and your provider doesn’t say when you signed in there. \
                 A code of your authenticator takes its place."
            ));
        } else if self.needed.factor.is_some() {
            self.who_asks(|asked| asked.factor == self.needed.factor)
        } else if self.needed.max_age.is_some() && self.grant.mfa.is_some() {
            self.who_asks(|asked| asked.max_age == self.needed.max_age)
        } else {
            return None;
        };
        let now = self.needed.max_age.map(|max_age| {
            if max_age.is_zero() { ", for this device".to_owned() } else { format!(" in {}", words::last(max_age)) }
        });
        Some(format!("{asks} asks you to verify that it is you{}.", now.unwrap_or_default()))
    }

    /// Whether a recent sign-in is asked, and nobody says how recent theirs is.
    fn is_undated(&self) -> bool {
        self.needed.max_age.is_some() && self.account.sign_in.proven_at.is_none()
    }

    /// Whether nothing that they do on this walk can prove what is asked: nobody says how recent their sign-in is, and the
    /// authenticator that would make up for it wasn't theirs when the code was claimed. One that was set up since may be of
    /// whoever sits there.
    pub fn is_unprovable(&self) -> bool {
        let (enrolled_at, claimed_at) = (self.account.enrolled_at, self.grant.claimed_at);
        let before = enrolled_at.zip(claimed_at).is_some_and(|(enrolled_at, claimed_at)| enrolled_at <= claimed_at);
        self.is_undated() && !before
    }

    /// Whether another sign-in at the same provider would help them.
    pub fn could_be_dated(&self) -> bool {
        self.account.sign_in.provider.dates_sign_ins()
    }

    /// The words of the scope that asks for something, or the service's name.
    fn who_asks(&self, asks: impl Fn(FreshProof) -> bool) -> String {
        let mut scopes = self.service.scopes.iter().filter(|scope| self.grant.scopes.contains(&scope.name));
        match scopes.find(|scope| asks(scope.fresh_proof)) {
            Some(scope) if !asks(self.service.fresh_proof) => format!("“{}”", scope.text),
            _ => self.service.name.clone(),
        }
    }
}

/// The sign-in that an age asks for, in words.
#[must_use]
pub fn sign_in_of(max_age: Duration) -> String {
    if max_age.is_zero() {
        return "a sign-in for this very device".to_owned();
    }
    format!("a sign-in of {}", words::last(max_age))
}
