//! Who a provider says somebody is.

use chrono::{DateTime, Utc};

use super::error::UpstreamError;

/// What a provider says of a person, and nothing that it hasn't verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The person's name at the provider, which never becomes anybody else's.
    pub subject: String,
    /// An address that the provider says is theirs; lower case. None that is merely claimed.
    pub email: Option<String>,
    /// As they are called.
    pub name: Option<String>,
    /// Groups, or the logins of GitHub organizations in lower case. Asked for only where admission needs them.
    pub groups: Vec<String>,
    /// How they proved themselves over there (RFC 8176).
    pub amr: Vec<String>,
    /// When they did; not every provider says.
    pub auth_time: Option<DateTime<Utc>>,
    /// Whether `amr` shows more than one factor: for providers whose word on that is trusted.
    pub second_factor: bool,
}

/// OpenID Connect Core §2: `sub` has at most 255 ASCII characters.
const LONGEST_SUBJECT: usize = 255;
/// RFC 5321 §4.5.3.1.3, without the angle brackets.
const LONGEST_ADDRESS: usize = 254;
const LONGEST_NAME: usize = 200;
/// `amr` goes into our own tokens: no provider needs more, or longer ones.
const MOST_METHODS: usize = 16;
const LONGEST_METHOD: usize = 32;

impl Identity {
    /// An identity with nothing but its subject, when that can be one.
    pub(super) fn of(subject: &str) -> Result<Self, UpstreamError> {
        let readable = !subject.is_empty()
            && subject.len() <= LONGEST_SUBJECT
            && subject.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control());
        if !readable {
            return Err(UpstreamError::Untrusted("its subject is empty, too long or not ASCII"));
        }
        Ok(Self {
            subject: subject.to_owned(),
            email: None,
            name: None,
            groups: Vec::new(),
            amr: Vec::new(),
            auth_time: None,
            second_factor: false,
        })
    }

    /// Adds an address that the provider has verified.
    pub(super) fn with_verified_email(mut self, email: Option<&str>) -> Self {
        self.email = email.and_then(address);
        self
    }

    /// Adds a name, without what can't be shown.
    pub(super) fn with_name(mut self, name: Option<&str>) -> Self {
        let shown = |name: &str| name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect::<String>();
        self.name = name.map(shown).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        self
    }

    /// Adds how the person proved themselves.
    pub(super) fn with_methods<'a>(mut self, amr: impl Iterator<Item = &'a str>) -> Self {
        let plain = |method: &&str| {
            !method.is_empty() && method.len() <= LONGEST_METHOD && method.bytes().all(|b| b.is_ascii_graphic())
        };
        self.amr = amr.filter(plain).take(MOST_METHODS).map(str::to_owned).collect();
        self.second_factor = shows_two_factors(&self.amr);
        self
    }
}

/// An address to compare by, in lower case. Only ASCII: lower-casing other letters folds different ones together (the
/// Kelvin sign becomes a k), and then a verified address would be another person's.
fn address(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    let readable = !local.is_empty()
        && !domain.is_empty()
        && email.len() <= LONGEST_ADDRESS
        && email.bytes().all(|byte| byte.is_ascii_graphic());
    readable.then(|| email.to_ascii_lowercase())
}

/// What kind of proof a method is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Factor {
    Knowledge,
    Possession,
    Inherence,
}

/// Whether the methods (RFC 8176 §2, and a few that large providers write) prove more than one factor: `mfa` itself, or
/// factors of two kinds. One method alone proves one, however strong: a login by SMS and nothing else is not two.
fn shows_two_factors(amr: &[String]) -> bool {
    let mut factors = amr.iter().filter_map(|method| factor(method));
    let first = factors.next();
    amr.iter().any(|method| matches!(method.as_str(), "mfa" | "ngcmfa")) || factors.any(|other| Some(other) != first)
}

fn factor(method: &str) -> Option<Factor> {
    match method {
        "pwd" | "pin" | "kba" => Some(Factor::Knowledge),
        "otp" | "hwk" | "swk" | "pop" | "sc" | "sms" | "tel" | "mca" | "fido" => Some(Factor::Possession),
        "face" | "fpt" | "iris" | "retina" | "vbm" => Some(Factor::Inherence),
        // Circumstances (geo, rba, wia, user) and words we don't know.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(amr: &[&str]) -> bool {
        Identity::of("1").unwrap().with_methods(amr.iter().copied()).second_factor
    }

    #[test]
    fn a_second_factor_is_said_or_is_of_another_kind() {
        assert!(two(&["mfa"]) && two(&["pwd", "otp"]) && two(&["hwk", "pin"]) && two(&["pwd", "user", "fpt"]));
        assert!(two(&["otp", "pwd"]) && two(&["pwd", "sms"]) && two(&["fido", "face"]));
        assert!(!two(&[]) && !two(&["pwd"]) && !two(&["sms"]) && !two(&["pwd", "pin"]) && !two(&["otp", "sms"]));
        assert!(!two(&["pwd", "rba", "geo"]) && !two(&["MFA"]));
    }

    #[test]
    fn addresses_are_compared_in_ascii() {
        assert_eq!(address("Ada@Acme.Example").as_deref(), Some("ada@acme.example"));
        assert_eq!(address("mi\u{212a}e@acme.example"), None);
        for none in ["", "ada", "@acme.example", "ada@", "a b@acme.example", "a\n@acme.example", "a@b\0"] {
            assert_eq!(address(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_subject_must_be_one() {
        assert!(Identity::of("").is_err() && Identity::of(&"a".repeat(256)).is_err());
        assert!(Identity::of("a\0b").is_err() && Identity::of("ä").is_err());
        assert_eq!(Identity::of("auth0|5f7c8ec7").unwrap().subject, "auth0|5f7c8ec7");
    }

    #[test]
    fn names_can_be_shown() {
        let named = |name| Identity::of("1").unwrap().with_name(Some(name)).name;
        assert_eq!(named(" Ada\u{7} Lovelace\n").as_deref(), Some("Ada Lovelace"));
        assert_eq!(named(" \n"), None);
        assert_eq!(named(&"n".repeat(500)).map(|name| name.len()), Some(200));
    }

    #[test]
    fn only_so_many_methods_are_passed_on() {
        let identity = Identity::of("1").unwrap().with_methods(std::iter::repeat_n("x", 99).chain(["mfa"]));
        assert_eq!((identity.amr.len(), identity.second_factor), (16, false));
    }
}
