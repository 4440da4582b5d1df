//! Step 1: the code that the device shows (RFC 8628 §3.3).

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use crate::audit;
use crate::browser;
use crate::browser::csrf::{self, About};
use crate::browser::visitor::Visitor;
use crate::device::codes::UserCode;
use crate::device::grant::Grant;
use crate::device::store;
use crate::directory::service;
use crate::http::client_address::Caller;
use crate::ids::EventId;
use crate::pages::Pages;
use crate::pages::answer::{self, Form, PageError};
use crate::pages::frame::Frame;
use crate::postgres::PgConnection;

use super::guess;
use super::pages::{Code, CodeEntry};
use super::walk::{Step, Walk};

/// What the page reads of its address. Other parameters are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    user_code: Option<String>,
}

const EMPTY: &str = "Enter the code that your device shows.";
const NOT_A_CODE: &str =
    "A code has eight letters, such as WDJB-MJHT, or ten, such as WDJBM-JHTKX. Check what your device shows.";
const NOT_VALID: &str = "This code is not valid. Check the letters; if they are right, it has expired or was used: get a new one from your device.";
const TYPE_IT: &str = "For this service, type the code from your device's own screen.";

/// Shows the page. A code in the link is filled in, and the person still compares it; nothing is looked up.
pub async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, PageError> {
    let visitor = recognize_without_need(&pages, &headers).await?;
    let linked = parameters.ok().and_then(|Query(parameters)| UserCode::parse(&parameters.user_code?));
    let shown = linked.map(|code| code.to_string());
    let entry = shown.as_deref().map_or(CodeEntry::Empty, CodeEntry::Prefilled);
    Ok(page(&pages, &visitor, StatusCode::OK, entry))
}

/// A browser without a cookie gets the page even while the database is away.
async fn recognize_without_need(pages: &Pages, headers: &HeaderMap) -> Result<Visitor, PageError> {
    if let Some(visitor) = Visitor::newcomer(&pages.installation, headers) {
        return Ok(visitor);
    }
    let mut conn = pages.installation.pool.acquire().await?;
    Ok(Visitor::recognize(&mut conn, &pages.installation, headers).await?)
}

/// Claims the code for this browser.
pub async fn submit(
    State(pages): State<Pages>,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let mut visitor = Visitor::recognize(&mut conn, &pages.installation, &headers).await?;
    let fields = form.of(&pages, &visitor, About::default())?;
    let typed: String = fields.get("user_code").unwrap_or_default().chars().take(64).collect();
    let again = |visitor: &Visitor, typed: &str, error| {
        page(&pages, visitor, StatusCode::BAD_REQUEST, CodeEntry::Refused { typed, error })
    };
    if typed.trim().is_empty() {
        return Ok(again(&visitor, "", EMPTY));
    }
    // What can't be a code at all is nobody's guess, and isn't looked up.
    let Some(code) = UserCode::parse(&typed) else { return Ok(again(&visitor, &typed, NOT_A_CODE)) };
    if let Err(exhausted) = guess::try_code(&mut conn, &pages, &caller, &visitor, Some(&code)).await? {
        return Ok(guess::refusal(&pages, &visitor, exhausted, Some(&code)));
    }
    let prefilled = fields.get("prefilled").is_some();
    let outcome = claim(&mut conn, &pages, &caller, &mut visitor, &code, prefilled).await?;
    Ok(match outcome {
        Outcome::Claimed(grant) => {
            let walk = Walk::with(&mut conn, &pages, visitor.clone(), *grant).await;
            // What stands in the way is said by the page, which asks again.
            let step = walk.map_or(Step::SignIn, |walk| walk.step);
            pages.with_cookie(&visitor, pages.lead_to(step.path()))
        }
        Outcome::NotValid => again(&visitor, &typed, NOT_VALID),
        Outcome::MustBeTyped => again(&visitor, "", TYPE_IT),
    })
}

/// What became of a code that somebody entered.
pub enum Outcome {
    /// It is this browser's.
    Claimed(Box<Grant>),
    /// Unknown, expired, decided or another browser's: nobody is told which.
    NotValid,
    /// It came by a link, and the service doesn't take that.
    MustBeTyped,
}

/// Claims a code for this browser and makes the pages be about it. A wrong one, which is [paid for](guess::try_code), is
/// audited as a guess.
pub async fn claim(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visitor: &mut Visitor,
    code: &UserCode,
    prefilled: bool,
) -> Result<Outcome, PageError> {
    let installation = &pages.installation;
    let now = installation.clock.now();
    let macs = code.macs(&installation.keyring);
    let known = visitor.session.map(|session| session.id);
    // A session is stored for a code that is one, not for every guess; and one that came by a link may have to be typed.
    if known.is_none() || prefilled {
        let found = store::by_user_code(conn, &macs, known, now).await?;
        let Some(grant) = found else { return not_valid(conn, pages, caller).await };
        if prefilled {
            let service = service::by_id(conn, grant.service_id).await?;
            if service.is_some_and(|service| !service.prefill) {
                return Ok(Outcome::MustBeTyped);
            }
        }
    }
    let browser = visitor.session(conn, installation).await?;
    let event = EventId::new(now, &installation.random.bytes());
    if let Some(grant) = store::claim(conn, &macs, browser.id, caller, event, now).await? {
        return Ok(Outcome::Claimed(Box::new(grant)));
    }
    // Its own, entered once more.
    let own = store::by_user_code(conn, &macs, Some(browser.id), now).await?;
    let Some(grant) = own.filter(|grant| grant.is_claimed_by(browser.id)) else {
        return not_valid(conn, pages, caller).await;
    };
    browser::store::set_grant(conn, browser.id, grant.id, now).await?;
    Ok(Outcome::Claimed(Box::new(grant)))
}

async fn not_valid(conn: &mut PgConnection, pages: &Pages, caller: &Caller) -> Result<Outcome, PageError> {
    let installation = &pages.installation;
    let event = audit::Event::new(audit::Kind::GuessRefused, &installation.clock, &installation.random);
    event.caller(caller).append(conn).await?;
    Ok(Outcome::NotValid)
}

fn page(pages: &Pages, visitor: &Visitor, status: StatusCode, entry: CodeEntry<'_>) -> Response {
    let installation = &pages.installation;
    let (host, csrf_token) =
        (installation.public_url.host(), csrf::token(&installation.keyring, visitor, About::default()));
    let base = installation.public_url.base_path();
    let frame = Frame { base, host: &host, csrf_token: &csrf_token, ..Frame::default() };
    pages.with_cookie(visitor, answer::render(status, &Code { frame, entry }))
}
