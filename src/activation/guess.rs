//! A code that somebody enters is a guess until it proves to be theirs.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::browser;
use crate::browser::visitor::Visitor;
use crate::budget::{self, Exhausted, Purpose, Receipt};
use crate::device::codes::{Length, UserCode};
use crate::device::guessing::{self, Guesser};
use crate::device::store;
use crate::http::client_address::Caller;
use crate::pages::Pages;
use crate::pages::answer;
use crate::pages::frame::Frame;
use crate::pages::message::{Guesses, Message, Trouble};
use crate::postgres::PgConnection;
use crate::words;

/// A try that is paid for.
#[must_use = "a right one gets back what it cost"]
pub struct Try(Option<Receipt>);

impl Try {
    /// Pays for a try of this code, `None` for what is none; not within a transaction. A code that this browser holds already
    /// costs nothing.
    pub async fn begin(
        conn: &mut PgConnection,
        pages: &Pages,
        caller: &Caller,
        visitor: &Visitor,
        code: Option<&UserCode>,
    ) -> Result<Result<Self, Exhausted>, sqlx::Error> {
        let installation = &pages.installation;
        let mut accounts = Vec::new();
        if let Some(session) = visitor.session {
            let macs = code.map(|code| code.macs(&installation.keyring)).unwrap_or_default();
            if store::is_held(conn, &macs, session.id, installation.clock.now()).await? {
                return Ok(Ok(Self(None)));
            }
            accounts = browser::store::accounts(conn, session.id).await?;
        }
        let guesser = Guesser { browser: visitor.mark(&installation.keyring), accounts, caller };
        let paid = guessing::pay(conn, installation, &pages.live, &guesser, code).await?;
        Ok(paid.map(|receipt| Self(Some(receipt))))
    }

    /// It was right: nothing was guessed.
    pub async fn was_right(self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        match self.0 {
            Some(receipt) => budget::give_back(conn, receipt).await,
            None => Ok(()),
        }
    }
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
