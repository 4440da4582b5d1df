//! The pages of second factors: the challenge, setting one up, recovery codes.

use askama::Template;

use super::frame::Frame;

/// The challenge of someone who has a factor: step 3, `/activate/mfa`, and `/account/…`.
#[derive(Debug, Template)]
#[template(path = "activation/mfa.html")]
pub struct Mfa<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Why it is asked, where that isn't what is asked of everybody.
    pub why: Option<&'a str>,
    /// Message beside the field. What was typed is not shown again.
    pub error: Option<MfaError<'a>>,
    /// Development mode only: the code that is right just now.
    pub development_code: Option<&'a str>,
    /// Whether a recovery code will do.
    pub recovery: bool,
    /// Which page of the door the form leads to, where that isn't always the same.
    pub next: Option<&'a str>,
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

/// Why somebody sets up a factor, or gets recovery codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The organization asks for a factor, and there is none.
    Required,
    /// The installation gets its first owner.
    First,
    /// They want one.
    Chosen,
    /// It takes the place of what they have.
    Replacing,
}

/// Setting up an authenticator: step 3, `/activate/mfa`, for someone who has none and must, and `/account/…`.
#[derive(Debug, Template)]
#[template(path = "activation/enrol.html")]
pub struct Enrol<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Why it is set up.
    pub occasion: Occasion,
    /// QR code of `otpauth_url` as an `<svg>` element. The only field that is not escaped: it must come from the QR
    /// encoder and hold neither a `style` attribute nor an XML declaration (see [`svg_element`]).
    pub qr_svg: &'a str,
    /// The `otpauth://` URL, for someone whose authenticator is on the device that shows this page.
    pub otpauth_url: &'a str,
    /// Name under which the authenticator will list the account.
    pub account_name: &'a str,
    /// Secret in base32; shown in groups of four.
    pub secret: &'a str,
    /// Hidden fields that the form carries on, besides its token.
    pub carried: &'a [(&'a str, &'a str)],
    /// Message beside the field `code`.
    pub error: Option<&'a str>,
    /// Development mode only: the code that is right just now.
    pub development_code: Option<&'a str>,
}

impl Enrol<'_> {
    fn heading(&self) -> &'static str {
        match self.occasion {
            Occasion::Required | Occasion::First | Occasion::Chosen => "Set up an authenticator",
            Occasion::Replacing => "Replace your authenticator",
        }
    }

    /// The page of the door that takes the first code.
    fn taken_by(&self) -> &'static str {
        match self.occasion {
            Occasion::Required => "mfa",
            Occasion::First | Occasion::Chosen | Occasion::Replacing => "authenticator",
        }
    }

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

/// The only time that recovery codes are shown.
#[derive(Debug, Template)]
#[template(path = "activation/recovery_codes.html")]
pub struct RecoveryCodes<'a> {
    /// What surrounds the page.
    pub frame: Frame<'a>,
    /// Whether they come with a new factor or take the place of others.
    pub occasion: Occasion,
    /// The codes, in the form in which they can be typed.
    pub codes: &'a [&'a str],
    /// Which page of the door comes next: `/confirm`, or nothing for its first.
    pub then: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_recovery_code_is_told_beside_its_own_field() {
        assert!(matches!(MfaError::beside(" 123 456 ", "wrong"), MfaError::Totp("wrong")));
        assert!(matches!(MfaError::beside("a7kq-x2md-p9tw", "wrong"), MfaError::Recovery("wrong")));
    }
}
