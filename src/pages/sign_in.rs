//! Signing in, at whatever door.

use std::borrow::Cow;

use askama::Template;
use axum::http::{HeaderMap, StatusCode};

use crate::directory::provider::{Kind, Provider};
use crate::directory::user::LONGEST_TYPED;
use crate::http::client_address::Caller;
use crate::secrets::SecretText;
use crate::upstream::{Callback, UpstreamError};

use super::frame::Frame;
use super::message::Trouble;

/// The organization's providers: step 2, `/activate/sign-in`, and `/account/…`.
#[derive(Debug, Template)]
#[template(path = "activation/sign_in.html")]
pub struct SignIn<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The form for local accounts, if the organization has a `password` provider.
    pub password: Option<PasswordForm<'a>>,
    /// The other providers. With none of either kind the page says whom to turn to.
    pub providers: Vec<ProviderLink<'a>>,
    /// Why the last attempt at a provider came to nothing, for instance that the person cancelled there.
    pub notice: Option<&'a str>,
}

/// The form for local accounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct PasswordForm<'a> {
    /// Address as it was typed.
    pub email: &'a str,
    /// Message beside the address.
    pub email_error: Option<&'a str>,
    /// Message beside the password. A wrong pair belongs here: it must not tell which of the two was wrong.
    pub password_error: Option<&'a str>,
}

/// A link that starts an upstream sign-in.
#[derive(Debug, Clone)]
pub struct ProviderLink<'a> {
    /// Name in "Continue with …".
    pub name: Cow<'a, str>,
    /// Complete target, base path included.
    pub href: Cow<'a, str>,
}

const NO_EMAIL: &str = "Enter your email address.";
const NO_PASSWORD: &str = "Enter your password.";
const LONG_EMAIL: &str = "This is too long for an email address.";
const LONG_PASSWORD: &str = "This is too long for a password.";

/// The longest address that a mail server takes, in bytes (RFC 5321 §4.5.3.1.3, without the brackets).
const LONGEST_EMAIL: usize = 254;

/// Said beside the password when it is not the account's, or there is no such account.
pub const WRONG: &str = "Email address and password don’t fit together. Check both.";

/// How an account of Countersign's own is proven (RFC 8176).
pub const PASSWORD_AMR: &str = "pwd";

impl<'a> PasswordForm<'a> {
    /// The form once more if something in it is missing, or longer than it can be. That is no try: nothing is looked up.
    #[must_use]
    pub fn incomplete(email: &'a str, password: &SecretText) -> Option<Self> {
        let long_email = (email.len() > LONGEST_EMAIL).then_some(LONG_EMAIL);
        let long_password = (password.expose().chars().count() > LONGEST_TYPED).then_some(LONG_PASSWORD);
        let email_error = email.is_empty().then_some(NO_EMAIL).or(long_email);
        let password_error = password.expose().is_empty().then_some(NO_PASSWORD).or(long_password);
        let incomplete = email_error.or(password_error).is_some();
        incomplete.then_some(Self { email, email_error, password_error })
    }

    /// The form once more after a pair that was refused.
    #[must_use]
    pub fn refused(email: &'a str, message: &'a str) -> Self {
        Self { email, email_error: None, password_error: Some(message) }
    }
}

/// The organization's ways to sign in. `start` says where a sign-in at a provider begins.
pub fn page<'a>(
    frame: Frame<'a>,
    providers: &'a [Provider],
    form: PasswordForm<'a>,
    notice: Option<&'a str>,
    start: impl Fn(&Provider) -> String,
) -> SignIn<'a> {
    let password = providers.iter().any(|provider| provider.kind == Kind::Password).then_some(form);
    let upstream = providers.iter().filter(|provider| provider.kind != Kind::Password);
    let links =
        upstream.map(|provider| ProviderLink { name: provider.name.as_str().into(), href: start(provider).into() });
    SignIn { frame, password, providers: links.collect(), notice }
}

/// What to tell somebody whose sign-in at a provider failed; `None` when they did not want it after all.
#[must_use]
pub fn trouble<'a>(error: &UpstreamError, provider: &'a str, retry_href: &'a str) -> Option<(StatusCode, Trouble<'a>)> {
    match error {
        UpstreamError::Denied => None,
        UpstreamError::Unreachable { .. } => {
            Some((StatusCode::BAD_GATEWAY, Trouble::Unreachable { provider, retry_href }))
        }
        UpstreamError::Provider(_) | UpstreamError::Misconfigured(_) | UpstreamError::Untrusted(_) => {
            Some((StatusCode::BAD_GATEWAY, Trouble::Unusable { provider, retry_href }))
        }
    }
}

/// Whether a link is followed by a person: a picture, a frame or a script of another site is none, nor is a browser that
/// fetches what a person may want next.
#[must_use]
pub fn is_followed(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let fetched_ahead =
        ["sec-purpose", "purpose"].iter().any(|name| text(name).is_some_and(|why| why.contains("fetch")));
    let navigates = text("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    // A frame navigates as well, unseen and as often as its page likes.
    let in_a_tab = text("sec-fetch-dest").is_none_or(|destination| destination == "document");
    !fetched_ahead && navigates && in_a_tab
}

/// A browser that comes back from a provider.
#[derive(Clone, Debug)]
pub struct Return {
    /// Whose request it is.
    pub caller: Caller,
    /// The request's headers, with the cookie.
    pub headers: HeaderMap,
    /// The provider's slug, from the callback's address.
    pub provider: String,
    /// What the browser brings back.
    pub callback: Callback,
}

impl Return {
    /// OAuth's `state`; empty when there is none.
    #[must_use]
    pub fn state(&self) -> &str {
        self.callback.state.as_ref().map_or("", |state| state.expose())
    }
}
