//! Step 3: a second factor, or setting one up.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use crate::audit;
use crate::browser;
use crate::device;
use crate::device::grant::MfaProof;
use crate::http::client_address::Caller;
use crate::mfa::{recovery, totp};
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::factor::{Enrol, Mfa, MfaError, RecoveryCodes, svg_element};
use crate::postgres::PgConnection;

use super::walk::{Step, Walk};

const EMPTY: &str = "Enter the six-digit code that your authenticator app shows.";
const WRONG_TOTP: &str =
    "This code is not right, or was used before. Wait for the next one and check the time on your phone.";
const WRONG_RECOVERY: &str = "This is not one of your recovery codes, or it was used before.";
const WRONG_FIRST: &str =
    "This code is not right. Add the key again if your app shows another account, and check the time on your phone.";

/// RFC 8176: a one-time password, and that there were two factors.
const AMR: [&str; 2] = ["otp", "mfa"];

/// Shows the challenge, or the enrolment to who has no factor yet.
pub async fn show(State(pages): State<Pages>, headers: HeaderMap) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?.at(&pages, Step::Mfa)?;
    if walk.account()?.enrolled {
        challenge(&mut conn, &pages, &walk, StatusCode::OK, None).await
    } else {
        enrolment(&mut conn, &pages, &walk, StatusCode::OK, None).await
    }
}

/// Takes a code.
pub async fn submit(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, PageError> {
    let mut tx = pages.installation.pool.begin().await?;
    let walk = Walk::resume(&mut tx, &pages, &headers).await?.at(&pages, Step::Mfa)?;
    let fields = form.of(&pages, &walk.visitor, walk.about())?;
    let typed = fields.get("code").unwrap_or_default().trim();
    if !walk.account()?.enrolled {
        let answer = enrol(&mut tx, &pages, &caller, &walk, typed).await?;
        tx.commit().await?;
        return Ok(answer);
    }
    if typed.is_empty() {
        return challenge(&mut tx, &pages, &walk, StatusCode::BAD_REQUEST, Some(MfaError::Totp(EMPTY))).await;
    }
    let (method, spent) = spend(&mut tx, &pages, &walk, typed).await?;
    let answer = if spent && prove(&mut tx, &pages, &caller, &walk, method).await? {
        pages.lead_to(Step::Confirm.path())
    } else {
        walk.event_by(&pages, audit::Kind::MfaFailed, &caller)
            .detail(serde_json::json!({ "method": method }))
            .append(&mut tx)
            .await?;
        let error = if method == "totp" { MfaError::Totp(WRONG_TOTP) } else { MfaError::Recovery(WRONG_RECOVERY) };
        challenge(&mut tx, &pages, &walk, StatusCode::BAD_REQUEST, Some(error)).await?
    };
    tx.commit().await?;
    Ok(answer)
}

/// Spends a code of either kind, and says of which it was.
async fn spend(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    typed: &str,
) -> Result<(&'static str, bool), PageError> {
    let installation = &pages.installation;
    let (user, now) = (walk.account()?.user.id, installation.clock.now());
    if matches!(MfaError::beside(typed, ""), MfaError::Recovery(_)) {
        return Ok(("recovery", recovery::spend(conn, installation, user, typed, now).await?));
    }
    let again = if installation.dev_mode { totp::Reuse::Allowed } else { totp::Reuse::Refused };
    Ok(("totp", totp::spend(conn, &installation.keyring, user, typed, again, now).await?))
}

/// Notes the proof, for this grant and for services that let one serve several devices.
async fn prove(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    walk: &Walk,
    method: &str,
) -> Result<bool, PageError> {
    let now = pages.installation.clock.now();
    let user = walk.account()?.user.id;
    let proof = MfaProof { user_id: user, at: now, amr: AMR.map(str::to_owned).to_vec() };
    if !device::store::prove_mfa(conn, walk.grant.id, walk.browser.id, &proof, now).await? {
        return Ok(false);
    }
    browser::store::note_mfa(conn, walk.browser.id, user, now, &proof.amr).await?;
    walk.event_by(pages, audit::Kind::MfaPassed, caller)
        .detail(serde_json::json!({ "method": method }))
        .append(conn)
        .await?;
    Ok(true)
}

/// Takes the first code of a new factor, and shows the recovery codes, once.
async fn enrol(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    walk: &Walk,
    typed: &str,
) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let user = walk.account()?.user.id;
    let shown = shown_secret(conn, pages, walk).await?;
    let now = installation.clock.now();
    let Some(step) = shown.step_of(typed, now) else {
        let error = if typed.is_empty() { EMPTY } else { WRONG_FIRST };
        return enrolment(conn, pages, walk, StatusCode::BAD_REQUEST, Some(error)).await;
    };
    // Somebody else set one up meanwhile, in another browser: that one is asked for.
    if !totp::enrol(conn, &installation.keyring, user, &shown, step, now).await? {
        return Ok(pages.lead_to(Step::Mfa.path()));
    }
    walk.event_by(pages, audit::Kind::Enrolled, caller)
        .detail(serde_json::json!({ "method": "totp" }))
        .append(conn)
        .await?;
    let codes = recovery::replace(conn, installation, user).await?;
    prove(conn, pages, caller, walk, "totp").await?;
    let codes: Vec<String> = codes.iter().map(|code| code.expose().to_owned()).collect();
    let csrf_token = walk.csrf_token(pages);
    Ok(answer::render(StatusCode::OK, &RecoveryCodes { frame: walk.frame(pages, &csrf_token), codes: &codes }))
}

async fn shown_secret(conn: &mut PgConnection, pages: &Pages, walk: &Walk) -> Result<totp::Enrolment, PageError> {
    let user = &walk.account()?.user;
    let issuer = &walk.service.organization_name;
    Ok(totp::enrolment(conn, &pages.installation, walk.browser.id, user.id, user.label(), issuer).await?)
}

async fn enrolment(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    status: StatusCode,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let shown = shown_secret(conn, pages, walk).await?;
    let (uri, secret) = (shown.uri()?, shown.secret());
    let qr = QrCode::with_error_correction_level(uri.as_bytes(), EcLevel::M)
        .map_err(|error| PageError::Fault(format!("no QR code: {error}")))?
        .render::<svg::Color<'_>>()
        .quiet_zone(false)
        .build();
    let now = pages.installation.clock.now();
    let development_code = pages.installation.dev_mode.then(|| shown.code_at(now));
    let csrf_token = walk.csrf_token(pages);
    let page = Enrol {
        frame: walk.frame(pages, &csrf_token),
        qr_svg: svg_element(&qr),
        otpauth_url: &uri,
        account_name: walk.account()?.user.label(),
        secret: &secret,
        error,
        development_code: development_code.as_deref(),
    };
    Ok(answer::render(status, &page))
}

async fn challenge(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    status: StatusCode,
    error: Option<MfaError<'_>>,
) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let user = walk.account()?.user.id;
    let code = if installation.dev_mode {
        totp::current_code(conn, &installation.keyring, user, installation.clock.now()).await?
    } else {
        None
    };
    let csrf_token = walk.csrf_token(pages);
    let page = Mfa { frame: walk.frame(pages, &csrf_token), error, development_code: code.as_deref() };
    Ok(answer::render(status, &page))
}
