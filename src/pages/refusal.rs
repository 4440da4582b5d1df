//! A try at a password or a second factor that gained nothing: what the person is told, and what the audit.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crate::attempts::{Delay, Try};
use crate::audit::Event;
use crate::directory::user::User;
use crate::installation::Installation;

use crate::words;

/// Why a try gained nothing. It is the same for accounts that don't exist.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// It was wrong.
    Wrong {
        /// For how many seconds the next one has to wait.
        next_in: Option<u64>,
    },
    /// It was not looked at, because there were too many wrong ones before.
    Delayed(Delay),
}

impl Refusal {
    /// A try that was wrong.
    #[must_use]
    pub fn wrong(attempt: &Try) -> Self {
        Self::Wrong { next_in: attempt.next_in() }
    }

    /// 400, or 429 (RFC 6585 §4).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Wrong { .. } => StatusCode::BAD_REQUEST,
            Self::Delayed(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// What to say beside the field. `wrong`: what is said of one that was wrong.
    #[must_use]
    pub fn message(&self, wrong: &'static str) -> Cow<'static, str> {
        match self {
            Self::Wrong { next_in: None } => wrong.into(),
            Self::Wrong { next_in: Some(seconds) } => {
                format!("{wrong} You can try again in {}.", words::wait(*seconds)).into()
            }
            Self::Delayed(delay) => {
                format!("There were too many wrong tries. You can try again in {}.", words::wait(delay.seconds)).into()
            }
        }
    }

    /// The page that says so, with `Retry-After`.
    #[must_use]
    pub fn answer(&self, mut page: Response) -> Response {
        if let Self::Delayed(delay) = self {
            page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(delay.seconds));
        }
        page
    }

    /// Notes a sign-in that was refused. The page doesn't tell whether there is such an account; the audit does.
    pub async fn note_sign_in(
        &self,
        installation: &Installation,
        event: Event,
        user: Option<&User>,
        provider: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        let event = match user {
            Some(user) => event.user(user.id),
            None => event,
        };
        let mut detail = json!({ "because": "wrong password or no such account" });
        if let Some(provider) = provider {
            put(&mut detail, "provider", provider.into());
        }
        self.note(installation, event, detail).await
    }

    /// Notes it: every try that was wrong, and one of all that come during a delay. `detail` is an object that says what
    /// was tried.
    pub async fn note(&self, installation: &Installation, event: Event, mut detail: Value) -> Result<(), sqlx::Error> {
        let mut tx = installation.pool.begin().await?;
        match self {
            Self::Wrong { next_in: None } => {}
            Self::Wrong { next_in: Some(seconds) } => put(&mut detail, "delay", (*seconds).into()),
            Self::Delayed(delay) => {
                if !delay.is_news(&mut tx, installation.clock.now()).await? {
                    return Ok(());
                }
                put(&mut detail, "because", "too many wrong tries".into());
                put(&mut detail, "delay_of", delay.of.into());
                put(&mut detail, "delay", delay.seconds.into());
            }
        }
        event.detail(detail).append(&mut tx).await?;
        tx.commit().await
    }
}

fn put(detail: &mut Value, name: &str, value: Value) {
    if let Some(members) = detail.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
