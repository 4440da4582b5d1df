//! Where a person stands on the walk from the code to the decision.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection as _;

use crate::audit;
use crate::browser;
use crate::browser::csrf::{self, About};
use crate::browser::visitor::{BrowserSession, Visitor};
use crate::device;
use crate::device::grant::{Approval, Grant, MfaProof, State};
use crate::directory::fresh_proof::Factor;
use crate::directory::known::Compared;
use crate::directory::organization::Status;
use crate::directory::service::Service;
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer::{self, PageError};
use crate::pages::frame::{Door, Frame};
use crate::pages::message::{Message, Trouble};
use crate::pages::signed_in::Account;
use crate::postgres::PgConnection;

use super::pages::Outcome;
use super::proof::{self, Asked};

/// What comes next. There is no other order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody is signed in to the organization here, or not lately enough.
    SignIn,
    /// A second factor is missing, or one of the kind and the age that are asked.
    Mfa,
    /// The person may decide.
    Confirm,
    /// It is decided.
    Done(Outcome),
}

impl Step {
    /// The page of this step.
    pub const fn path(self) -> &'static str {
        match self {
            Self::SignIn => "/activate/sign-in",
            Self::Mfa => "/activate/mfa",
            Self::Confirm => "/activate/confirm",
            Self::Done(_) => "/activate/done",
        }
    }
}

/// A browser on its way with a device login that it claimed.
pub struct Walk {
    /// The browser.
    pub visitor: Visitor,
    /// Its session.
    pub browser: BrowserSession,
    /// The device login.
    pub grant: Grant,
    /// What wants to act as the person.
    pub service: Arc<Service>,
    /// Who is signed in.
    pub account: Option<Account>,
    /// What comes next.
    pub step: Step,
    host: String,
}

impl Walk {
    /// Finds out where this browser stands. Without a claimed code it is led to the first page.
    pub async fn resume(conn: &mut PgConnection, pages: &Pages, headers: &HeaderMap) -> Result<Self, PageError> {
        let visitor = Visitor::recognize(conn, &pages.installation, headers).await?;
        Self::of(conn, pages, visitor).await
    }

    /// Finds out where a recognized browser stands.
    pub async fn of(conn: &mut PgConnection, pages: &Pages, visitor: Visitor) -> Result<Self, PageError> {
        let to_the_start = || PageError::from(pages.lead_to("/activate"));
        let grant = visitor.session.and_then(|browser| browser.grant_id).ok_or_else(to_the_start)?;
        let grant = device::store::by_id(conn, grant).await?.ok_or_else(to_the_start)?;
        Self::with(conn, pages, visitor, grant).await
    }

    /// Finds out where a recognized browser stands with a device login.
    pub async fn with(
        conn: &mut PgConnection,
        pages: &Pages,
        visitor: Visitor,
        grant: Grant,
    ) -> Result<Self, PageError> {
        let to_the_start = || PageError::from(pages.lead_to("/activate"));
        let browser = visitor.session.filter(|browser| grant.is_claimed_by(browser.id)).ok_or_else(to_the_start)?;
        let service = pages.services.by_id(conn, grant.service_id).await?.ok_or_else(to_the_start)?;
        let account = Account::signed_in(conn, browser.id, grant.organization_id).await?;
        let host = pages.installation.public_url.host();
        let now = pages.installation.clock.now();
        let step = next_step(&grant, &service, account.as_ref(), now);
        let walk = Self { visitor, browser, grant, service, account, step, host };
        if matches!(walk.step, Step::Done(_)) {
            return Ok(walk);
        }
        if walk.service.organization_status == Status::Suspended {
            return Err(walk.trouble(pages, StatusCode::FORBIDDEN, Trouble::Suspended).into());
        }
        if !walk.service.device_login {
            return Err(walk.trouble(pages, StatusCode::FORBIDDEN, Trouble::Unavailable).into());
        }
        if walk.grant.is_expired(now) {
            return Err(walk.trouble(pages, StatusCode::GONE, Trouble::Expired).into());
        }
        walk.with_recent_proof(conn, pages, now).await
    }

    /// Lets a recent second factor of this browser serve, where the service allows it.
    async fn with_recent_proof(
        mut self,
        conn: &mut PgConnection,
        pages: &Pages,
        now: DateTime<Utc>,
    ) -> Result<Self, PageError> {
        let (Step::Mfa, Some(account), Some(age)) = (self.step, &self.account, self.service.mfa_max_age) else {
            return Ok(self);
        };
        let oldest = now - TimeDelta::from_std(age).unwrap_or_default();
        if let Some((at, amr)) = account.sign_in.mfa.clone().filter(|(at, _)| *at >= oldest) {
            let proof = MfaProof { user_id: account.user.id, at, amr, borrowed: true };
            let counts = Asked::of(&self.grant, &self.service, account, now).counts(&proof);
            if pages.services.compare(conn, &self.service).await? == Compared::Changed {
                // How old a proof may be is known from memory alone. The next page knows better.
                return Ok(self);
            }
            let mut tx = conn.begin().await?;
            // The sign-in before the login, as everybody locks them: a decision in the caller's transaction holds both.
            let held = browser::store::hold(&mut tx, self.browser.id, account.user.id).await?;
            if held && counts && device::store::prove_mfa(&mut tx, self.grant.id, self.browser.id, &proof, now).await? {
                self.event(pages, audit::Kind::MfaPassed)
                    .detail(serde_json::json!({ "proven_at": at }))
                    .append(&mut tx)
                    .await?;
                tx.commit().await?;
                self.grant.mfa = Some(proof);
                self.step = next_step(&self.grant, &self.service, self.account.as_ref(), now);
            }
        }
        Ok(self)
    }

    /// Leads to the missing step unless it is this page's turn.
    pub fn at(self, pages: &Pages, step: Step) -> Result<Self, PageError> {
        if self.step == step { Ok(self) } else { Err(pages.lead_to(self.step.path()).into()) }
    }

    /// Lets nobody on to a second factor, nor to setting one up, to whom none would be of use.
    pub fn provable(self, pages: &Pages) -> Result<Self, PageError> {
        let max_age = self.asked(pages).filter(Asked::is_unprovable).and(self.max_age());
        let Some(max_age) = max_age else { return Ok(self) };
        let base = pages.installation.public_url.base_path();
        let trouble = Trouble::NoAuthenticator {
            asked: &proof::sign_in_of(max_age),
            account_href: &format!("{base}/account/{}", self.service.organization_slug),
        };
        Err(self.trouble(pages, StatusCode::FORBIDDEN, trouble).into())
    }

    /// How old a sign-in may be for this login; `None`: nobody asks.
    pub fn max_age(&self) -> Option<Duration> {
        proof::asked_of(&self.grant, &self.service).max_age
    }

    /// The account of a step that has one.
    pub fn account(&self) -> Result<&Account, PageError> {
        self.account.as_ref().ok_or_else(|| PageError::Fault("this step needs somebody signed in".into()))
    }

    /// What is asked of who is signed in, at this moment.
    pub fn asked(&self, pages: &Pages) -> Option<Asked<'_>> {
        let now = pages.installation.clock.now();
        self.account.as_ref().map(|account| Asked::of(&self.grant, &self.service, account, now))
    }

    /// Why somebody who is signed in has to sign in again; `None` for who isn't.
    pub fn why_sign_in(&self, pages: &Pages) -> Option<String> {
        let set_up = "Sign in once more: then you can set up an authenticator.";
        self.asked(pages).map(|asked| asked.why_sign_in().unwrap_or_else(|| set_up.to_owned()))
    }

    /// Whether nothing but an authenticator's code will do.
    pub fn wants_authenticator(&self, pages: &Pages) -> bool {
        self.asked(pages).is_some_and(|asked| asked.factor() == Some(Factor::Otp))
    }

    /// What the forms of this step are about.
    pub fn about(&self) -> About {
        let user = self.account.as_ref().map(|account| account.user.id);
        About { grant: Some(self.grant.id), user, ..About::default() }
    }

    /// The token of a form beside which this stands.
    pub fn csrf_token_of(&self, pages: &Pages, shown: &str) -> String {
        csrf::token_of_shown(&pages.installation.keyring, &self.visitor, self.about(), shown)
    }

    /// The token of this step's forms.
    pub fn csrf_token(&self, pages: &Pages) -> String {
        csrf::token(&pages.installation.keyring, &self.visitor, self.about())
    }

    /// What surrounds this step's page.
    pub fn frame<'a>(&'a self, pages: &'a Pages, csrf_token: &'a str) -> Frame<'a> {
        Frame {
            door: Door::Activation,
            base: pages.installation.public_url.base_path(),
            host: &self.host,
            organization: Some(&self.service.organization_name),
            service: Some(&self.service.name),
            account: self.account.as_ref().map(|account| account.user.label()),
            csrf_token,
            request_id: None,
        }
    }

    /// A page that says what stands in the way.
    pub fn trouble(&self, pages: &Pages, status: StatusCode, trouble: Trouble<'_>) -> Response {
        let csrf_token = self.csrf_token(pages);
        // "Not you?" belongs to a step, and from here there is none to come back to.
        let frame = Frame { account: None, ..self.frame(pages, &csrf_token) };
        answer::render(status, &Message { frame, trouble })
    }

    /// An event of this walk.
    pub fn event(&self, pages: &Pages, kind: audit::Kind) -> audit::Event {
        let event = audit::Event::new(kind, &pages.installation.clock, &pages.installation.random)
            .of(self.grant.organization_id)
            .service(self.grant.service_id)
            .grant(self.grant.id);
        match &self.account {
            Some(account) => event.user(account.user.id),
            None => event,
        }
    }

    /// An event of this walk, caused by this request.
    pub fn event_by(&self, pages: &Pages, kind: audit::Kind, caller: &Caller) -> audit::Event {
        self.event(pages, kind).caller(caller)
    }
}

/// The one place that knows the order.
fn next_step(grant: &Grant, service: &Service, account: Option<&Account>, now: DateTime<Utc>) -> Step {
    if let Some(outcome) = outcome(&grant.state) {
        return Step::Done(outcome);
    }
    let Some(account) = account else { return Step::SignIn };
    let asked = Asked::of(grant, service, account, now);
    if !asked.is_sign_in_fresh() || (asked.is_unprovable() && asked.could_be_dated()) {
        return Step::SignIn;
    }
    if asked.factor().is_none() || asked.is_factor_proven() {
        return Step::Confirm;
    }
    // Who sets up a factor has signed in for this very login: a browser that was left signed in must not be enough to
    // make somebody else's authenticator the person's own. And where the provider proves the factor, it does so again.
    let for_this_login = account.sign_in.grant_id == Some(grant.id);
    if account.is_enrolled() || for_this_login { Step::Mfa } else { Step::SignIn }
}

/// What a login came to; `None`: it isn't decided.
pub fn outcome(state: &State) -> Option<Outcome> {
    match state {
        State::Denied { by_numbers: false } => Some(Outcome::Denied),
        State::Denied { by_numbers: true } => Some(Outcome::WrongNumbers),
        State::Approved(Approval { number: Some((number, _)), .. }) => Some(Outcome::Number(*number)),
        State::Approved(_) | State::Redeemed { .. } => Some(Outcome::Approved),
        State::Pending | State::Claimed => None,
    }
}
