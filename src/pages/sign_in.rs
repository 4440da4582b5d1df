//! The page on which people sign in.

use std::borrow::Cow;

use askama::Template;

use super::frame::Frame;

/// Step 2, `/activate/sign-in`: the organization's providers.
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
