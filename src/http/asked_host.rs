//! Under which name the server was asked.
//!
//! Nothing is ever derived from it. But a browser that was led to this address under another name (DNS rebinding) would let
//! that name's site read pages; and under another name than the public URL's a person's cookies are not sent. So pages
//! are given out under the public URL's own name only. Endpoints for programs don't mind: they keep nothing in browsers.

use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::uri::{Authority, Uri};

/// What proxies call the name that they were asked under, if they write another into `Host`.
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Host and port as the request has them, in lower case. None: it names no host, as browsers always do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedHost(Option<String>);

impl AskedHost {
    /// Reads it. `through_proxy`: the peer is a trusted proxy, whose `X-Forwarded-Host` counts.
    #[must_use]
    pub fn of(headers: &HeaderMap, uri: &Uri, through_proxy: bool) -> Self {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let forwarded = if through_proxy { text(FORWARDED) } else { None };
        // Of several proxies the last wrote last; what stands left of it anybody could have written.
        let forwarded = forwarded.and_then(|list| list.rsplit(',').next()).map(str::trim);
        // HTTP/2 has the name in the URI (RFC 9113 §8.3.1).
        let asked = forwarded.or_else(|| uri.authority().map(Authority::as_str)).or_else(|| text(header::HOST));
        Self(asked.map(str::to_ascii_lowercase))
    }

    /// Whether it is this host, written as in a public URL: without the port that belongs to the scheme anyway.
    #[must_use]
    pub fn is(&self, host: &str, secure: bool) -> bool {
        let Some(asked) = &self.0 else { return true };
        let default_port = if secure { ":443" } else { ":80" };
        asked.strip_suffix(default_port).unwrap_or(asked).eq_ignore_ascii_case(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(HeaderName, &'static str)], through_proxy: bool) -> AskedHost {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        AskedHost::of(&headers, &Uri::from_static("/activate"), through_proxy)
    }

    #[test]
    fn the_port_of_the_scheme_may_be_written_or_not() {
        assert!(asked(&[(header::HOST, "Login.Example:443")], false).is("login.example", true));
        assert!(asked(&[(header::HOST, "login.example")], false).is("login.example", true));
        assert!(!asked(&[(header::HOST, "login.example:80")], false).is("login.example", true));
        assert!(asked(&[(header::HOST, "localhost:8080")], false).is("localhost:8080", false));
        assert!(!asked(&[(header::HOST, "127.0.0.1:8080")], false).is("localhost:8080", false));
        assert!(!asked(&[(header::HOST, "")], false).is("login.example", true));
    }

    #[test]
    fn a_forwarded_name_counts_from_a_trusted_proxy_only() {
        let both = [(header::HOST, "inner:8080"), (FORWARDED, "evil.example, login.example")];
        assert!(asked(&both, true).is("login.example", true));
        assert!(!asked(&both, false).is("login.example", true));
        assert!(
            !asked(&[(header::HOST, "login.example"), (FORWARDED, "evil.example")], true).is("login.example", true)
        );
    }
}
