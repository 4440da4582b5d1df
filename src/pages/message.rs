//! Pages that stand in for the one that was asked for.

use std::borrow::Cow;

use askama::Template;

use super::frame::Frame;

/// Any page that ends the walk, or interrupts it: what happened, and what to do next.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub struct Message<'a> {
    /// What surrounds the page. With [`Trouble::Server`] give it the request's id.
    pub frame: Frame<'a>,
    /// What happened.
    pub trouble: Trouble<'a>,
}

/// What can stand between a person and a decision.
#[derive(Debug, Clone, Copy)]
pub enum Trouble<'a> {
    /// The code ran out (410).
    Expired,
    /// The login is unknown to this browser session: another browser holds it, or the cookie is gone (409).
    Elsewhere,
    /// The decision was taken already (409).
    Decided,
    /// The form was open too long, or came from another site: its token or origin is not right (403).
    StaleForm,
    /// The provider signed the person in, but admission keeps them out (403).
    Refused {
        /// The provider's name.
        provider: &'a str,
        /// As whom the provider signed them in, if it said so.
        identity: Option<&'a str>,
        /// Complete link that lets them choose another way to sign in.
        retry_href: &'a str,
    },
    /// The provider did not answer (502, 504).
    Unreachable {
        /// The provider's name.
        provider: &'a str,
        /// Complete link that tries again.
        retry_href: &'a str,
    },
    /// The provider's answer could not be accepted: wrong state, issuer or signature, or an error of its own (400, 502).
    Unusable {
        /// The provider's name.
        provider: &'a str,
        /// Complete link that tries again.
        retry_href: &'a str,
    },
    /// The provider signed the person in by an older sign-in than is asked, or by one of which it doesn't say when it
    /// was (403).
    NotFresh {
        /// The provider's name.
        provider: &'a str,
        /// What is asked: "a sign-in of the last 5 minutes".
        asked: &'a str,
        /// Whether it doesn't say.
        undated: bool,
        /// Complete link that insists.
        retry_href: &'a str,
        /// Complete link to the other ways to sign in.
        others_href: &'a str,
    },
    /// Nobody says how recent the person's sign-in is, and they had no authenticator to make up for it when the code was
    /// entered (403).
    NoAuthenticator {
        /// What is asked: "a sign-in of the last 5 minutes".
        asked: &'a str,
        /// Complete link to their account pages.
        account_href: &'a str,
    },
    /// The service or its organization does not offer device login now (403).
    Unavailable,
    /// The organization is suspended (403).
    Suspended,
    /// The device is not on this browser's network, as far as can be told, and the service wants it to be (403).
    TooFar {
        /// What is known.
        distance: Distance,
        /// The address from which the device asked.
        device: &'a str,
        /// This browser's address.
        you: &'a str,
    },
    /// Too many wrong user codes: no more are taken, not even right ones (429).
    TooManyGuesses {
        /// Whose they were.
        whose: Guesses,
        /// How long to wait: "5 minutes".
        wait: &'a str,
    },
    /// Too many passwords wait to be checked already (503).
    Busy,
    /// The server was asked under another name than the public URL's (421).
    OtherHost,
    /// No such page (404, 405).
    NotFound,
    /// Something failed here (500, 503).
    Server,
}

/// Whose wrong codes are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guesses {
    /// Of this browser, this account or this address.
    Yours,
    /// Of anybody. Codes that devices get now are longer, and taken.
    Everybodys,
    /// Of anybody, of codes of every length.
    EverybodysOfAllCodes,
}

/// Why a device doesn't count as near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// It is on another network than this browser.
    OtherNetwork,
    /// One has an address of IPv4, the other of IPv6.
    Incomparable,
    /// A proxy hides this browser's address.
    Hidden,
}

impl Trouble<'_> {
    /// The heading, which is also the title.
    fn heading(&self) -> Cow<'static, str> {
        match self {
            Self::Expired => "This code has expired".into(),
            Self::Elsewhere => "This sign-in is not open in this browser".into(),
            Self::Decided => "This sign-in has been decided already".into(),
            Self::StaleForm => "This page is out of date".into(),
            Self::Refused { .. } => "This account has no access here".into(),
            Self::Unreachable { provider, .. } => format!("{provider} can’t be reached just now").into(),
            Self::Unusable { provider, .. } => format!("The sign-in with {provider} did not work").into(),
            Self::NotFresh { provider, undated: true, .. } => {
                format!("{provider} did not say when you signed in").into()
            }
            Self::NoAuthenticator { .. } => "This device needs an authenticator".into(),
            Self::NotFresh { provider, .. } => format!("{provider} did not ask you to sign in again").into(),
            Self::Unavailable => "Device sign-in is switched off".into(),
            Self::Suspended => "Nobody can sign in here at the moment".into(),
            Self::TooFar { distance: Distance::OtherNetwork, .. } => "Your device is on another network".into(),
            Self::TooFar { .. } => "It can’t be told whether your device is near you".into(),
            Self::TooManyGuesses { .. } => "Too many wrong codes".into(),
            Self::Busy => "Too many people are signing in just now".into(),
            Self::OtherHost => "This server has another address".into(),
            Self::NotFound => "There is no such page".into(),
            Self::Server => "Something went wrong on our side".into(),
        }
    }
}
