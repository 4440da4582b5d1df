//! Signing in at an organization's own provider: out, and back once, about no device login.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, TimeDelta};

use crate::audit;
use crate::browser;
use crate::browser::store::NewSignIn;
use crate::browser::visitor::Visitor;
use crate::directory::organization;
use crate::directory::provider::{self, Kind, Provider};
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer::PageError;
use crate::pages::frame::Door;
use crate::pages::message::Trouble;
use crate::pages::sign_in::{PasswordForm, Return, is_followed, trouble};
use crate::upstream::admission::{self, AdmissionError};
use crate::upstream::round_trip::{self, Finished, Wanted};
use crate::upstream::{Identity, UpstreamError};
use crate::words;

use super::sign_in;
use super::visit::{Arrival, RECENT, Visit, nowhere};

/// So old may any sign-in at a provider be.
const ANY_AGE: TimeDelta = TimeDelta::days(365);

/// `GET /account/{organization}/sign-in/{provider}`: leads to the provider.
pub async fn start(
    Arrival { pages, caller, guest }: Arrival,
    Path((_, slug)): Path<(String, String)>,
) -> Result<Response, PageError> {
    if !is_followed(&guest.headers) {
        return Err(PageError::Trouble(StatusCode::FORBIDDEN, Trouble::StaleForm));
    }
    let mut tx = pages.installation.pool.begin().await?;
    let mut visit = guest.visit(&mut tx, &pages).await?.at_sign_in(&pages)?;
    if slug.contains('\0') {
        return Err(nowhere());
    }
    let provider = provider::by_slug(&mut tx, visit.organization.id, &slug).await?.ok_or_else(nowhere)?;
    if provider.kind == Kind::Password {
        return Ok(visit.lead_on(&pages));
    }
    let browser = visit.visitor.session(&mut tx, &pages.installation).await?;
    let trip = round_trip::start(&mut tx, &pages.installation, browser.id, &provider, None).await?;
    // Whatever age is asked, a provider then says it (OpenID Connect Core §2): without that nobody can set up a first factor.
    let once_more = visit.wants_recent(&pages);
    let max_age = if once_more { RECENT } else { ANY_AGE };
    let max_age = max_age.to_std().ok().filter(|_| provider.kind.dates_sign_ins());
    let trip = trip.wanting(Wanted { max_age, login: once_more });
    tx.commit().await?;
    let response = match pages.upstream.authorization_url(&pages.installation, &provider, &trip).await {
        Ok(url) => Redirect::to(url.as_str()).into_response(),
        Err(error) => failed(&pages, &caller, &visit, &provider, &error).await?,
    };
    Ok(pages.with_cookie(&visit.visitor, response))
}

/// `HEAD` of the same: somebody looks whether the link works, and no sign-in begins for that.
pub async fn look(State(pages): State<Pages>, Path((organization, _)): Path<(String, String)>) -> Response {
    pages.lead_to(&format!("{}/sign-in", Door::Account(Some(&organization))))
}

/// The person is back at the callback's address. `None`: not from a sign-in that began here.
pub async fn finish(pages: Pages, back: Return) -> Result<Option<Response>, PageError> {
    let installation = &pages.installation;
    let mut conn = installation.pool.acquire().await?;
    let visitor = Visitor::recognize(&mut conn, installation, &back.headers).await?;
    let Some(browser) = visitor.session else { return Ok(None) };
    let organization =
        round_trip::organization_without_grant(&mut conn, installation, browser.id, back.state()).await?;
    let Some(organization) = organization else { return Ok(None) };
    let organization = organization::by_id(&mut conn, organization).await?.ok_or_else(nowhere)?;
    let visit = Visit::of(&mut conn, &pages, visitor, organization).await?;
    let slug = if back.provider.contains('\0') { "" } else { &back.provider };
    let finished = round_trip::finish(&mut conn, installation, browser.id, slug, back.state()).await?;
    let Some(finished) = finished else {
        // Used before, too old, or another provider's. Who comes back twice is led on.
        return Ok(Some(visit.lead_on(&pages)));
    };
    let provider = provider::by_id(&mut conn, finished.provider_id).await?;
    let provider = provider.ok_or_else(|| PageError::Fault("a round trip of no provider".into()))?;
    drop(conn);
    let answer = match pages.upstream.identity(installation, &provider, &finished.round_trip, &back.callback).await {
        Ok(identity) => admit(&pages, &back.caller, visit, &provider, (&identity, &finished)).await?,
        Err(error) => failed(&pages, &back.caller, &visit, &provider, &error).await?,
    };
    Ok(Some(answer))
}

/// Makes an identity a user who is signed in here, or says why not.
async fn admit(
    pages: &Pages,
    caller: &Caller,
    visit: Visit,
    provider: &Provider,
    (identity, finished): (&Identity, &Finished),
) -> Result<Response, PageError> {
    let now = pages.installation.clock.now();
    let proven_at = finished.proven_at(identity.auth_time, now);
    let recent = proven_at.is_some_and(|at| at >= now - RECENT);
    if visit.wants_recent(pages) && provider.kind.dates_sign_ins() && !recent {
        return not_fresh(pages, caller, &visit, provider, proven_at.is_none()).await;
    }
    let mut tx = pages.installation.pool.begin().await?;
    let user = match admission::admit(&mut tx, &pages.installation, provider, identity).await {
        Ok(user) => user,
        Err(AdmissionError::Database(error)) => return Err(error.into()),
        Err(AdmissionError::Refused(refusal)) => {
            tx.rollback().await?;
            refused(pages, caller, &visit, provider, refusal.as_str()).await?;
            let base = pages.installation.public_url.base_path();
            let trouble = Trouble::Refused {
                provider: &provider.name,
                identity: identity.email.as_deref().or(identity.name.as_deref()),
                retry_href: &format!("{base}/account/{}/sign-in", visit.organization.slug),
            };
            return Ok(visit.trouble(pages, StatusCode::FORBIDDEN, trouble));
        }
    };
    let sign_in = NewSignIn {
        organization: visit.organization.id,
        user: user.id,
        provider: provider.id,
        auth_time: identity.auth_time.unwrap_or(now).min(now),
        proven_at,
        grant: None,
        amr: &identity.amr,
    };
    let mut visit = sign_in::signed_in(&mut tx, pages, caller, visit, provider, &sign_in).await?;
    if provider.trust_mfa && identity.second_factor {
        // As old as the sign-in over there: a proof of yesterday is none of today. Of which nobody says how old it is opens the
        // door, and is recent for nothing.
        let at = proven_at.unwrap_or(DateTime::UNIX_EPOCH);
        browser::store::note_mfa(&mut tx, visit.browser()?.id, user.id, at, &["mfa".to_owned()]).await?;
        visit
            .event(pages, audit::Kind::MfaPassed, caller)
            .detail(serde_json::json!({ "provider": provider.slug, "amr": identity.amr, "at": "account" }))
            .append(&mut tx)
            .await?;
        visit = Visit::of(&mut tx, pages, visit.visitor, visit.organization).await?;
    }
    tx.commit().await?;
    Ok(pages.with_cookie(&visit.visitor, visit.lead_on(pages)))
}

/// Somebody wants to set up a first factor, and the provider did not have them sign in for that, or doesn't say so.
async fn not_fresh(
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    provider: &Provider,
    undated: bool,
) -> Result<Response, PageError> {
    refused(pages, caller, visit, provider, "the sign-in at the provider is not known to be recent").await?;
    let trouble = Trouble::NotFresh {
        provider: &provider.name,
        asked: &format!("a sign-in of {}", words::last(RECENT.to_std().unwrap_or_default())),
        undated,
        retry_href: &sign_in::start_href(pages, visit, provider),
        others_href: &format!(
            "{}/account/{}/sign-in",
            pages.installation.public_url.base_path(),
            visit.organization.slug
        ),
    };
    Ok(visit.trouble(pages, StatusCode::FORBIDDEN, trouble))
}

/// A page for what went wrong on the way.
async fn failed(
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    provider: &Provider,
    error: &UpstreamError,
) -> Result<Response, PageError> {
    tracing::warn!(%error, organization = %visit.organization.slug, provider = %provider.slug, "an upstream sign-in failed");
    refused(pages, caller, visit, provider, &error.to_string()).await?;
    let (name, retry_href) = (provider.name.as_str(), sign_in::start_href(pages, visit, provider));
    let Some((status, trouble)) = trouble(error, name, &retry_href) else {
        let notice = format!("You did not sign in at {name}. Try again, or choose another way.");
        let mut conn = pages.installation.pool.acquire().await?;
        return sign_in::page(&mut conn, pages, visit, StatusCode::OK, PasswordForm::default(), Some(&notice)).await;
    };
    Ok(visit.trouble(pages, status, trouble))
}

async fn refused(
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    provider: &Provider,
    because: &str,
) -> Result<(), PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let detail = serde_json::json!({ "provider": provider.slug, "because": because, "at": "account" });
    Ok(visit.event(pages, audit::Kind::Refused, caller).detail(detail).append(&mut conn).await?)
}
