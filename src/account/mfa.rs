//! A second factor: at the beginning of a visit, and once more before something that a thief would like.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::audit;
use crate::browser;
use crate::http::client_address::Caller;
use crate::mfa::totp;
use crate::pages::Pages;
use crate::pages::answer::{Form, PageError};
use crate::pages::factor::{Mfa, MfaError, Occasion};
use crate::pages::second_factor::{self, Method, Refused, Setup, Try};
use crate::postgres::PgConnection;

use super::visit::{Arrival, Guarded, Step, Visit};

/// What the page reads of its address. Other parameters are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    next: Option<String>,
}

/// Shows the challenge, or the enrolment to who must have a factor and has none.
pub async fn show(
    Arrival { pages, guest, .. }: Arrival,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.visit(&mut conn, &pages).await?;
    let next = parameters.ok().and_then(|Query(parameters)| Guarded::read(&parameters.next?));
    match asked(&visit, next)? {
        Asked::Nothing => Ok(visit.lead_on(&pages)),
        Asked::Code => challenge(&mut conn, &pages, &visit, next, None).await,
        Asked::Enrolment => {
            let shown = shown_secret(&mut conn, &pages, &visit).await?;
            enrolment(&pages, &visit, &shown, Occasion::Required, None)
        }
    }
}

/// Takes a code.
pub async fn submit(Arrival { pages, caller, guest }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.visit(&mut conn, &pages).await?;
    let fields = form.of(&pages, &visit.visitor, visit.about())?;
    let typed = fields.get("code").unwrap_or_default().trim();
    let next = fields.get("next").and_then(Guarded::read);
    match asked(&visit, next)? {
        Asked::Nothing => Ok(visit.lead_on(&pages)),
        Asked::Enrolment => enrol(conn, &pages, &caller, &visit, typed).await,
        Asked::Code if typed.is_empty() => {
            challenge(&mut conn, &pages, &visit, next, Some(MfaError::Totp(second_factor::EMPTY))).await
        }
        Asked::Code => {
            drop(conn);
            take(&pages, &caller, &guest.headers, &visit, next, typed).await
        }
    }
}

/// Takes the code of a factor that there is, without a connection in hand at first: hashing takes long.
async fn take(
    pages: &Pages,
    caller: &Caller,
    headers: &HeaderMap,
    visit: &Visit,
    next: Option<Guarded>,
    typed: &str,
) -> Result<Response, PageError> {
    let attempt = match Try::begin(&pages.installation, headers, visit.account()?.user.id, typed).await? {
        Ok(attempt) => attempt,
        Err(delayed) => return refused(pages, caller, visit, next, &delayed).await,
    };
    let mut tx = pages.installation.pool.begin().await?;
    if !attempt.spend(&mut tx, &pages.installation).await? {
        drop(tx);
        return refused(pages, caller, visit, next, &attempt.refused()).await;
    }
    note(&mut tx, pages, caller, visit, attempt.method).await?;
    tx.commit().await?;
    let answer = visit.lead_to(pages, &next.map_or(String::new(), |page| format!("/{}", page.as_str())));
    Ok(attempt.remembered(&pages.installation, answer))
}

/// Notes that a code gained nothing, and asks for another.
async fn refused(
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    next: Option<Guarded>,
    refused: &Refused,
) -> Result<Response, PageError> {
    let event = visit.event(pages, audit::Kind::MfaFailed, caller);
    refused.note(&pages.installation, event, Some("account")).await?;
    let csrf_token = visit.csrf_token(pages, visit.about());
    let frame = visit.frame(pages, &csrf_token);
    let next = next.map(Guarded::as_str);
    let page = Mfa { frame, why: None, error: None, development_code: None, recovery: true, next };
    let mut conn = pages.installation.pool.acquire().await?;
    refused.challenge(&mut conn, &pages.installation, visit.account()?.user.id, page).await
}

/// What this page asks for.
enum Asked {
    /// Nothing: it isn't its turn.
    Nothing,
    /// A code.
    Code,
    /// Setting up a factor.
    Enrolment,
}

fn asked(visit: &Visit, next: Option<Guarded>) -> Result<Asked, PageError> {
    Ok(match visit.step {
        Step::Mfa if !visit.account()?.is_enrolled() => Asked::Enrolment,
        Step::Mfa => Asked::Code,
        Step::Home if next.is_some() && visit.account()?.is_enrolled() => Asked::Code,
        Step::SignIn | Step::Home => Asked::Nothing,
    })
}

/// Notes a proof of whoever is signed in here.
pub async fn note(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    method: Method,
) -> Result<(), PageError> {
    let (browser, user) = (visit.browser()?.id, visit.account()?.user.id);
    let now = pages.installation.clock.now();
    browser::store::note_mfa(conn, browser, user, now, &method.amr()).await?;
    visit
        .event(pages, audit::Kind::MfaPassed, caller)
        .detail(serde_json::json!({ "method": method.as_str(), "at": "account" }))
        .append(conn)
        .await?;
    Ok(())
}

/// Takes the first code of a first factor, and shows the recovery codes, once.
pub async fn enrol(
    mut conn: PoolConnection<Postgres>,
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    typed: &str,
) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let user = visit.account()?.user.id;
    let occasion = if visit.step == Step::Mfa { Occasion::Required } else { Occasion::Chosen };
    let shown = shown_secret(&mut conn, pages, visit).await?;
    let now = installation.clock.now();
    let Some(step) = shown.step_of(typed, now) else {
        return wrong_first(&mut conn, pages, caller, visit, (&shown, typed), occasion).await;
    };
    drop(conn);
    let codes = second_factor::draw_recovery_codes(installation, user).await?;
    let mut tx = installation.pool.begin().await?;
    if !browser::store::hold_alone(&mut tx, visit.browser()?.id, user).await? {
        return Ok(visit.lead_to(pages, "/sign-in"));
    }
    // Somebody else set one up meanwhile, in another browser: that one is asked for.
    if !totp::enrol(&mut tx, &installation.keyring, user, &shown, step, now).await? {
        return Ok(visit.lead_to(pages, ""));
    }
    visit
        .event(pages, audit::Kind::Enrolled, caller)
        .detail(serde_json::json!({ "method": "totp", "at": "account" }))
        .append(&mut tx)
        .await?;
    let codes = codes.give(&mut tx, user).await?;
    note(&mut tx, pages, caller, visit, Method::Totp).await?;
    tx.commit().await?;
    let csrf_token = visit.csrf_token(pages, visit.about());
    let then = if occasion == Occasion::Required { "" } else { "/security" };
    Ok(second_factor::recovery_codes(visit.frame(pages, &csrf_token), &codes, occasion, then))
}

/// The page that shows the secret once more, after a wrong code.
pub async fn wrong_first(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visit: &Visit,
    (shown, typed): (&totp::Enrolment, &str),
    occasion: Occasion,
) -> Result<Response, PageError> {
    let failed = visit.event(pages, audit::Kind::MfaFailed, caller);
    failed.detail(serde_json::json!({ "method": "enrolment", "at": "account" })).append(conn).await?;
    enrolment(pages, visit, shown, occasion, Some(second_factor::first_refused(typed)))
}

/// The secret that this browser is shown.
pub async fn shown_secret(conn: &mut PgConnection, pages: &Pages, visit: &Visit) -> Result<totp::Enrolment, PageError> {
    let (browser, user) = (visit.browser()?.id, &visit.account()?.user);
    let issuer = &visit.organization.name;
    Ok(totp::enrolment(conn, &pages.installation, browser, user.id, user.label(), issuer).await?)
}

/// The page that shows it.
pub fn enrolment(
    pages: &Pages,
    visit: &Visit,
    shown: &totp::Enrolment,
    occasion: Occasion,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let csrf_token = visit.csrf_token(pages, visit.about());
    let frame = visit.frame(pages, &csrf_token);
    let setup = Setup { frame, account: visit.account()?.user.label(), occasion, carried: &[], error };
    second_factor::enrolment(&pages.installation, setup, shown)
}

async fn challenge(
    conn: &mut PgConnection,
    pages: &Pages,
    visit: &Visit,
    next: Option<Guarded>,
    error: Option<MfaError<'_>>,
) -> Result<Response, PageError> {
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let csrf_token = visit.csrf_token(pages, visit.about());
    let frame = visit.frame(pages, &csrf_token);
    let next = next.map(Guarded::as_str);
    let page = Mfa { frame, why: None, error, development_code: None, recovery: true, next };
    second_factor::challenge(conn, &pages.installation, visit.account()?.user.id, page, status).await
}
