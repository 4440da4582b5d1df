//! Step 3: a second factor, or setting one up.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::audit;
use crate::browser;
use crate::device;
use crate::device::grant::MfaProof;
use crate::http::client_address::Caller;
use crate::mfa::totp;
use crate::pages::Pages;
use crate::pages::answer::{Form, PageError};
use crate::pages::factor::{Mfa, MfaError, Occasion};
use crate::pages::second_factor::{self, Method, Refused, Setup, Try};
use crate::postgres::PgConnection;

use super::walk::{Step, Walk};

/// Shows the challenge, or the enrolment to who has no factor yet.
pub async fn show(State(pages): State<Pages>, headers: HeaderMap) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?.at(&pages, Step::Mfa)?.provable(&pages)?;
    if walk.account()?.is_enrolled() {
        challenge(&mut conn, &pages, &walk, StatusCode::OK, None).await
    } else {
        enrolment(&pages, &walk, &shown_secret(&mut conn, &pages, &walk).await?, None)
    }
}

/// Takes a code.
pub async fn submit(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?.at(&pages, Step::Mfa)?.provable(&pages)?;
    let fields = form.of(&pages, &walk.visitor, walk.about())?;
    let typed = fields.get("code").unwrap_or_default().trim();
    if !walk.account()?.is_enrolled() {
        return enrol(conn, &pages, &caller, walk, typed).await;
    }
    if typed.is_empty() {
        return challenge(
            &mut conn,
            &pages,
            &walk,
            StatusCode::BAD_REQUEST,
            Some(MfaError::Totp(second_factor::EMPTY)),
        )
        .await;
    }
    // One that would prove nothing here is not used up.
    if walk.wants_authenticator(&pages) && matches!(MfaError::beside(typed, ""), MfaError::Recovery(_)) {
        let error = Some(MfaError::Totp(second_factor::NO_RECOVERY_CODE));
        return challenge(&mut conn, &pages, &walk, StatusCode::BAD_REQUEST, error).await;
    }
    // Hashing takes long: not with a connection in hand.
    drop(conn);
    let attempt = match Try::begin(&pages.installation, &headers, walk.account()?.user.id, typed).await? {
        Ok(attempt) => attempt,
        Err(delayed) => return refused(&pages, &caller, &walk, &delayed).await,
    };
    let mut tx = pages.installation.pool.begin().await?;
    if !attempt.spend(&mut tx, &pages.installation).await? {
        drop(tx);
        return refused(&pages, &caller, &walk, &attempt.refused()).await;
    }
    if !prove(&mut tx, &pages, &caller, &walk, attempt.method).await? {
        // The walk went elsewhere meanwhile, and knows where. The code is good for another time.
        return Ok(pages.lead_to(Step::Mfa.path()));
    }
    tx.commit().await?;
    Ok(attempt.remembered(&pages.installation, pages.lead_to(Step::Confirm.path())))
}

/// Notes that a code gained nothing, and asks for another.
async fn refused(pages: &Pages, caller: &Caller, walk: &Walk, refused: &Refused) -> Result<Response, PageError> {
    let event = walk.event_by(pages, audit::Kind::MfaFailed, caller);
    refused.note(&pages.installation, event, None).await?;
    let (csrf_token, why) = (walk.csrf_token(pages), why_factor(pages, walk));
    let page = asking(pages, walk, &csrf_token, why.as_deref());
    let mut conn = pages.installation.pool.acquire().await?;
    refused.challenge(&mut conn, &pages.installation, walk.account()?.user.id, page).await
}

/// Notes the proof, for this grant and for services that let one serve several devices. `false`: it came too late, and the
/// caller takes the transaction back.
async fn prove(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    walk: &Walk,
    method: Method,
) -> Result<bool, PageError> {
    let now = pages.installation.clock.now();
    let user = walk.account()?.user.id;
    let proof = MfaProof { user_id: user, at: now, amr: method.amr(), borrowed: false };
    // The sign-in before the login, as everybody locks them.
    browser::store::note_mfa(conn, walk.browser.id, user, now, &proof.amr).await?;
    if !device::store::prove_mfa(conn, walk.grant.id, walk.browser.id, &proof, now).await? {
        return Ok(false);
    }
    walk.event_by(pages, audit::Kind::MfaPassed, caller)
        .detail(serde_json::json!({ "method": method.as_str() }))
        .append(conn)
        .await?;
    Ok(true)
}

/// Takes the first code of a new factor, and shows the recovery codes, once.
async fn enrol(
    mut conn: PoolConnection<Postgres>,
    pages: &Pages,
    caller: &Caller,
    walk: Walk,
    typed: &str,
) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let user = walk.account()?.user.id;
    let shown = shown_secret(&mut conn, pages, &walk).await?;
    let now = installation.clock.now();
    let Some(step) = shown.step_of(typed, now) else {
        let failed = walk.event_by(pages, audit::Kind::MfaFailed, caller);
        failed.detail(serde_json::json!({ "method": "enrolment" })).append(&mut conn).await?;
        return enrolment(pages, &walk, &shown, Some(second_factor::first_refused(typed)));
    };
    drop(conn);
    let codes = second_factor::draw_recovery_codes(installation, user).await?;
    let mut tx = installation.pool.begin().await?;
    if !browser::store::hold_alone(&mut tx, walk.browser.id, user).await? {
        return Ok(pages.lead_to(Step::SignIn.path()));
    }
    // Somebody else set one up meanwhile, in another browser: that one is asked for.
    if !totp::enrol(&mut tx, &installation.keyring, user, &shown, step, now).await? {
        return Ok(pages.lead_to(Step::Mfa.path()));
    }
    walk.event_by(pages, audit::Kind::Enrolled, caller)
        .detail(serde_json::json!({ "method": "totp" }))
        .append(&mut tx)
        .await?;
    let codes = codes.give(&mut tx, user).await?;
    // The time ran out meanwhile: no factor is set up whose recovery codes nobody sees.
    if !prove(&mut tx, pages, caller, &walk, Method::Totp).await? {
        return Ok(pages.lead_to(Step::Mfa.path()));
    }
    tx.commit().await?;
    let csrf_token = walk.csrf_token(pages);
    Ok(second_factor::recovery_codes(walk.frame(pages, &csrf_token), &codes, Occasion::Required, "/confirm"))
}

async fn shown_secret(conn: &mut PgConnection, pages: &Pages, walk: &Walk) -> Result<totp::Enrolment, PageError> {
    let user = &walk.account()?.user;
    let issuer = &walk.service.organization_name;
    Ok(totp::enrolment(conn, &pages.installation, walk.browser.id, user.id, user.label(), issuer).await?)
}

fn enrolment(pages: &Pages, walk: &Walk, shown: &totp::Enrolment, error: Option<&str>) -> Result<Response, PageError> {
    let (csrf_token, user) = (walk.csrf_token(pages), &walk.account()?.user);
    let frame = walk.frame(pages, &csrf_token);
    let setup = Setup { frame, account: user.label(), occasion: Occasion::Required, carried: &[], error };
    second_factor::enrolment(&pages.installation, setup, shown)
}

async fn challenge(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    status: StatusCode,
    error: Option<MfaError<'_>>,
) -> Result<Response, PageError> {
    let (csrf_token, why) = (walk.csrf_token(pages), why_factor(pages, walk));
    let page = Mfa { error, ..asking(pages, walk, &csrf_token, why.as_deref()) };
    second_factor::challenge(conn, &pages.installation, walk.account()?.user.id, page, status).await
}

fn why_factor(pages: &Pages, walk: &Walk) -> Option<String> {
    walk.asked(pages).and_then(|asked| asked.why_factor())
}

/// The page that asks for a second factor, of the kind that will do.
fn asking<'a>(pages: &'a Pages, walk: &'a Walk, csrf_token: &'a str, why: Option<&'a str>) -> Mfa<'a> {
    let frame = walk.frame(pages, csrf_token);
    Mfa { frame, why, error: None, development_code: None, recovery: !walk.wants_authenticator(pages), next: None }
}
