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

/// The link that a token is of, if it leads on.
///
/// It is looked up first: 256 bits of chance are found by nobody, so whoever has a right one is let on however many made-up ones come
/// from their network. Those are counted, and past their number they have to wait.
pub async fn find(pages: &Pages, caller: &Caller, token: &str) -> Result<Good, PageError> {
    if !link::could_be_one(token) {
        return Err(page(pages, &Why::Unknown).into());
    }
    let mut conn = pages.installation.pool.acquire().await?;
    let found = link::find(&mut conn, &pages.installation, token).await?;
    drop(conn);
    let why = match found {
        Link::Good(good) => return Ok(good),
        Link::Owned => Why::Owned,
        Link::Expired => Why::Expired,
        Link::Replaced => Why::Replaced,
        Link::Unknown => return Err(made_up(pages, caller).await?.into()),
    };
    Err(page(pages, &why).into())
}

/// The answer for a made-up link: a guess, which counts for the network that it comes from.
async fn made_up(pages: &Pages, caller: &Caller) -> Result<Response, PageError> {
    match attempts::reserve(&pages.installation, &[Subject::SetupLink(caller.ip)]).await? {
        Reservation::Granted(counted) => {
            note(pages, caller, Refusal::wrong(&counted)).await?;
            Ok(page(pages, &Why::Unknown))
        }
        Reservation::Closed(delay) => {
            note(pages, caller, Refusal::Delayed(delay)).await?;
            let mut answer = page(pages, &Why::TooMany { wait: &words::wait(delay.seconds) });
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(delay.seconds));
            Ok(answer)
        }
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
