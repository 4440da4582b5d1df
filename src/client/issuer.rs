//! The address of an authorization server.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// An issuer as a person names it: `http` or `https`, a host, perhaps a path; no query, fragment or user name
/// (RFC 8414 §2). A slash at its end makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(Url);

/// Why a text is no issuer, in words for the person who typed it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIssuer {
    /// Not a URL, or one of another scheme.
    #[error("say it with http:// or https://, for example https://login.acme.example")]
    Scheme,
    /// With something that an issuer can't have.
    #[error("an issuer has no query, fragment, user name or password")]
    Extra,
}

impl FromStr for Issuer {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidIssuer::Scheme)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidIssuer::Scheme);
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidIssuer::Extra);
        }
        Ok(Self(url))
    }
}

impl Issuer {
    /// The issuer without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether its host is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// As a URL, for its parts.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `url` names this machine: `localhost`, a name under `.localhost` (RFC 6761), 127.0.0.0/8 or `::1`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether what is sent to `url` can't be read on the way: https, or it doesn't leave the machine.
pub(crate) fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for (given, issuer) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("HTTP://LocalHost:8080/", "http://localhost:8080"),
            ("https://acme.example/login/", "https://acme.example/login"),
        ] {
            assert_eq!(given.parse::<Issuer>().unwrap().as_str(), issuer);
        }
    }

    #[test]
    fn what_is_no_issuer_is_refused() {
        for given in ["localhost:8080", "acme.example", "ftp://acme.example", "file:///etc/passwd", ""] {
            assert!(matches!(given.parse::<Issuer>(), Err(InvalidIssuer::Scheme)), "{given}");
        }
        for given in ["https://acme.example/?a=b", "https://acme.example#x", "https://ada:pw@acme.example"] {
            assert!(matches!(given.parse::<Issuer>(), Err(InvalidIssuer::Extra)), "{given}");
        }
    }

    #[test]
    fn loopback_is_recognized_by_name_and_number() {
        for given in ["http://localhost", "http://app.localhost:1", "http://127.9.0.1", "http://[::1]:8080"] {
            assert!(given.parse::<Issuer>().unwrap().is_loopback(), "{given}");
        }
        for given in ["http://localhost.acme.example", "http://10.0.0.1", "http://[::2]"] {
            assert!(!given.parse::<Issuer>().unwrap().is_loopback(), "{given}");
        }
    }
}
