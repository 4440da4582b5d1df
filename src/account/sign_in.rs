//! Who the person is.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::audit;
use crate::browser;
use crate::browser::csrf::About;
use crate::browser::store::NewSignIn;
use crate::browser::visitor::Visitor;
use crate::directory::provider::{self, Kind, Provider};
use crate::directory::user;
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::password::{self, Checked};
use crate::pages::sign_in::{self as shared, PASSWORD_AMR, PasswordForm};
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::visit::{Arrival, Visit};

/// Shows the ways to sign in.
pub async fn show(Arrival { pages, guest, .. }: Arrival) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.visit(&mut conn, &pages).await?.at_sign_in(&pages)?;
    page(&mut conn, &pages, &visit, StatusCode::OK, PasswordForm::default(), None).await
}

/// Signs in with address and password.
pub async fn submit(Arrival { pages, caller, guest }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.visit(&mut conn, &pages).await?;
    if visit.visitor.session.is_none()
        && let Some(visitor) = Visitor::clicked_again(&mut conn, &pages.installation, &guest.headers).await?
    {
        let visit = Visit::of(&mut conn, &pages, visitor, visit.organization).await?;
        drop(conn);
        return second_click(&pages, &caller, &guest.headers, visit, &form).await;
    }
    let visit = visit.at_sign_in(&pages)?;
    let fields = form.of(&pages, &visit.visitor, visit.about())?;
    let email = fields.get("email").unwrap_or_default().trim();
    let password = SecretText::from(fields.get("password").unwrap_or_default());
    let providers = provider::of_organization(&mut conn, visit.organization.id).await?;
    let Some(provider) = providers.into_iter().find(|provider| provider.kind == Kind::Password) else {
        return Ok(visit.lead_on(&pages));
    };
    if let Some(form) = PasswordForm::incomplete(email, &password) {
        return page(&mut conn, &pages, &visit, StatusCode::BAD_REQUEST, form, None).await;
    }
    drop(conn);
    let (organization, headers) = (visit.organization.id, &guest.headers);
    let proven = match password::check(&pages.installation, &caller, headers, organization, email, &password).await? {
        Checked::Right(proven) => proven,
        Checked::Refused(refusal, user) => {
            let event = visit.event(&pages, audit::Kind::Refused, &caller);
            refusal.note_sign_in(&pages.installation, event, user.as_ref(), Some(&provider.slug)).await?;
            let message = refusal.message(shared::WRONG);
            let form = PasswordForm::refused(email, &message);
            let mut conn = pages.installation.pool.acquire().await?;
            return Ok(refusal.answer(page(&mut conn, &pages, &visit, refusal.status(), form, None).await?));
        }
    };
    let mut tx = pages.installation.pool.begin().await?;
    user::accept_invitation(&mut tx, proven.user.id).await?;
    if !proven.holds(&mut tx, visit.event(&pages, audit::Kind::Refused, &caller)).await? {
        tx.commit().await?;
        return Ok(visit.lead_to(&pages, "/sign-in"));
    }
    let amr = [PASSWORD_AMR.to_owned()];
    let now = pages.installation.clock.now();
    let sign_in = NewSignIn {
        organization,
        user: proven.user.id,
        provider: provider.id,
        auth_time: now,
        proven_at: Some(now),
        grant: None,
        amr: &amr,
    };
    let visit = signed_in(&mut tx, &pages, &caller, visit, &provider, &sign_in).await?;
    tx.commit().await?;
    let answer = pages.with_cookie(&visit.visitor, visit.lead_on(&pages));
    Ok(proven.remembered(&pages.installation, answer))
}

/// The form came twice. The first one signed the person in and gave the session a new cookie, which the browser dropped
/// with the answer: whoever proves the same account again gets another.
async fn second_click(
    pages: &Pages,
    caller: &Caller,
    headers: &HeaderMap,
    mut visit: Visit,
    form: &Form,
) -> Result<Response, PageError> {
    let fields = form.of(pages, &visit.visitor, About::default())?;
    let email = fields.get("email").unwrap_or_default().trim();
    let password = SecretText::from(fields.get("password").unwrap_or_default());
    if PasswordForm::incomplete(email, &password).is_some() {
        return Ok(visit.lead_to(pages, "/sign-in"));
    }
    let organization = visit.organization.id;
    let proven = match password::check(&pages.installation, caller, headers, organization, email, &password).await? {
        Checked::Right(proven) => proven,
        Checked::Refused(refusal, user) => {
            let event = visit.event(pages, audit::Kind::Refused, caller);
            refusal.note_sign_in(&pages.installation, event, user.as_ref(), None).await?;
            return Ok(visit.lead_to(pages, "/sign-in"));
        }
    };
    if visit.account.as_ref().is_none_or(|account| account.user.id != proven.user.id) {
        return Ok(visit.lead_to(pages, "/sign-in"));
    }
    let mut tx = pages.installation.pool.begin().await?;
    if !proven.holds(&mut tx, visit.event(pages, audit::Kind::Refused, caller)).await? {
        tx.commit().await?;
        return Ok(visit.lead_to(pages, "/sign-in"));
    }
    visit.visitor.renew(&mut tx, &pages.installation).await?;
    tx.commit().await?;
    let answer = pages.with_cookie(&visit.visitor, visit.lead_on(pages));
    Ok(proven.remembered(&pages.installation, answer))
}

/// Notes a sign-in in this browser, under a new cookie value, and says where the visit stands then.
pub async fn signed_in(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    mut visit: Visit,
    provider: &Provider,
    sign_in: &NewSignIn<'_>,
) -> Result<Visit, PageError> {
    let browser = visit.visitor.session(conn, &pages.installation).await?;
    browser::store::sign_in(conn, browser.id, sign_in, pages.installation.clock.now()).await?;
    visit.visitor.renew(conn, &pages.installation).await?;
    let visit = Visit::of(conn, pages, visit.visitor, visit.organization).await?;
    visit
        .event(pages, audit::Kind::SignedIn, caller)
        .detail(serde_json::json!({ "provider": provider.slug, "amr": sign_in.amr, "at": "account" }))
        .append(conn)
        .await?;
    Ok(visit)
}

/// "Not you?": forgets who is signed in to this organization and shows the ways to sign in.
pub async fn sign_out(Arrival { pages, guest, .. }: Arrival, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visit = guest.visit(&mut conn, &pages).await?;
    if visit.account.is_some() {
        form.of(&pages, &visit.visitor, visit.about())?;
        browser::store::sign_out(&mut conn, visit.browser()?.id, visit.organization.id).await?;
    }
    Ok(visit.lead_to(&pages, "/sign-in"))
}

/// The page with the organization's providers.
pub async fn page(
    conn: &mut PgConnection,
    pages: &Pages,
    visit: &Visit,
    status: StatusCode,
    form: PasswordForm<'_>,
    notice: Option<&str>,
) -> Result<Response, PageError> {
    let providers = provider::of_organization(conn, visit.organization.id).await?;
    let csrf_token = visit.csrf_token(pages, visit.about());
    let start = |provider: &Provider| start_href(pages, visit, provider);
    let page = shared::page(visit.frame(pages, &csrf_token), &providers, form, notice, start);
    Ok(pages.with_cookie(&visit.visitor, answer::render(status, &page)))
}

/// Where a sign-in at a provider begins.
pub fn start_href(pages: &Pages, visit: &Visit, provider: &Provider) -> String {
    let base = pages.installation.public_url.base_path();
    format!("{base}/account/{}/sign-in/{}", visit.organization.slug, provider.slug)
}
