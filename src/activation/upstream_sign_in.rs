//! Step 2 at an organization's own provider: out, and back once.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::audit;
use crate::browser::store::NewSignIn;
use crate::browser::visitor::Visitor;
use crate::device;
use crate::device::codes::UserCode;
use crate::device::grant::MfaProof;
use crate::directory::provider::{self, Kind, Provider};
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer::PageError;
use crate::pages::message::Trouble;
use crate::pages::sign_in::{PasswordForm, is_followed, trouble};
use crate::upstream::admission::{self, AdmissionError};
use crate::upstream::round_trip;
use crate::upstream::{Callback, Identity, UpstreamError};

use super::code::{self, Outcome};
use super::sign_in;
use super::walk::{Step, Walk};

/// The slug of the organization that administers the installation.
const PLATFORM: &str = "platform";

/// What a link to a sign-in says.
#[derive(Deserialize)]
pub struct Link {
    org: Option<String>,
    service: Option<String>,
    /// From an organization's own activation page; ours has claimed the code already.
    user_code: Option<String>,
}

/// `GET /auth/{provider}?org=&service=&user_code=`: leads to the provider.
pub async fn start(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Query(link): Query<Link>,
) -> Result<Response, PageError> {
    if !is_followed(&headers) {
        return Err(PageError::Trouble(StatusCode::FORBIDDEN, Trouble::StaleForm));
    }
    let mut tx = pages.installation.pool.begin().await?;
    let mut visitor = Visitor::recognize(&mut tx, &pages.installation, &headers).await?;
    if let Some(typed) = &link.user_code {
        let code = UserCode::parse(typed);
        let outcome = match &code {
            Some(code) => code::claim(&mut tx, &pages, &caller, &mut visitor, code, false).await?,
            None => Outcome::NotValid,
        };
        let Outcome::Claimed(grant) = outcome else {
            tx.commit().await?;
            // The code page says what is wrong with a code, and takes another.
            let typed = serde_urlencoded::to_string([("user_code", typed)]).unwrap_or_default();
            return Ok(pages.lead_to(&format!("/activate?{typed}")));
        };
        visitor.session = visitor.session.map(|session| session.about(grant.id));
    }
    let walk = Walk::of(&mut tx, &pages, visitor).await?;
    let agrees = |given: &Option<String>, own: &str| given.as_deref().is_none_or(|given| given == own);
    if !agrees(&link.org, &walk.service.organization_slug) || !agrees(&link.service, &walk.service.slug) {
        return Err(walk.trouble(&pages, StatusCode::NOT_FOUND, Trouble::NotFound).into());
    }
    if walk.step != Step::SignIn {
        tx.commit().await?;
        return Ok(pages.with_cookie(&walk.visitor, pages.lead_to(walk.step.path())));
    }
    let Some(provider) = provider::by_slug(&mut tx, walk.grant.organization_id, &slug).await? else {
        return Err(walk.trouble(&pages, StatusCode::NOT_FOUND, Trouble::NotFound).into());
    };
    if provider.kind == Kind::Password {
        tx.commit().await?;
        return Ok(pages.with_cookie(&walk.visitor, pages.lead_to(Step::SignIn.path())));
    }
    let trip = round_trip::start(&mut tx, &pages.installation, walk.browser.id, &provider, Some(walk.grant.id)).await?;
    tx.commit().await?;
    let response = match pages.upstream.authorization_url(&pages.installation, &provider, &trip).await {
        Ok(url) => Redirect::to(url.as_str()).into_response(),
        Err(error) => failed(&pages, &caller, &walk, &provider, &error).await?,
    };
    Ok(pages.with_cookie(&walk.visitor, response))
}

/// `GET /auth/admin/{provider}?user_code=`: the same for the organization `platform`.
pub async fn start_for_platform(
    state: State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    slug: Path<String>,
    Query(link): Query<Link>,
) -> Result<Response, PageError> {
    start(state, caller, headers, slug, Query(Link { org: Some(PLATFORM.to_owned()), ..link })).await
}

/// `GET /auth/{provider}/callback`: the person is back.
pub async fn finish(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Query(callback): Query<Callback>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?;
    let state = callback.state.as_ref().map_or("", |state| state.expose());
    let finished = round_trip::finish(&mut conn, &pages.installation, walk.browser.id, &slug, state).await?;
    // A state of another browser, of another login, used before or too old. Who comes back twice is led on.
    let Some(finished) = finished.filter(|finished| finished.grant_id == Some(walk.grant.id)) else {
        if walk.step == Step::SignIn {
            let provider = provider::by_slug(&mut conn, walk.grant.organization_id, &slug).await?;
            let name = provider.as_ref().map_or("The provider", |provider| provider.name.as_str());
            let href = provider.as_ref().map(|provider| sign_in::start_href(&pages, &walk, provider));
            let retry_href = href.as_deref().unwrap_or("/activate/sign-in");
            let trouble = Trouble::Unusable { provider: name, retry_href };
            return Ok(walk.trouble(&pages, StatusCode::BAD_REQUEST, trouble));
        }
        return Ok(pages.lead_to(walk.step.path()));
    };
    let provider = provider::by_id(&mut conn, finished.provider_id).await?;
    let provider = provider.ok_or_else(|| PageError::Fault("a round trip of no provider".into()))?;
    drop(conn);
    match pages.upstream.identity(&pages.installation, &provider, &finished.round_trip, &callback).await {
        Ok(identity) => admit(&pages, &caller, walk, &provider, &identity).await,
        Err(error) => failed(&pages, &caller, &walk, &provider, &error).await,
    }
}

/// Makes an identity a user who is signed in here, or says why not.
async fn admit(
    pages: &Pages,
    caller: &Caller,
    walk: Walk,
    provider: &Provider,
    identity: &Identity,
) -> Result<Response, PageError> {
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
    let now = pages.installation.clock.now();
    let sign_in = NewSignIn {
        organization: walk.grant.organization_id,
        user: user.id,
        provider: provider.id,
        auth_time: identity.auth_time.unwrap_or(now).min(now),
        amr: &identity.amr,
    };
    let mut walk = sign_in::signed_in(&mut tx, pages, caller, walk, provider, &sign_in).await?;
    if provider.trust_mfa && identity.second_factor {
        let proof = MfaProof { user_id: user.id, at: now, amr: vec!["mfa".to_owned()] };
        if device::store::prove_mfa(&mut tx, walk.grant.id, walk.browser.id, &proof, now).await? {
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
