//! The issuer: the one URL under which the installation is known.

use serde::Deserialize;
use url::{Host, Url};

/// The configured public URL (RFC 8414 §2: the issuer), without a trailing slash; a path in it works.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    text: String,
    url: Url,
}

/// Why a text can't be the public URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    /// Not a URL.
    #[error("the public URL is not a URL")]
    NotAUrl,
    /// http:// outside loopback: codes and cookies would travel in the clear.
    #[error("the public URL must be https:// (http:// is for loopback only)")]
    NotSecure,
    /// Query, fragment or credentials.
    #[error("the public URL must have no query, no fragment and no credentials")]
    TooMuch,
}

impl PublicUrl {
    /// Reads and checks it.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let text = text.trim_end_matches('/').to_owned();
        let url = Url::parse(&text).map_err(|_| PublicUrlError::NotAUrl)?;
        if !is_whole(&text, &url) {
            return Err(PublicUrlError::NotAUrl);
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => return Err(PublicUrlError::NotAUrl),
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(PublicUrlError::NotSecure);
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(PublicUrlError::TooMuch);
        }
        Ok(Self { text, url })
    }

    /// The issuer, byte for byte as configured but for trailing slashes.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.text
    }

    /// The URL of a path that begins with a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// What stands before every path here: empty, or the issuer's own path without a trailing slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Scheme, host and port, as browsers write them in `Origin`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Host and port, as people read them.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether it is https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }
}

/// Whether a text is the URL that was read from it, for whoever reads it by the letter: the parser takes `https:acme.example` and
/// `https:\\acme.example`, too, and leaves white space away (URL Standard §4.4).
#[must_use]
pub fn is_whole(text: &str, url: &Url) -> bool {
    let begins = format!("{}://", url.scheme());
    let after =
        text.get(begins.len()..).filter(|_| text.get(..begins.len()).is_some_and(|t| t.eq_ignore_ascii_case(&begins)));
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    after.is_some_and(|after| !after.starts_with('/') && !after.contains(is_odd))
}

impl TryFrom<String> for PublicUrl {
    type Error = PublicUrlError;

    fn try_from(text: String) -> Result<Self, PublicUrlError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_what_was_written_without_its_slash() {
        let url = PublicUrl::parse("https://acme.example/login/").unwrap();
        assert_eq!(url.issuer(), "https://acme.example/login");
        assert_eq!(url.base_path(), "/login");
        assert_eq!(url.join("/activate"), "https://acme.example/login/activate");
        assert_eq!(url.origin(), "https://acme.example");
        assert_eq!(PublicUrl::parse("http://localhost:8080").unwrap().base_path(), "");
    }

    #[test]
    fn what_the_parser_forgives_is_no_url_to_others() {
        for text in ["https:acme.example", "https:/acme.example", "https:///acme.example", "https:\\\\acme.example"] {
            assert_eq!(PublicUrl::parse(text), Err(PublicUrlError::NotAUrl), "{text}");
        }
        for text in
            ["https://acme.example ", " https://acme.example", "https://acme.exa\tmple", "https://acme.example/\n"]
        {
            assert_eq!(PublicUrl::parse(text), Err(PublicUrlError::NotAUrl), "{text:?}");
        }
        assert_eq!(PublicUrl::parse("HTTPS://acme.example").unwrap().issuer(), "HTTPS://acme.example");
    }

    #[test]
    fn plain_http_is_for_loopback() {
        assert!(PublicUrl::parse("http://127.0.0.1:8080").is_ok() && PublicUrl::parse("http://[::1]:8080").is_ok());
        assert_eq!(PublicUrl::parse("http://acme.example").unwrap_err(), PublicUrlError::NotSecure);
        assert_eq!(PublicUrl::parse("https://acme.example/?a=b").unwrap_err(), PublicUrlError::TooMuch);
        assert_eq!(PublicUrl::parse("acme").unwrap_err(), PublicUrlError::NotAUrl);
    }
}
