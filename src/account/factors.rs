//! What the person proves themself with: the authenticator, recovery codes, the password.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;

use crate::audit;
use crate::browser;
use crate::mfa::recovery;
use crate::mfa::totp;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::factor::Occasion;
use crate::pages::{second_factor, words};

use super::devices::{Parameters, notice};
use super::mfa;
use super::pages::{Notice, RenewCodes, Security};
use super::password;
use super::visit::{Arrival, Guarded};

/// Shows what there is.
pub async fn show(
    Arrival { pages, guest, .. }: Arrival,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_home(&mut conn, &pages).await?;
    let user = visit.account()?.user.id;
    let set_up = totp::set_up_at(&mut conn, user).await?.map(words::date);
    let csrf_token = visit.csrf_token(&pages, visit.about());
    let page = Security {
        frame: visit.frame(&pages, &csrf_token),
        authenticator: set_up.as_deref(),
        recovery_codes: recovery::left(&mut conn, user).await?,
        password: password::has_one(&mut conn, &visit).await?,
        notice: notice(parameters),
    };
    Ok(answer::render(StatusCode::OK, &page))
}

/// Shows the secret of a new authenticator.
pub async fn authenticator(Arrival { pages, guest, .. }: Arrival) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_guarded(&mut conn, &pages, Guarded::Authenticator).await?;
    let occasion = if visit.account()?.is_enrolled() { Occasion::Replacing } else { Occasion::Chosen };
    let shown = mfa::shown_secret(&mut conn, &pages, &visit).await?;
    mfa::enrolment(&pages, &visit, &shown, occasion, None)
}

/// Takes the first code of a new authenticator.
pub async fn set_up(Arrival { pages, caller, guest }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_guarded(&mut conn, &pages, Guarded::Authenticator).await?;
    let fields = form.of(&pages, &visit.visitor, visit.about())?;
    let typed = fields.get("code").unwrap_or_default().trim();
    if !visit.account()?.is_enrolled() {
        return mfa::enrol(conn, &pages, &caller, &visit, typed).await;
    }
    let installation = &pages.installation;
    let (user, now) = (visit.account()?.user.id, installation.clock.now());
    let shown = mfa::shown_secret(&mut conn, &pages, &visit).await?;
    let Some(step) = shown.step_of(typed, now) else {
        return mfa::wrong_first(&mut conn, &pages, &caller, &visit, (&shown, typed), Occasion::Replacing).await;
    };
    drop(conn);
    let mut tx = installation.pool.begin().await?;
    if !browser::store::hold_alone(&mut tx, visit.browser()?.id, user).await? {
        return Ok(visit.lead_to(&pages, "/sign-in"));
    }
    if totp::replace(&mut tx, &installation.keyring, user, &shown, step, now).await? {
        visit
            .event(&pages, audit::Kind::Enrolled, &caller)
            .detail(serde_json::json!({ "method": "totp", "replaced": true, "at": "account" }))
            .append(&mut tx)
            .await?;
    }
    tx.commit().await?;
    Ok(visit.lead_to(&pages, &format!("/security?done={}", Notice::Replaced.as_str())))
}

/// Asks whether to make new recovery codes.
pub async fn recovery_codes(Arrival { pages, guest, .. }: Arrival) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_guarded(&mut conn, &pages, Guarded::RecoveryCodes).await?;
    if !visit.account()?.is_enrolled() {
        return Ok(visit.lead_to(&pages, "/security"));
    }
    let csrf_token = visit.csrf_token(&pages, visit.about());
    let left = recovery::left(&mut conn, visit.account()?.user.id).await?;
    Ok(answer::render(StatusCode::OK, &RenewCodes { frame: visit.frame(&pages, &csrf_token), left }))
}

/// Makes new recovery codes and shows them, once.
pub async fn renew(Arrival { pages, caller, guest }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.at_guarded(&mut conn, &pages, Guarded::RecoveryCodes).await?;
    form.of(&pages, &visit.visitor, visit.about())?;
    if !visit.account()?.is_enrolled() {
        return Ok(visit.lead_to(&pages, "/security"));
    }
    // Hashing takes long: not with a connection in hand.
    drop(conn);
    let user = visit.account()?.user.id;
    let codes = second_factor::draw_recovery_codes(&pages.installation, user).await?;
    let mut tx = pages.installation.pool.begin().await?;
    if !browser::store::hold_alone(&mut tx, visit.browser()?.id, user).await? {
        return Ok(visit.lead_to(&pages, "/sign-in"));
    }
    let codes = codes.give(&mut tx, user).await?;
    visit
        .event(&pages, audit::Kind::Enrolled, &caller)
        .detail(serde_json::json!({ "method": "recovery codes", "replaced": true, "at": "account" }))
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    let csrf_token = visit.csrf_token(&pages, visit.about());
    Ok(second_factor::recovery_codes(visit.frame(&pages, &csrf_token), &codes, Occasion::Replacing, "/security"))
}
