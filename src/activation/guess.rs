//! A code that somebody enters is a guess until it proves to be theirs.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::browser;
use crate::browser::visitor::Visitor;
use crate::budget::{Exhausted, Purpose};
use crate::device::codes::{Length, UserCode};
use crate::device::guessing::{self, Guesser};
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer;
use crate::pages::frame::Frame;
use crate::pages::message::{Guesses, Message, Trouble};
use crate::postgres::PgConnection;
use crate::words;

/// Lets this browser try a code, `None` for what is none; not within a transaction. A code that it holds already costs nothing.
pub async fn try_code(
    conn: &mut PgConnection,
    pages: &Pages,
    caller: &Caller,
    visitor: &Visitor,
    code: Option<&UserCode>,
) -> Result<Result<(), Exhausted>, sqlx::Error> {
    let installation = &pages.installation;
    let session = visitor.session.map(|session| session.id);
    let accounts = match session {
        Some(session) => browser::store::accounts(conn, session).await?,
        None => Vec::new(),
    };
    let guesser = Guesser { browser: visitor.mark(&installation.keyring), session, accounts, caller };
    guessing::try_code(conn, installation, &pages.live, &guesser, code).await
}

/// The page for a code that isn't looked up.
pub fn refusal(pages: &Pages, visitor: &Visitor, exhausted: Exhausted, code: Option<&UserCode>) -> Response {
    let url = &pages.installation.public_url;
    let host = url.host();
    let whose = match (exhausted.purpose, code.map_or(Length::Eight, UserCode::length)) {
        (Purpose::Installation, Length::Eight) => Guesses::Everybodys,
        (Purpose::Installation, Length::Ten) => Guesses::EverybodysOfAllCodes,
        _ => Guesses::Yours,
    };
    let seconds = exhausted.wait.num_seconds().max(0).unsigned_abs();
    let wait = words::wait(seconds.max(1));
    let frame = Frame { base: url.base_path(), host: &host, ..Frame::default() };
    let trouble = Trouble::TooManyGuesses { whose, wait: &wait };
    let mut page = answer::render(StatusCode::TOO_MANY_REQUESTS, &Message { frame, trouble });
    page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds + 1));
    pages.with_cookie(visitor, page)
}
