//! The authenticator: its first code makes the owner.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::audit::{Event, Kind};
use crate::directory::organization;
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer::{Form, PageError};
use crate::pages::factor::Occasion;
use crate::pages::frame::{Door, Frame};
use crate::pages::message::Trouble;
use crate::pages::second_factor::{self, Setup};
use crate::secrets::SecretText;

use super::candidate::Candidate;
use super::link::Good;
use super::owner::{self, Made, Way};
use super::pages::{Errors, Why};
use super::{form, no_good};

/// What authenticators call this where the organization has no name.
const ISSUER: &str = "Countersign";

/// Takes the first code: now there is an owner. Shows the recovery codes, once.
pub async fn submit(State(pages): State<Pages>, caller: Caller, form: Form) -> Result<Response, PageError> {
    let fields = form.of_this_site(&pages)?;
    let token = SecretText::from(fields.get("token").unwrap_or_default());
    let link = no_good::find(&pages, &caller, token.expose()).await?;
    let installation = &pages.installation;
    let candidate = Candidate::open(installation, link.id, fields.get("candidate").unwrap_or_default())
        .ok_or(PageError::Trouble(StatusCode::FORBIDDEN, Trouble::StaleForm))?;
    let typed = fields.get("code").unwrap_or_default().trim();
    let Some(step) = candidate.enrolment(ISSUER)?.step_of(typed, installation.clock.now()) else {
        note_wrong(&pages, &caller, link).await?;
        return page(&pages, link, &token, &candidate, Some(second_factor::first_refused(typed))).await;
    };
    let codes = second_factor::draw_recovery_codes(installation, candidate.user()).await?;
    let owner = candidate.proven(step);
    let codes = match owner::make(installation, &owner, codes, Way::Link(link.id, &caller)).await? {
        Made::Owner(codes) => codes,
        Made::Owned => return Ok(no_good::page(&pages, &Why::Owned)),
        Made::Ended => return Err(no_longer(&pages, &caller, &token).await),
        Made::Taken => {
            let errors = Errors { email: Some(form::TAKEN), ..Errors::default() };
            return Ok(form::page(&pages, &token, (&owner.email, &owner.name), errors));
        }
    };
    let url = &installation.public_url;
    let host = url.host();
    let frame = Frame { door: Door::Setup, base: url.base_path(), host: &host, ..Frame::default() };
    Ok(second_factor::recovery_codes(frame, &codes, Occasion::First, "/done"))
}

/// What became of a link that was good a moment ago.
async fn no_longer(pages: &Pages, caller: &Caller, token: &SecretText) -> PageError {
    match no_good::find(pages, caller, token.expose()).await {
        Ok(_) => PageError::Fault("a setup link is good and isn't".into()),
        Err(error) => error,
    }
}

async fn note_wrong(pages: &Pages, caller: &Caller, link: Good) -> Result<(), PageError> {
    let installation = &pages.installation;
    let mut conn = installation.pool.acquire().await?;
    Event::new(Kind::MfaFailed, &installation.clock, &installation.random)
        .of(link.platform)
        .caller(caller)
        .detail(json!({ "method": "enrolment", "at": "setup" }))
        .append(&mut conn)
        .await?;
    Ok(())
}

/// The page with the secret.
pub async fn page(
    pages: &Pages,
    link: Good,
    token: &SecretText,
    candidate: &Candidate,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let mut conn = installation.pool.acquire().await?;
    let issuer = organization::by_id(&mut conn, link.platform).await?.map(|platform| platform.name);
    let shown = candidate.enrolment(issuer.as_deref().unwrap_or(ISSUER))?;
    let sealed = candidate.seal(installation, link.id);
    let sealed = sealed.map_err(|error| PageError::Fault(format!("a candidate can't be sealed: {error}")))?;
    let url = &installation.public_url;
    let host = url.host();
    let setup = Setup {
        frame: Frame { door: Door::Setup, base: url.base_path(), host: &host, ..Frame::default() },
        account: &candidate.email,
        occasion: Occasion::First,
        carried: &[("token", token.expose()), ("candidate", &sealed)],
        error,
    };
    second_factor::enrolment(installation, setup, &shown)
}
