//! Step 2 at an organization's own provider: out, and back once.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use sqlx::Connection as _;

use crate::audit;
use crate::browser::store::NewSignIn;
use crate::browser::visitor::Visitor;
use crate::device;
use crate::device::codes::UserCode;
use crate::device::grant::MfaProof;
use crate::directory::provider::{self, Kind, Provider};
use crate::directory::service::{self, Service};
use crate::http::client_address::Caller;
use crate::ids::{GrantId, OrganizationId};
use crate::pages::Pages;
use crate::pages::answer::PageError;
use crate::pages::message::Trouble;
use crate::pages::sign_in::{PasswordForm, Return, is_followed, trouble};
use crate::postgres::PgConnection;
use crate::upstream::admission::{self, AdmissionError};
use crate::upstream::round_trip::{self, Finished, Wanted};
use crate::upstream::{Identity, UpstreamError};

use super::code::{self, Outcome};
use super::guess;
use super::walk::{Step, Walk};
use super::{proof, sign_in};

/// The slug of the organization that administers the installation.
const PLATFORM: &str = "platform";

/// What a link to a sign-in says.
#[derive(Deserialize)]
pub struct Link {
    org: Option<String>,
    service: Option<String>,
    /// From an organization's own activation page; ours has claimed the code already.
    user_code: Option<String>,
    /// `login`: the provider is to have the person sign in although they are signed in there.
    prompt: Option<String>,
}

impl Link {
    /// The same without what stands in it for nothing, as everywhere (RFC 6749 §3.1).
    fn without_blanks(self) -> Self {
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        Self {
            org: given(self.org),
            service: given(self.service),
            user_code: given(self.user_code),
            prompt: given(self.prompt),
        }
    }

    /// Whether the link is for this service.
    fn is_for(&self, service: &Service) -> bool {
        let agrees = |given: &Option<String>, own: &str| given.as_deref().is_none_or(|given| given == own);
        agrees(&self.org, &service.organization_slug) && agrees(&self.service, &service.slug)
    }
}

/// `GET /auth/{provider}?org=&service=&user_code=`: leads to the provider.
pub async fn start(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    link: Result<Query<Link>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(link) = link.map_err(not_understood)?;
    begin(&pages, &caller, &headers, &slug, &link.without_blanks()).await
}

/// `GET /auth/admin/{provider}?user_code=`: the same for the organization `platform`.
pub async fn start_for_platform(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    link: Result<Query<Link>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(link) = link.map_err(not_understood)?;
    let link = Link { org: Some(PLATFORM.to_owned()), ..link.without_blanks() };
    begin(&pages, &caller, &headers, &slug, &link).await
}

/// `HEAD /auth/{provider}`: somebody looks whether the link works, and no code is claimed for that.
pub async fn look(State(pages): State<Pages>) -> Response {
    pages.lead_to("/activate")
}

pub(super) fn not_understood(_: QueryRejection) -> PageError {
    PageError::Trouble(StatusCode::BAD_REQUEST, Trouble::NotFound)
}

async fn begin(
    pages: &Pages,
    caller: &Caller,
    headers: &HeaderMap,
    slug: &str,
    link: &Link,
) -> Result<Response, PageError> {
    if !is_followed(headers) {
        return Err(PageError::Trouble(StatusCode::FORBIDDEN, Trouble::StaleForm));
    }
    let mut conn = pages.installation.pool.acquire().await?;
    let mut visitor = Visitor::recognize(&mut conn, &pages.installation, headers).await?;
    if let Some(typed) = &link.user_code {
        let code = UserCode::parse(typed);
        if let Err(exhausted) = guess::try_code(&mut conn, pages, caller, &visitor, code.as_ref()).await? {
            return Ok(guess::refusal(pages, &visitor, exhausted, code.as_ref()));
        }
        let mut tx = conn.begin().await?;
        let claimed = claim(&mut tx, pages, caller, &mut visitor, slug, link, code.as_ref()).await?;
        tx.commit().await?;
        let Some(grant) = claimed else {
            // The code page says what is wrong with a code, and takes another.
            let typed = serde_urlencoded::to_string([("user_code", typed)]).unwrap_or_default();
            return Ok(pages.lead_to(&format!("/activate?{typed}")));
        };
        visitor.session = visitor.session.map(|session| session.about(grant));
    }
    let mut tx = conn.begin().await?;
    let walk = Walk::of(&mut tx, pages, visitor).await?;
    if !link.is_for(&walk.service) {
        return Err(walk.trouble(pages, StatusCode::NOT_FOUND, Trouble::NotFound).into());
    }
    if walk.step != Step::SignIn {
        tx.commit().await?;
        return Ok(pages.with_cookie(&walk.visitor, pages.lead_to(walk.step.path())));
    }
    let Some(provider) = known_provider(&mut tx, walk.grant.organization_id, slug).await? else {
        return Err(walk.trouble(pages, StatusCode::NOT_FOUND, Trouble::NotFound).into());
    };
    if provider.kind == Kind::Password {
        tx.commit().await?;
        return Ok(pages.with_cookie(&walk.visitor, pages.lead_to(Step::SignIn.path())));
    }
    let trip = round_trip::start(&mut tx, &pages.installation, walk.browser.id, &provider, Some(walk.grant.id)).await?;
    let max_age = proof::asked_of(&walk.grant, &walk.service).max_age;
    let trip = trip.wanting(Wanted { max_age, login: link.prompt.as_deref() == Some("login") });
    tx.commit().await?;
    // A provider may take its time: not with a connection in hand.
    drop(conn);
    let response = match pages.upstream.authorization_url(&pages.installation, &provider, &trip).await {
        Ok(url) => Redirect::to(url.as_str()).into_response(),
        Err(error) => failed(pages, caller, &walk, &provider, &error).await?,
    };
    Ok(pages.with_cookie(&walk.visitor, response))
}

/// Claims the code of a link from an organization's own page. A link that doesn't fit its code, or whose service wants
/// the code typed, claims nothing, and isn't told apart from one with a wrong code, not even by what it costs.
async fn claim(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visitor: &mut Visitor,
    slug: &str,
    link: &Link,
    code: Option<&UserCode>,
) -> Result<Option<GrantId>, PageError> {
    let installation = &pages.installation;
    let browser = visitor.session.map(|session| session.id);
    let macs = code.map(|code| code.macs(&installation.keyring)).unwrap_or_default();
    let found = device::store::by_user_code(conn, &macs, browser, installation.clock.now()).await?;
    let fitting = match &found {
        Some(grant) => {
            let service = service::by_id(conn, grant.service_id).await?.filter(|service| link.is_for(service));
            let provider = known_provider(conn, grant.organization_id, slug).await?;
            service.filter(|_| provider.is_some())
        }
        None => None,
    };
    let (Some(code), Some(service)) = (code, fitting) else {
        // The code that this browser holds already cost nothing, and is no guess.
        if found.is_none_or(|grant| grant.claimed_by.is_none()) {
            audit::Event::new(audit::Kind::GuessRefused, &installation.clock, &installation.random)
                .caller(caller)
                .append(conn)
                .await?;
        }
        return Ok(None);
    };
    if !service.prefill && service.activation_uri.is_none() {
        return Ok(None);
    }
    match code::claim(conn, pages, caller, visitor, code, false).await? {
        Outcome::Claimed(grant) => Ok(Some(grant.id)),
        Outcome::NotValid | Outcome::MustBeTyped => Ok(None),
    }
}

/// The organization's provider with this slug. What can be no slug is nobody's.
async fn known_provider(
    conn: &mut PgConnection,
    organization: OrganizationId,
    slug: &str,
) -> Result<Option<Provider>, sqlx::Error> {
    if !slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Ok(None);
    }
    provider::by_slug(conn, organization, slug).await
}

/// `GET /auth/{provider}/callback`: the person is back.
pub async fn finish(pages: Pages, back: Return) -> Result<Response, PageError> {
    let (caller, slug) = (&back.caller, back.provider.as_str());
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &back.headers).await?;
    let slug = if slug.contains('\0') { "" } else { slug };
    let finished = round_trip::finish(&mut conn, &pages.installation, walk.browser.id, slug, back.state()).await?;
    // A state of another browser, of another login, used before or too old. Who comes back twice is led on.
    let Some(finished) = finished.filter(|finished| finished.grant_id == Some(walk.grant.id)) else {
        if walk.step == Step::SignIn {
            let provider = known_provider(&mut conn, walk.grant.organization_id, slug).await?;
            let name = provider.as_ref().map_or("The provider", |provider| provider.name.as_str());
            let here = format!("{}{}", pages.installation.public_url.base_path(), Step::SignIn.path());
            let retry_href = provider.as_ref().map_or(here, |provider| sign_in::start_href(&pages, &walk, provider));
            let trouble = Trouble::Unusable { provider: name, retry_href: &retry_href };
            return Ok(walk.trouble(&pages, StatusCode::BAD_REQUEST, trouble));
        }
        return Ok(pages.lead_to(walk.step.path()));
    };
    let provider = provider::by_id(&mut conn, finished.provider_id).await?;
    let provider = provider.ok_or_else(|| PageError::Fault("a round trip of no provider".into()))?;
    drop(conn);
    match pages.upstream.identity(&pages.installation, &provider, &finished.round_trip, &back.callback).await {
        Ok(identity) => admit(&pages, caller, walk, &provider, (&identity, &finished)).await,
        Err(error) => failed(&pages, caller, &walk, &provider, &error).await,
    }
}

/// Makes an identity a user who is signed in here, or says why not.
async fn admit(
    pages: &Pages,
    caller: &Caller,
    walk: Walk,
    provider: &Provider,
    (identity, finished): (&Identity, &Finished),
) -> Result<Response, PageError> {
    let now = pages.installation.clock.now();
    let proven_at = finished.proven_at(identity.auth_time, now);
    if let Some(max_age) = walk.max_age() {
        // Whoever holds the browser can take `max_age` out of the address that leads to the provider, which may then say
        // nothing, and let them through. Asked for it, a provider has to say (OpenID Connect Core §2).
        let fresh =
            proven_at.map_or(!provider.kind.dates_sign_ins(), |at| proof::is_fresh(max_age, &walk.grant, at, now));
        if !fresh {
            return not_fresh(pages, caller, &walk, provider, (max_age, proven_at.is_none())).await;
        }
    }
    let mut tx = pages.installation.pool.begin().await?;
    let user = match admission::admit(&mut tx, &pages.installation, provider, identity).await {
        Ok(user) => user,
        Err(AdmissionError::Database(error)) => return Err(error.into()),
        Err(AdmissionError::Refused(refusal)) => {
            tx.rollback().await?;
            let mut conn = pages.installation.pool.acquire().await?;
            walk.event_by(pages, audit::Kind::Refused, caller)
                .detail(serde_json::json!({ "provider": provider.slug, "because": refusal.as_str() }))
                .append(&mut conn)
                .await?;
            let trouble = Trouble::Refused {
                provider: &provider.name,
                identity: identity.email.as_deref().or(identity.name.as_deref()),
                retry_href: &format!("{}{}", pages.installation.public_url.base_path(), Step::SignIn.path()),
            };
            return Ok(walk.trouble(pages, StatusCode::FORBIDDEN, trouble));
        }
    };
    let sign_in = NewSignIn {
        organization: walk.grant.organization_id,
        user: user.id,
        provider: provider.id,
        auth_time: identity.auth_time.unwrap_or(now).min(now),
        proven_at,
        grant: Some(walk.grant.id),
        amr: &identity.amr,
    };
    let mut walk = sign_in::signed_in(&mut tx, pages, caller, walk, provider, &sign_in).await?;
    if provider.trust_mfa && identity.second_factor {
        // As old as the sign-in over there: a proof of yesterday is none of today.
        let at = proven_at.unwrap_or(sign_in.auth_time);
        let proof = MfaProof { user_id: user.id, at, amr: vec!["mfa".to_owned()], borrowed: false };
        // It takes the place of none that is as good, and is noted where it is good enough.
        let useful = walk.asked(pages).is_some_and(|asked| !asked.is_factor_proven() && asked.counts(&proof));
        if useful && device::store::prove_mfa(&mut tx, walk.grant.id, walk.browser.id, &proof, now).await? {
            walk.event_by(pages, audit::Kind::MfaPassed, caller)
                .detail(serde_json::json!({ "provider": provider.slug, "amr": identity.amr }))
                .append(&mut tx)
                .await?;
            walk = Walk::of(&mut tx, pages, walk.visitor).await?;
        }
    }
    tx.commit().await?;
    Ok(pages.with_cookie(&walk.visitor, pages.lead_to(walk.step.path())))
}

/// The provider did not have the person sign in although that was asked of it, or doesn't say so: the link of the page insists.
async fn not_fresh(
    pages: &Pages,
    caller: &Caller,
    walk: &Walk,
    provider: &Provider,
    (max_age, undated): (Duration, bool),
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let because = if undated {
        "the provider did not say when the person signed in there"
    } else {
        "the sign-in at the provider is older than what is asked"
    };
    walk.event_by(pages, audit::Kind::Refused, caller)
        .detail(serde_json::json!({ "provider": provider.slug, "because": because }))
        .append(&mut conn)
        .await?;
    let trouble = Trouble::NotFresh {
        provider: &provider.name,
        asked: &proof::sign_in_of(max_age),
        undated,
        retry_href: &format!("{}&prompt=login", sign_in::start_href(pages, walk, provider)),
        others_href: &format!("{}{}", pages.installation.public_url.base_path(), Step::SignIn.path()),
    };
    Ok(walk.trouble(pages, StatusCode::FORBIDDEN, trouble))
}

/// A page for what went wrong on the way. The grant is as it was.
async fn failed(
    pages: &Pages,
    caller: &Caller,
    walk: &Walk,
    provider: &Provider,
    error: &UpstreamError,
) -> Result<Response, PageError> {
    tracing::warn!(%error, organization = %walk.service.organization_slug, provider = %provider.slug, "an upstream sign-in failed");
    let mut conn = pages.installation.pool.acquire().await?;
    walk.event_by(pages, audit::Kind::Refused, caller)
        .detail(serde_json::json!({ "provider": provider.slug, "because": error.to_string() }))
        .append(&mut conn)
        .await?;
    let (name, retry_href) = (provider.name.as_str(), sign_in::start_href(pages, walk, provider));
    let Some((status, trouble)) = trouble(error, name, &retry_href) else {
        let notice = format!("You did not sign in at {name}. Try again, or choose another way.");
        return sign_in::page(&mut conn, pages, walk, StatusCode::OK, PasswordForm::default(), Some(&notice)).await;
    };
    Ok(walk.trouble(pages, status, trouble))
}
