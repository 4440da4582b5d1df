//! Whether a token leads on, and the page that says why it doesn't.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::attempts::{self, Reservation, Subject};
use crate::audit::{Event, Kind};
use crate::http::client_address::Caller;
use crate::pages::answer::{self, PageError};
use crate::pages::frame::{Door, Frame};
use crate::pages::refusal::Refusal;
use crate::pages::{Pages, words};

use super::link::{self, Good, Link};
use super::pages::{NoGood, Why};

/// The link that a token is of, if it leads on. A made-up one is a guess, which counts for the network that it comes from.
pub async fn find(pages: &Pages, caller: &Caller, token: &str) -> Result<Good, PageError> {
    if !link::could_be_one(token) {
        return Err(page(pages, &Why::Unknown).into());
    }
    let installation = &pages.installation;
    let counted = match attempts::reserve(installation, &[Subject::SetupLink(caller.ip)]).await? {
        Reservation::Granted(counted) => counted,
        Reservation::Closed(delay) => {
            note(pages, caller, Refusal::Delayed(delay)).await?;
            let mut answer = page(pages, &Why::TooMany { wait: &words::wait(delay.seconds) });
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(delay.seconds));
            return Err(answer.into());
        }
    };
    let mut conn = installation.pool.acquire().await?;
    let found = link::find(&mut conn, installation, token).await?;
    if found == Link::Unknown {
        drop(conn);
        note(pages, caller, Refusal::wrong(&counted)).await?;
        return Err(page(pages, &Why::Unknown).into());
    }
    counted.was_right(&mut conn).await?;
    match found {
        Link::Good(good) => Ok(good),
        Link::Owned => Err(page(pages, &Why::Owned).into()),
        Link::Expired => Err(page(pages, &Why::Expired).into()),
        Link::Replaced | Link::Unknown => Err(page(pages, &Why::Replaced).into()),
    }
}

async fn note(pages: &Pages, caller: &Caller, refusal: Refusal) -> Result<(), sqlx::Error> {
    let installation = &pages.installation;
    let event = Event::new(Kind::Refused, &installation.clock, &installation.random).caller(caller);
    refusal.note(installation, event, json!({ "because": "no setup link", "at": "setup" })).await
}

/// The page for a link that doesn't lead on.
pub fn page(pages: &Pages, why: &Why<'_>) -> Response {
    let url = &pages.installation.public_url;
    let host = url.host();
    let frame = Frame { door: Door::Setup, base: url.base_path(), host: &host, ..Frame::default() };
    let status = match why {
        Why::Unknown => StatusCode::NOT_FOUND,
        Why::Expired | Why::Replaced | Why::Owned => StatusCode::GONE,
        Why::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
    };
    answer::render(status, &NoGood { frame, why })
}
