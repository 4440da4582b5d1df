//! What the person proves themself with: the authenticator, recovery codes, the password.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::audit;
use crate::http::client_address::Caller;
use crate::mfa::recovery::{self, NewCodes};
use crate::mfa::totp;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::factor::Occasion;
use crate::pages::{Pages, second_factor, words};

use super::devices::{Parameters, notice};
use super::mfa;
use super::pages::{Notice, RenewCodes, Security};
use super::password;
use super::visit::{Guarded, Visit};

/// Shows what there is.
pub async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Path(organization): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = Visit::at_home(&mut conn, &pages, &headers, &organization).await?;
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
pub async fn authenticator(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Path(organization): Path<String>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = Visit::at_home(&mut conn, &pages, &headers, &organization).await?;
    let visit = visit.freshly_proven(&pages, Guarded::Authenticator)?;
    let occasion = if visit.account()?.enrolled { Occasion::Replacing } else { Occasion::Chosen };
    let shown = mfa::shown_secret(&mut conn, &pages, &visit).await?;
    mfa::enrolment(&pages, &visit, &shown, occasion, None)
}

/// Takes the first code of a new authenticator.
pub async fn set_up(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    Path(organization): Path<String>,
    form: Form,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = Visit::at_home(&mut conn, &pages, &headers, &organization).await?;
    let visit = visit.freshly_proven(&pages, Guarded::Authenticator)?;
    let fields = form.of(&pages, &visit.visitor, visit.about())?;
    let typed = fields.get("code").unwrap_or_default().trim();
    if !visit.account()?.enrolled {
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
pub async fn recovery_codes(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Path(organization): Path<String>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = Visit::at_home(&mut conn, &pages, &headers, &organization).await?;
    let visit = visit.freshly_proven(&pages, Guarded::RecoveryCodes)?;
    if !visit.account()?.enrolled {
        return Ok(visit.lead_to(&pages, "/security"));
    }
    let csrf_token = visit.csrf_token(&pages, visit.about());
    let left = recovery::left(&mut conn, visit.account()?.user.id).await?;
    Ok(answer::render(StatusCode::OK, &RenewCodes { frame: visit.frame(&pages, &csrf_token), left }))
}

/// Makes new recovery codes and shows them, once.
pub async fn renew(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    Path(organization): Path<String>,
    form: Form,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = Visit::at_home(&mut conn, &pages, &headers, &organization).await?;
    let visit = visit.freshly_proven(&pages, Guarded::RecoveryCodes)?;
    form.of(&pages, &visit.visitor, visit.about())?;
    if !visit.account()?.enrolled {
        return Ok(visit.lead_to(&pages, "/security"));
    }
    // Hashing takes long: not with a connection in hand.
    drop(conn);
    let codes = NewCodes::draw(&pages.installation).await;
    let mut tx = pages.installation.pool.begin().await?;
    let codes = codes.give(&mut tx, visit.account()?.user.id).await?;
    visit
        .event(&pages, audit::Kind::Enrolled, &caller)
        .detail(serde_json::json!({ "method": "recovery codes", "replaced": true, "at": "account" }))
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    let csrf_token = visit.csrf_token(&pages, visit.about());
    Ok(second_factor::recovery_codes(visit.frame(&pages, &csrf_token), &codes, Occasion::Replacing, "/security"))
}
