//! Who looks at a page: a browser with a session, or one that may get one.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::ids::{BrowserSessionId, GrantId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{Keyring, Purpose, SecretText, base64url, from_base64url};

use super::store::{self, Token};

/// A browser, known by its cookie or new.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The cookie's value, which may not have been sent yet.
    pub(super) token: SecretText,
    /// The session that is stored under it.
    pub session: Option<BrowserSession>,
    send_cookie: bool,
}

/// A stored browser session.
#[derive(Clone, Copy, Debug)]
pub struct BrowserSession {
    /// Its id, which outlives its cookie's value.
    pub id: BrowserSessionId,
    /// The device grant that the pages are about.
    pub grant_id: Option<GrantId>,
}

impl BrowserSession {
    /// The same session, its pages about another device login.
    #[must_use]
    pub fn about(self, grant: GrantId) -> Self {
        Self { grant_id: Some(grant), ..self }
    }
}

impl Visitor {
    /// Recognizes the browser by its cookie, or draws the value of a new one.
    pub async fn recognize(
        conn: &mut PgConnection,
        installation: &Installation,
        headers: &HeaderMap,
    ) -> Result<Self, sqlx::Error> {
        let Some(token) = cookie(headers, name(installation)) else {
            return Ok(Self { token: draw(installation), session: None, send_cookie: true });
        };
        Ok(match store::by_token(conn, installation, &token).await? {
            Token::Live(session) => Self { token, session: Some(session), send_cookie: false },
            Token::Unknown => Self { token, session: None, send_cookie: false },
            Token::Over => Self { token: draw(installation), session: None, send_cookie: true },
        })
    }

    /// The browser whose sign-in form is sent a second time, with the cookie from before the first. It has the session
    /// again, and a right to it only if the form proves once more who sends it: a cookie that somebody else planted or
    /// read does not.
    pub async fn clicked_again(
        conn: &mut PgConnection,
        installation: &Installation,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, sqlx::Error> {
        let Some(token) = cookie(headers, name(installation)) else { return Ok(None) };
        let session = store::by_previous_token(conn, installation, &token).await?;
        Ok(session.map(|session| Self { token, session: Some(session), send_cookie: false }))
    }

    /// A browser that sends no cookie, which is known without the database.
    #[must_use]
    pub fn newcomer(installation: &Installation, headers: &HeaderMap) -> Option<Self> {
        let unknown = cookie(headers, name(installation)).is_none();
        unknown.then(|| Self { token: draw(installation), session: None, send_cookie: true })
    }

    /// What tells this browser from others, to be stored: its session's id, or a keyed hash of the cookie that it sent.
    /// `None`: it sent none.
    #[must_use]
    pub fn mark(&self, keyring: &Keyring) -> Option<String> {
        match self.session {
            Some(session) => Some(session.id.to_string()),
            None if self.send_cookie => None,
            None => Some(base64url(&keyring.mac(Purpose::BrowserSession, &[self.token.expose().as_bytes(), b"mark"]))),
        }
    }

    /// The stored session, stored now if there was none.
    pub async fn session(
        &mut self,
        conn: &mut PgConnection,
        installation: &Installation,
    ) -> Result<BrowserSession, sqlx::Error> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        let session = store::create(conn, installation, &self.token).await?;
        self.session = Some(session);
        Ok(session)
    }

    /// Gives the session a new cookie value, as every sign-in does: whoever knew the old one knows nothing now.
    pub async fn renew(&mut self, conn: &mut PgConnection, installation: &Installation) -> Result<(), sqlx::Error> {
        let session = self.session(conn, installation).await?;
        self.token = draw(installation);
        self.send_cookie = true;
        store::set_token(conn, installation, session.id, &self.token).await
    }

    /// Adds the cookie to an answer, when the browser hasn't got it yet.
    pub fn send_cookie(&self, installation: &Installation, headers: &mut HeaderMap) {
        if !self.send_cookie {
            return;
        }
        let secure = if installation.public_url.is_secure() { "; Secure" } else { "" };
        let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Lax{secure}", name(installation), self.token.expose());
        if let Ok(mut value) = HeaderValue::try_from(cookie) {
            value.set_sensitive(true);
            headers.append(header::SET_COOKIE, value);
        }
    }
}

/// The prefix binds the cookie to this host and to https (RFC 6265bis §4.1.3.2); `http://localhost` can't have it.
fn name(installation: &Installation) -> &'static str {
    if installation.public_url.is_secure() { "__Host-countersign" } else { "countersign" }
}

fn draw(installation: &Installation) -> SecretText {
    SecretText::from(base64url(&installation.random.bytes::<32>()))
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<SecretText> {
    // Only what we drew: 32 bytes. A browser that sends anything else gets a new one.
    let drawn = |value: &&str| from_base64url(value).is_some_and(|bytes| bytes.len() == 32);
    cookies(headers, name).find(drawn).map(SecretText::from)
}

/// The values of all cookies of this name.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    // Another site of the same domain may have set one that is no text.
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|list| list.as_bytes().split(|byte| *byte == b';'));
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}
