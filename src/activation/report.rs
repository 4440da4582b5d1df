//! "This wasn't me": where the link leads that everybody is sent who approves (RFC 8628 §5.4).
//!
//! Mail scanners open links, some of them every link of every mail. So opening it shows a page, and nothing else, as often
//! as anybody likes; what it does, its button does. The token in the link is all that is asked for: whoever was robbed of
//! their sign-in needs none here, no cookie and no script. It is told from made-up ones without the database.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::http::client_address::Caller;
use crate::ids::GrantId;
use crate::notice::link::{self, Token};
use crate::notice::report::{self, Approved};
use crate::pages::answer::{self, Form, PageError};
use crate::pages::frame::{Door, Frame};
use crate::pages::{Pages, words};
use crate::postgres::PgConnection;

use super::pages::{Report, Reported, ReportedDevice};

/// What the page reads of its address. Other parameters, which mail programs like to add, are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    token: Option<String>,
}

/// Shows what was approved, and the button.
pub async fn show(
    State(pages): State<Pages>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let token = parameters.ok().and_then(|Query(parameters)| parameters.token).unwrap_or_default();
    let grant = match link::read(&pages.installation.keyring, &token, pages.installation.clock.now()) {
        Token::Good(grant) => grant,
        other => return Ok(no_good(&pages, other)),
    };
    let mut conn = pages.installation.pool.acquire().await?;
    let Some(approved) = report::find(&mut conn, grant).await? else { return Ok(no_good(&pages, Token::Unknown)) };
    let state = approved.reported_at.map_or(Reported::Not { token: token.trim() }, before);
    Ok(page(&pages, &approved, &state))
}

/// Ends what came of the approval.
pub async fn submit(State(pages): State<Pages>, caller: Caller, form: Form) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let token = form.of_this_site(&pages)?.get("token").unwrap_or_default();
    let grant = match link::read(&installation.keyring, token, installation.clock.now()) {
        Token::Good(grant) => grant,
        other => return Ok(no_good(&pages, other)),
    };
    match end(&pages, &caller, grant).await {
        // Whoever locks the same rows in another order, a suspension of the organization for instance, is through now.
        Err(PageError::Database(error)) if is_deadlock(&error) => end(&pages, &caller, grant).await,
        answer => answer,
    }
}

/// Ends what came of an approval, and says what that was.
async fn end(pages: &Pages, caller: &Caller, grant: GrantId) -> Result<Response, PageError> {
    let installation = &pages.installation;
    let mut tx = installation.pool.begin().await?;
    let Some(approved) = report::find(&mut tx, grant).await? else { return Ok(no_good(pages, Token::Unknown)) };
    let tools = (installation, &pages.notices, &pages.places);
    let Some((ended, denied)) = report::report(&mut tx, tools, &approved, caller).await? else {
        return said_before(&mut tx, pages, approved).await;
    };
    tx.commit().await?;
    for grant in denied {
        pages.waiting.decided(grant);
    }
    pages.notices.wake();
    let state = Reported::Now { session: ended.session.is_some(), codes: ended.codes, browsers: ended.browsers };
    Ok(page(pages, &approved, &state))
}

/// Whether PostgreSQL took a transaction back so that others could go on.
fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "40P01")
}

/// Somebody was faster, or has been here before.
async fn said_before(conn: &mut PgConnection, pages: &Pages, approved: Approved) -> Result<Response, PageError> {
    let approved = report::find(conn, approved.grant).await?.unwrap_or(approved);
    let state = before(approved.reported_at.unwrap_or_else(|| pages.installation.clock.now()));
    Ok(page(pages, &approved, &state))
}

fn before<'a>(at: chrono::DateTime<chrono::Utc>) -> Reported<'a> {
    Reported::Before { at: words::date(at) }
}

fn page(pages: &Pages, approved: &Approved, state: &Reported<'_>) -> Response {
    let (url, device) = (&pages.installation.public_url, &approved.device);
    let host = url.host();
    let place = pages.places.of(device.ip).filter(|place| *place != crate::geo::Place::Unknown);
    let place = place.map(|place| words::place(&place));
    let page = Report {
        frame: Frame {
            door: Door::Report,
            base: url.base_path(),
            host: &host,
            organization: Some(&approved.organization.name),
            service: Some(&approved.service.name),
            ..Frame::default()
        },
        state,
        approved: &words::date(approved.approved_at),
        device: ReportedDevice {
            claimed_name: device.name.as_deref(),
            program: &words::program(device.user_agent.as_deref()),
            address: &device.ip.to_string(),
            place: place.as_deref(),
        },
        minutes: approved.minutes,
        devices_href: &format!("{}/account/{}", url.base_path(), approved.organization.slug),
    };
    answer::render(StatusCode::OK, &page)
}

/// The page for a link that can't be used.
fn no_good(pages: &Pages, token: Token) -> Response {
    let url = &pages.installation.public_url;
    let host = url.host();
    let frame = Frame { door: Door::Report, base: url.base_path(), host: &host, ..Frame::default() };
    let too_old = token == Token::TooOld;
    let status = if too_old { StatusCode::GONE } else { StatusCode::NOT_FOUND };
    answer::render(status, &super::pages::NoReport { frame, too_old })
}
