//! What the setup pages show, besides what they share with the other doors ([`crate::pages`]).

use askama::Template;

use crate::pages::frame::Frame;

/// `/setup`: who the first owner is.
#[derive(Debug, Template)]
#[template(path = "setup/form.html")]
pub struct SignUp<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The link's token, for the hidden field.
    pub token: &'a str,
    /// Address as it was typed.
    pub email: &'a str,
    /// Name as it was typed.
    pub name: &'a str,
    /// Messages beside the fields.
    pub errors: Errors,
}

/// Messages beside the fields of the form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors {
    /// Beside the address.
    pub email: Option<&'static str>,
    /// Beside the name.
    pub name: Option<&'static str>,
    /// Beside the password.
    pub password: Option<&'static str>,
    /// Beside its repetition.
    pub again: Option<&'static str>,
}

impl Errors {
    /// The first field that has one, and what it is.
    #[must_use]
    pub fn first(&self) -> Option<(&'static str, &'static str)> {
        let fields =
            [("email", self.email), ("name", self.name), ("password", self.password), ("password_again", self.again)];
        fields.into_iter().find_map(|(field, message)| Some((field, message?)))
    }
}

/// A link that doesn't lead on.
#[derive(Debug, Template)]
#[template(path = "setup/no_good.html")]
pub struct NoGood<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Why.
    pub why: &'a Why<'a>,
}

/// Why a link doesn't lead on.
#[derive(Debug, Clone, Copy)]
pub enum Why<'a> {
    /// It is none (404).
    Unknown,
    /// Its half hour is over (410).
    Expired,
    /// A later start of a server printed another (410).
    Replaced,
    /// There is an owner (410).
    Owned,
    /// Too many that were none came from this network (429).
    TooMany {
        /// How long to wait: "5 minutes".
        wait: &'a str,
    },
}

impl Why<'_> {
    fn heading(&self) -> &'static str {
        match self {
            Self::Unknown => "This is no setup link",
            Self::Expired => "This setup link has expired",
            Self::Replaced => "There is a newer setup link",
            Self::Owned => "This server is set up already",
            Self::TooMany { .. } => "Too many wrong links",
        }
    }
}

/// `/setup/done`: what comes next.
#[derive(Debug, Template)]
#[template(path = "setup/done.html")]
pub struct Done<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The public URL.
    pub issuer: &'a str,
}
