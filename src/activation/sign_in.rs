//! Step 2: who the person is. Accounts of Countersign's own sign in here; the others are led to their provider.

use axum::extract::State;
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

use super::walk::{Step, Walk};

/// Shows the ways to sign in.
pub async fn show(State(pages): State<Pages>, headers: HeaderMap) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?.at(&pages, Step::SignIn)?;
    page(&mut conn, &pages, &walk, StatusCode::OK, PasswordForm::default(), None).await
}

/// Signs in with address and password.
pub async fn submit(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let visitor = Visitor::recognize(&mut conn, &pages.installation, &headers).await?;
    if visitor.session.is_none()
        && let Some(visitor) = Visitor::clicked_again(&mut conn, &pages.installation, &headers).await?
    {
        let walk = Walk::of(&mut conn, &pages, visitor).await?;
        drop(conn);
        return second_click(&pages, &caller, &headers, walk, &form).await;
    }
    let walk = Walk::of(&mut conn, &pages, visitor).await?.at(&pages, Step::SignIn)?;
    let fields = form.of(&pages, &walk.visitor, walk.about())?;
    let email = fields.get("email").unwrap_or_default().trim();
    let password = SecretText::from(fields.get("password").unwrap_or_default());
    let providers = provider::of_organization(&mut conn, walk.grant.organization_id).await?;
    let Some(provider) = providers.into_iter().find(|provider| provider.kind == Kind::Password) else {
        return Ok(pages.lead_to(Step::SignIn.path()));
    };
    if let Some(form) = PasswordForm::incomplete(email, &password) {
        return page(&mut conn, &pages, &walk, StatusCode::BAD_REQUEST, form, None).await;
    }
    drop(conn);
    let organization = walk.grant.organization_id;
    let proven = match password::check(&pages.installation, &caller, &headers, organization, email, &password).await? {
        Checked::Right(proven) => proven,
        Checked::Refused(refusal, user) => {
            let event = walk.event_by(&pages, audit::Kind::Refused, &caller);
            refusal.note_sign_in(&pages.installation, event, user.as_ref(), Some(&provider.slug)).await?;
            let message = refusal.message(shared::WRONG);
            let form = PasswordForm::refused(email, &message);
            let mut conn = pages.installation.pool.acquire().await?;
            return Ok(refusal.answer(page(&mut conn, &pages, &walk, refusal.status(), form, None).await?));
        }
    };
    let mut tx = pages.installation.pool.begin().await?;
    user::accept_invitation(&mut tx, proven.user.id).await?;
    if !proven.holds(&mut tx, walk.event_by(&pages, audit::Kind::Refused, &caller)).await? {
        tx.commit().await?;
        return Ok(pages.lead_to(Step::SignIn.path()));
    }
    let (amr, now) = ([PASSWORD_AMR.to_owned()], pages.installation.clock.now());
    let sign_in = NewSignIn {
        organization,
        user: proven.user.id,
        provider: provider.id,
        auth_time: now,
        proven_at: Some(now),
        grant: Some(walk.grant.id),
        amr: &amr,
    };
    let walk = signed_in(&mut tx, &pages, &caller, walk, &provider, &sign_in).await?;
    tx.commit().await?;
    let answer = pages.with_cookie(&walk.visitor, pages.lead_to(walk.step.path()));
    Ok(proven.remembered(&pages.installation, answer))
}

/// The form came twice. The first one signed the person in and gave the session a new cookie, which the browser dropped
/// with the answer: whoever proves the same account again gets another.
async fn second_click(
    pages: &Pages,
    caller: &Caller,
    headers: &HeaderMap,
    mut walk: Walk,
    form: &Form,
) -> Result<Response, PageError> {
    let fields = form.of(pages, &walk.visitor, About { user: None, ..walk.about() })?;
    let email = fields.get("email").unwrap_or_default().trim();
    let password = SecretText::from(fields.get("password").unwrap_or_default());
    let organization = walk.grant.organization_id;
    if PasswordForm::incomplete(email, &password).is_some() {
        return Ok(pages.lead_to("/activate"));
    }
    let proven = match password::check(&pages.installation, caller, headers, organization, email, &password).await? {
        Checked::Right(proven) => proven,
        Checked::Refused(refusal, user) => {
            let event = walk.event_by(pages, audit::Kind::Refused, caller);
            refusal.note_sign_in(&pages.installation, event, user.as_ref(), None).await?;
            return Ok(pages.lead_to("/activate"));
        }
    };
    if walk.account.as_ref().is_none_or(|account| account.user.id != proven.user.id) {
        return Ok(pages.lead_to("/activate"));
    }
    let mut tx = pages.installation.pool.begin().await?;
    if !proven.holds(&mut tx, walk.event_by(pages, audit::Kind::Refused, caller)).await? {
        tx.commit().await?;
        return Ok(pages.lead_to("/activate"));
    }
    walk.visitor.renew(&mut tx, &pages.installation).await?;
    tx.commit().await?;
    let answer = pages.with_cookie(&walk.visitor, pages.lead_to(walk.step.path()));
    Ok(proven.remembered(&pages.installation, answer))
}

/// Notes a sign-in in this browser, under a new cookie value, and says where the walk stands then.
pub async fn signed_in(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    mut walk: Walk,
    provider: &Provider,
    sign_in: &NewSignIn<'_>,
) -> Result<Walk, PageError> {
    browser::store::sign_in(conn, walk.browser.id, sign_in, pages.installation.clock.now()).await?;
    walk.visitor.renew(conn, &pages.installation).await?;
    let walk = Walk::of(conn, pages, walk.visitor).await?;
    walk.event_by(pages, audit::Kind::SignedIn, caller)
        .detail(serde_json::json!({ "provider": provider.slug, "amr": sign_in.amr }))
        .append(conn)
        .await?;
    Ok(walk)
}

/// "Not you?": forgets who is signed in to this organization and shows the ways to sign in.
pub async fn sign_out(State(pages): State<Pages>, headers: HeaderMap, form: Form) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?;
    form.of(&pages, &walk.visitor, walk.about())?;
    browser::store::sign_out(&mut conn, walk.browser.id, walk.grant.organization_id).await?;
    Ok(pages.lead_to(Step::SignIn.path()))
}

/// The page with the organization's providers.
pub async fn page(
    conn: &mut PgConnection,
    pages: &Pages,
    walk: &Walk,
    status: StatusCode,
    form: PasswordForm<'_>,
    notice: Option<&str>,
) -> Result<Response, PageError> {
    let providers = provider::of_organization(conn, walk.grant.organization_id).await?;
    let csrf_token = walk.csrf_token(pages);
    let start = |provider: &Provider| start_href(pages, walk, provider);
    let why = walk.why_sign_in(pages);
    let page = shared::page(walk.frame(pages, &csrf_token), &providers, form, notice.or(why.as_deref()), start);
    Ok(answer::render(status, &page))
}

/// Where a sign-in at a provider begins. The code isn't in it: this browser has claimed one.
pub fn start_href(pages: &Pages, walk: &Walk, provider: &Provider) -> String {
    format!(
        "{}/auth/{}?org={}&service={}",
        pages.installation.public_url.base_path(),
        provider.slug,
        walk.service.organization_slug,
        walk.service.slug,
    )
}
