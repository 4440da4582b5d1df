//! What the pages of the activation walk show.
//!
//! One struct per page, in the order a person meets them, each rendered by the template of the same name. They hold
//! plain text and know nothing of grants, users or providers: a handler decides, a page says. Templates escape
//! everything except [`Enrol::qr_svg`].
//!
//! The pages keep to a policy without inline script or style and need only
//! `default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`.

use std::borrow::Cow;

use askama::Template;

/// The one stylesheet, served at `{base}/static/countersign.css`.
pub const STYLESHEET: &str = include_str!("../../static/countersign.css");

/// The mark that browsers show in a tab, served as `image/svg+xml` at `{base}/static/countersign.svg`.
pub const ICON: &str = include_str!("../../static/countersign.svg");

/// Changes with every change of [`STYLESHEET`] or [`ICON`]: both may be cached for ever under `?v=` this number.
pub const ASSET_VERSION: u32 = fnv1a(ICON.as_bytes(), fnv1a(STYLESHEET.as_bytes(), 0x811c_9dc5));

/// FNV-1a over `bytes`, continued from `hash`. It names a version and protects nothing.
const fn fnv1a(mut bytes: &[u8], mut hash: u32) -> u32 {
    while let [byte, rest @ ..] = bytes {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        bytes = rest;
    }
    hash
}

/// What surrounds every page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame<'a> {
    /// Path of the public URL without a trailing slash: empty, or `/login`. Every link and form begins with it.
    pub base: &'a str,
    /// Host (and port, unless it is the scheme's own) of the public URL: what the person should see in the address bar.
    pub host: &'a str,
    /// Name of the organization, once the code has told it.
    pub organization: Option<&'a str>,
    /// Name of the service, once the code has told it.
    pub service: Option<&'a str>,
    /// Whom the browser session is signed in as, shown with "Not you?" (`POST /activate/sign-out`).
    pub account: Option<&'a str>,
    /// The browser session's token for the hidden field `csrf_token`. Pages that hold no form ignore it.
    pub csrf_token: &'a str,
    /// What to quote to the people who run the server; shown small below the page.
    pub request_id: Option<&'a str>,
}

impl Frame<'_> {
    /// What the tab says after the page's own title: the service, or the host while no service is known.
    fn site(&self) -> &str {
        self.service.or(self.organization).unwrap_or(self.host)
    }

    /// First letter of the organization, for the mark beside its name.
    fn initial(&self) -> String {
        let first = self.organization.and_then(|name| name.chars().find(|c| c.is_alphanumeric()));
        first.map(|letter| letter.to_uppercase().collect()).unwrap_or_default()
    }

    /// The organization in a sentence: its name, or "your organization".
    fn organization_or_yours(&self) -> &str {
        self.organization.unwrap_or("your organization")
    }

    /// The service in a sentence: its name, or "the service".
    fn service_or_the(&self) -> &str {
        self.service.unwrap_or("the service")
    }
}

/// Step 1, `/activate`: the code that the device shows.
#[derive(Debug, Template)]
#[template(path = "activation/code.html")]
pub struct Code<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// What the field `user_code` holds.
    pub entry: CodeEntry<'a>,
}

/// What the code page knows already.
#[derive(Debug, Clone, Copy)]
pub enum CodeEntry<'a> {
    /// Nothing: an empty field.
    Empty,
    /// A code from the link, in the form that devices show. The person is asked to compare it.
    Prefilled(&'a str),
    /// A code that was refused: kept in the field as it was typed, with the reason beside it.
    Refused {
        /// As it was typed.
        typed: &'a str,
        /// One sentence that says what to do.
        error: &'a str,
    },
}

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

/// Step 3, `/activate/mfa`: the challenge of someone who has a factor.
#[derive(Debug, Template)]
#[template(path = "activation/mfa.html")]
pub struct Mfa<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Message beside the field. What was typed is not shown again.
    pub error: Option<MfaError<'a>>,
    /// Development mode only: the code that is right just now.
    pub development_code: Option<&'a str>,
}

/// Which of the two forms of the challenge was refused. Both send the field `code`; [`MfaError::beside`] chooses by
/// what was typed.
#[derive(Debug, Clone, Copy)]
pub enum MfaError<'a> {
    /// Beside the field for the authenticator's code.
    Totp(&'a str),
    /// Beside the field for a recovery code, which is unfolded.
    Recovery(&'a str),
}

impl<'a> MfaError<'a> {
    /// Puts `message` beside the form that `typed` came from: a recovery code holds more than six characters.
    #[must_use]
    pub fn beside(typed: &str, message: &'a str) -> Self {
        if typed.chars().filter(|c| c.is_alphanumeric()).count() > 6 {
            Self::Recovery(message)
        } else {
            Self::Totp(message)
        }
    }

    fn totp(error: Option<Self>) -> Option<&'a str> {
        match error {
            Some(Self::Totp(message)) => Some(message),
            _ => None,
        }
    }

    fn recovery(error: Option<Self>) -> Option<&'a str> {
        match error {
            Some(Self::Recovery(message)) => Some(message),
            _ => None,
        }
    }
}

/// Step 3, `/activate/mfa`, for someone who has no factor yet and must have one.
#[derive(Debug, Template)]
#[template(path = "activation/enrol.html")]
pub struct Enrol<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// QR code of `otpauth_url` as an `<svg>` element. The only field that is not escaped: it must come from the QR
    /// encoder and hold neither a `style` attribute nor an XML declaration (see [`svg_element`]).
    pub qr_svg: &'a str,
    /// The `otpauth://` URL, for someone whose authenticator is on the device that shows this page.
    pub otpauth_url: &'a str,
    /// Name under which the authenticator will list the account.
    pub account_name: &'a str,
    /// Secret in base32; shown in groups of four.
    pub secret: &'a str,
    /// Message beside the field `code`.
    pub error: Option<&'a str>,
    /// Development mode only: the code that is right just now.
    pub development_code: Option<&'a str>,
}

impl Enrol<'_> {
    fn secret_groups(&self) -> Vec<String> {
        let signs: Vec<char> = self.secret.chars().collect();
        signs.chunks(4).map(|group| group.iter().collect()).collect()
    }
}

/// The `<svg>` element of an SVG document, without the XML declaration, which has no place inside HTML.
#[must_use]
pub fn svg_element(document: &str) -> &str {
    document.split_once("?>").map_or(document, |(_, element)| element.trim_start())
}

/// Step 3, right after enrolment: the only time that recovery codes are shown.
#[derive(Debug, Template)]
#[template(path = "activation/recovery_codes.html")]
pub struct RecoveryCodes<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// The codes, in the form in which they can be typed.
    pub codes: &'a [String],
}

/// Step 4, `/activate/confirm`: everything a person needs to tell their own device from somebody else's.
#[derive(Debug, Template)]
#[template(path = "activation/confirm.html")]
pub struct Confirm<'a> {
    /// What surrounds the page; organization, service and account are known here.
    pub frame: Frame<'a>,
    /// The code in the form that devices show.
    pub user_code: &'a str,
    /// Who asked.
    pub device: RequestingDevice<'a>,
    /// What it may do.
    pub scopes: Vec<ScopeChoice<'a>>,
    /// Whether the box `mine` is ticked.
    pub mine: bool,
    /// Message beside the box `mine`.
    pub mine_error: Option<&'a str>,
}

/// What is known of the device that asked for the code.
#[derive(Debug, Clone, Copy)]
pub struct RequestingDevice<'a> {
    /// The name that it gave itself. Shown as a claim.
    pub claimed_name: Option<&'a str>,
    /// The user agent in words, such as "curl on Linux", or that it did not say.
    pub program: &'a str,
    /// Address it asked from.
    pub address: &'a str,
    /// How long ago it asked: "2 minutes ago".
    pub asked: &'a str,
    /// How its network compares with the one of this browser.
    pub network: Network,
}

/// The requesting device's network, seen from the approving browser's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Comparing is switched off, or would say nothing.
    Unknown,
    /// Both come from the same network.
    Same,
    /// They come from different ones: shown as a warning.
    Other,
}

/// One permission as a check box.
#[derive(Debug, Clone, Copy)]
pub struct ScopeChoice<'a> {
    /// Value of the field `scope`.
    pub name: &'a str,
    /// The scope in words.
    pub label: &'a str,
    /// Can't be taken away: shown ticked and fixed, and sent all the same.
    pub required: bool,
    /// Ticked. All are at first; on a page shown again, those that the person left ticked.
    pub checked: bool,
}

/// Step 5, `/activate/done`.
#[derive(Debug, Template)]
#[template(path = "activation/done.html")]
pub struct Done<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// What was decided.
    pub outcome: Outcome,
    /// Complete link to the person's device list.
    pub devices_href: Option<&'a str>,
    /// Complete link back to the service's own activation page, if it has one.
    pub return_href: Option<&'a str>,
}

/// What the person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The device receives its tokens at its next poll.
    Approved,
    /// The device receives nothing.
    Denied,
}

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
    /// The service or its organization does not offer device login now (403).
    Unavailable,
    /// The device asks from another network and the service forbids that (403).
    OtherNetwork,
    /// Too many wrong codes (429).
    TooManyAttempts {
        /// How long to wait: "5 minutes".
        wait: &'a str,
    },
    /// No such page (404, 405).
    NotFound,
    /// Something failed here (500, 503).
    Server,
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
            Self::Unavailable => "Device sign-in is switched off".into(),
            Self::OtherNetwork => "Your device is on another network".into(),
            Self::TooManyAttempts { .. } => "Too many attempts".into(),
            Self::NotFound => "There is no such page".into(),
            Self::Server => "Something went wrong on our side".into(),
        }
    }
}

/// A code letter by letter, so that a screen reader does not try to pronounce it.
fn spelled(code: &str) -> String {
    let signs: Vec<String> =
        code.chars().map(|sign| if sign == '-' { "dash".to_owned() } else { sign.to_string() }).collect();
    signs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_claims_stays_text() -> askama::Result<()> {
        let device = RequestingDevice {
            claimed_name: Some("<img src=x onerror=alert(1)>"),
            program: "\"><script>",
            address: "192.0.2.1",
            asked: "just now",
            network: Network::Other,
        };
        let frame = Frame { organization: Some("A&B"), ..Frame::default() };
        let page = Confirm { frame, user_code: "WDJB-MJHT", device, scopes: vec![], mine: false, mine_error: None };
        let html = page.render()?;
        assert!(!html.contains("<img") && !html.contains("<script"), "{html}");
        assert!(html.contains("A&#38;B"), "{html}");
        Ok(())
    }

    #[test]
    fn a_wrong_recovery_code_is_told_beside_its_own_field() {
        assert!(matches!(MfaError::beside(" 123 456 ", "wrong"), MfaError::Totp("wrong")));
        assert!(matches!(MfaError::beside("a7kq-x2md-p9tw", "wrong"), MfaError::Recovery("wrong")));
    }
}
