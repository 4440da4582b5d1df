//! A browser at an organization's account pages, and what it has to do first.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::audit;
use crate::browser::csrf::{self, About};
use crate::browser::visitor::{BrowserSession, Visitor};
use crate::directory::organization::{self, Organization, Status};
use crate::http::client_address::Caller;
use crate::ids::SessionId;
use crate::pages::Pages;
use crate::pages::answer::{self, PageError};
use crate::pages::frame::{Door, Frame};
use crate::pages::message::{Message, Trouble};
use crate::pages::signed_in::Account;
use crate::postgres::PgConnection;

/// How old a second factor may be where one is asked for once more.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// How old a sign-in may be that sets up a first factor: long enough to find an app and install it.
pub const RECENT: TimeDelta = TimeDelta::minutes(15);

/// What comes next. There is no other order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody is signed in to the organization here.
    SignIn,
    /// A second factor is missing.
    Mfa,
    /// The person is at home.
    Home,
}

/// A page that asks for a fresh second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// Setting up or replacing the authenticator.
    Authenticator,
    /// New recovery codes.
    RecoveryCodes,
    /// Another password.
    Password,
}

impl Guarded {
    /// The last segment of its address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticator => "authenticator",
            Self::RecoveryCodes => "recovery-codes",
            Self::Password => "password",
        }
    }

    /// The page of this segment. A link can lead to no other place.
    pub fn read(segment: &str) -> Option<Self> {
        [Self::Authenticator, Self::RecoveryCodes, Self::Password].into_iter().find(|page| page.as_str() == segment)
    }
}

/// A request at the pages of an organization: what every handler begins with.
pub struct Arrival {
    /// What the pages need.
    pub pages: Pages,
    /// Whose request it is.
    pub caller: Caller,
    /// Who comes, as far as the request tells.
    pub guest: Guest,
}

impl FromRequestParts<Pages> for Arrival {
    type Rejection = PathRejection;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, PathRejection> {
        let Ok(caller) = Caller::from_request_parts(parts, pages).await;
        let Path(Place { organization }) = Path::from_request_parts(parts, pages).await?;
        let guest = Guest { headers: parts.headers.clone(), organization };
        Ok(Self { pages: pages.clone(), caller, guest })
    }
}

/// What every address of an organization's pages holds.
#[derive(Deserialize)]
struct Place {
    organization: String,
}

/// Who comes to the pages of an organization, before anything is looked up.
pub struct Guest {
    /// The request's headers, with the cookie.
    pub headers: HeaderMap,
    organization: String,
}

impl Guest {
    /// Finds out where this browser stands at the organization.
    pub async fn visit(&self, conn: &mut PgConnection, pages: &Pages) -> Result<Visit, PageError> {
        let visitor = Visitor::recognize(conn, &pages.installation, &self.headers).await?;
        let organization = organization::by_slug(conn, &self.organization).await?.ok_or_else(nowhere)?;
        Visit::of(conn, pages, visitor, organization).await
    }

    /// A visit by somebody who has done what comes first; others are led to what they have to do.
    pub async fn at_home(&self, conn: &mut PgConnection, pages: &Pages) -> Result<Visit, PageError> {
        self.visit(conn, pages).await?.at(pages, Step::Home)
    }

    /// The same at a page that asks for a fresh second factor.
    pub async fn at_guarded(&self, conn: &mut PgConnection, pages: &Pages, page: Guarded) -> Result<Visit, PageError> {
        self.at_home(conn, pages).await?.freshly_proven(pages, page)
    }
}

/// A browser at the account pages of an organization.
pub struct Visit {
    /// The browser.
    pub visitor: Visitor,
    /// The organization.
    pub organization: Organization,
    /// Who is signed in.
    pub account: Option<Account>,
    /// What comes next.
    pub step: Step,
    host: String,
}

impl Visit {
    /// Finds out where a recognized browser stands.
    pub async fn of(
        conn: &mut PgConnection,
        pages: &Pages,
        visitor: Visitor,
        organization: Organization,
    ) -> Result<Self, PageError> {
        let account = match visitor.session {
            Some(browser) => Account::signed_in(conn, browser.id, organization.id).await?,
            None => None,
        };
        let host = pages.installation.public_url.host();
        let step = next_step(&organization, account.as_ref(), pages.installation.clock.now());
        let visit = Self { visitor, organization, account, step, host };
        if visit.organization.status == Status::Suspended {
            return Err(visit.trouble(pages, StatusCode::FORBIDDEN, Trouble::Suspended).into());
        }
        Ok(visit)
    }

    /// Leads to the missing step unless it is this page's turn.
    pub fn at(self, pages: &Pages, step: Step) -> Result<Self, PageError> {
        if self.step == step { Ok(self) } else { Err(self.lead_on(pages).into()) }
    }

    /// Leads on unless the person has to sign in, or has to do so once more because they want a first factor.
    pub fn at_sign_in(self, pages: &Pages) -> Result<Self, PageError> {
        let stays = self.step == Step::SignIn || self.wants_recent(pages);
        if stays { Ok(self) } else { Err(self.lead_on(pages).into()) }
    }

    /// Whether somebody who is signed in has to do so once more to set up a first factor.
    pub fn wants_recent(&self, pages: &Pages) -> bool {
        let now = pages.installation.clock.now();
        self.account.as_ref().is_some_and(|account| !account.is_enrolled() && !is_recent(account, now))
    }

    /// Leads to what comes next.
    pub fn lead_on(&self, pages: &Pages) -> Response {
        self.lead_to(
            pages,
            match self.step {
                Step::SignIn => "/sign-in",
                Step::Mfa => "/mfa",
                Step::Home => "",
            },
        )
    }

    /// Leads to one of this organization's account pages.
    pub fn lead_to(&self, pages: &Pages, page: &str) -> Response {
        pages.lead_to(&format!("{}{page}", self.door()))
    }

    /// Lets nobody on without a second factor of the last five minutes. Who has none sets one up after a recent sign-in.
    pub fn freshly_proven(self, pages: &Pages, page: Guarded) -> Result<Self, PageError> {
        let (account, now) = (self.account()?, pages.installation.clock.now());
        let fresh = account.sign_in.mfa.as_ref().is_some_and(|(at, _)| *at >= now - FRESH);
        if !account.is_enrolled() && page == Guarded::Authenticator && !is_recent(account, now) {
            Err(self.lead_to(pages, "/sign-in").into())
        } else if fresh || !account.is_enrolled() {
            Ok(self)
        } else {
            Err(self.lead_to(pages, &format!("/mfa?next={}", page.as_str())).into())
        }
    }

    /// The account of a step that has one.
    pub fn account(&self) -> Result<&Account, PageError> {
        self.account.as_ref().ok_or_else(|| PageError::Fault("this page needs somebody signed in".into()))
    }

    /// The browser session of a step that has one.
    pub fn browser(&self) -> Result<BrowserSession, PageError> {
        self.visitor.session.ok_or_else(|| PageError::Fault("this page needs a browser session".into()))
    }

    /// What the forms of this visit are about.
    pub fn about(&self) -> About {
        About { user: self.account.as_ref().map(|account| account.user.id), ..About::default() }
    }

    /// What the forms for one device are about.
    pub fn about_device(&self, device: SessionId) -> About {
        About { session: Some(device), ..self.about() }
    }

    /// The token of the forms about this.
    pub fn csrf_token(&self, pages: &Pages, about: About) -> String {
        csrf::token(&pages.installation.keyring, &self.visitor, about)
    }

    /// What surrounds a page. `csrf_token` is that of the page's forms.
    pub fn frame<'a>(&'a self, pages: &'a Pages, csrf_token: &'a str) -> Frame<'a> {
        Frame {
            door: self.door(),
            base: pages.installation.public_url.base_path(),
            host: &self.host,
            organization: Some(&self.organization.name),
            account: self.account.as_ref().map(|account| account.user.label()),
            csrf_token,
            ..Frame::default()
        }
    }

    /// A page that says what stands in the way.
    pub fn trouble(&self, pages: &Pages, status: StatusCode, trouble: Trouble<'_>) -> Response {
        let csrf_token = self.csrf_token(pages, self.about());
        answer::render(status, &Message { frame: self.frame(pages, &csrf_token), trouble })
    }

    /// An event of this visit, caused by this request.
    pub fn event(&self, pages: &Pages, kind: audit::Kind, caller: &Caller) -> audit::Event {
        let event = audit::Event::new(kind, &pages.installation.clock, &pages.installation.random)
            .of(self.organization.id)
            .caller(caller);
        match &self.account {
            Some(account) => event.user(account.user.id),
            None => event,
        }
    }

    fn door(&self) -> Door<'_> {
        Door::Account(Some(&self.organization.slug))
    }
}

/// There is no such organization, or no such device of this person.
pub fn nowhere() -> PageError {
    PageError::Trouble(StatusCode::NOT_FOUND, Trouble::NotFound)
}

/// Whether somebody proved a short while ago who they are: a browser that was left signed in, here or at their provider,
/// must not be enough to make somebody else's authenticator the person's own. Of a provider that never says when somebody
/// signed in there it can't be told; what counts is when they came back from it.
fn is_recent(account: &Account, now: DateTime<Utc>) -> bool {
    let sign_in = &account.sign_in;
    let came_back = (!sign_in.provider.dates_sign_ins()).then_some(sign_in.signed_in_at);
    sign_in.proven_at.or(came_back).is_some_and(|at| at >= now - RECENT)
}

/// The one place that knows the order.
fn next_step(organization: &Organization, account: Option<&Account>, now: DateTime<Utc>) -> Step {
    let Some(account) = account else { return Step::SignIn };
    if !account.needs_mfa(organization.mfa) || account.sign_in.mfa.is_some() {
        return Step::Home;
    }
    if account.is_enrolled() || is_recent(account, now) { Step::Mfa } else { Step::SignIn }
}
