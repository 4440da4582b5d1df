//! Whether a password is right, for whoever may try.

use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use crate::attempts::{self, Reservation, Subject};
use crate::audit::Event;
use crate::browser::known::{self, KnownBrowser, Proof};
use crate::directory::user::{self, LONGEST_PASSWORD, SHORTEST_PASSWORD, Status, User};
use crate::http::client_address::Caller;
use crate::ids::OrganizationId;
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::SecretText;

use super::answer::PageError;
use super::refusal::Refusal;

/// Said beside a new password.
pub const TOO_SHORT: &str = "A password has at least 8 characters.";
/// Said beside a new password.
pub const TOO_LONG: &str = "A password has at most 200 characters.";

/// What is wrong with a new password, if anything is.
#[must_use]
pub fn unfit(new: &str) -> Option<&'static str> {
    let length = new.chars().count();
    if length < SHORTEST_PASSWORD {
        Some(TOO_SHORT)
    } else if length > LONGEST_PASSWORD {
        Some(TOO_LONG)
    } else {
        None
    }
}

/// What came of an address and a password.
pub enum Checked {
    /// They fit, and the account may sign in.
    Right(Box<Proven>),
    /// They don't, or it was not looked at. Whose account it would be is for the audit alone.
    Refused(Refusal, Option<User>),
}

/// Somebody who has typed their password.
pub struct Proven {
    /// Who.
    pub user: User,
    known: Option<KnownBrowser>,
}

impl Proven {
    /// Whether it still is their password, and until the transaction ends: one that is replaced meanwhile signs nobody in. If
    /// it isn't, that is the `refused` event.
    pub async fn holds(&self, conn: &mut PgConnection, refused: Event) -> Result<bool, sqlx::Error> {
        let hash = self.user.password_hash.as_deref().unwrap_or_default();
        if user::hold_password(conn, self.user.id, hash).await? {
            return Ok(true);
        }
        let because = json!({ "because": "the password was replaced, or the account locked, meanwhile" });
        refused.user(self.user.id).detail(because).append(conn).await?;
        Ok(false)
    }

    /// The answer, after which the browser has tries of its own for this account.
    #[must_use]
    pub fn remembered(&self, installation: &Installation, mut answer: Response) -> Response {
        if let Some(hash) = &self.user.password_hash {
            known::remember(installation, answer.headers_mut(), self.user.id, Proof::Password(hash), self.known);
        }
        answer
    }
}

/// The account that address and password fit, if it may sign in and a try may be made. What is asked of the database, and
/// how long it takes, is the same for an account that doesn't exist. Call it without a connection in hand: hashing takes
/// long.
pub async fn check(
    installation: &Installation,
    caller: &Caller,
    headers: &HeaderMap,
    organization: OrganizationId,
    email: &str,
    password: &SecretText,
) -> Result<Checked, PageError> {
    let _place = installation.passwords.place()?;
    let mut conn = installation.pool.acquire().await?;
    let user = user::by_email(&mut conn, organization, email).await?;
    // PostgreSQL and Rust don't agree on every letter: how an address is folded must not tell whether it is somebody's.
    let email = user::folded(&mut conn, email).await?;
    drop(conn);
    let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
    let known = user
        .as_ref()
        .zip(hash)
        .and_then(|(user, hash)| known::recognize(installation, headers, user.id, Proof::Password(hash)));
    let subjects: &[Subject<'_>] = match known {
        Some(known) => &[Subject::KnownBrowser(known.id)],
        None => &[Subject::Account { organization, email: &email }, Subject::Network(caller.ip)],
    };
    let attempt = match attempts::reserve(installation, subjects).await? {
        Reservation::Granted(attempt) => attempt,
        Reservation::Closed(delay) => return Ok(Checked::Refused(Refusal::Delayed(delay), user)),
    };
    let right = installation.passwords.verify(password, hash).await;
    match user {
        Some(user) if right && user.status != Status::Locked => {
            attempt.was_right(&mut *installation.pool.acquire().await?).await?;
            Ok(Checked::Right(Box::new(Proven { user, known })))
        }
        user => Ok(Checked::Refused(Refusal::wrong(&attempt), user)),
    }
}
