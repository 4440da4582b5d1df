//! What the browser brings back.

use std::fmt;

use url::Url;

use crate::secrets::SecretText;

use super::error::{UpstreamError, Why};

/// The query of the redirect back (RFC 6749 §4.1.2, RFC 9207 §2). Anybody can write one: it is a claim until the state
/// is found and the code exchanged.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Callback {
    /// The authorization code.
    pub code: Option<SecretText>,
    /// Which round trip this ends.
    pub state: Option<SecretText>,
    /// Who answers.
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same in words: the provider's, for nobody's eyes here.
    pub error_description: Option<String>,
}

impl Callback {
    /// The code, or the error that came in its place. `server` is who would be unavailable.
    pub(super) fn code(&self, server: &Url) -> Result<&SecretText, UpstreamError> {
        match (&self.error, &self.code) {
            (Some(error), _) => Err(ErrorCode::new(error).of_authorization(server)),
            (None, Some(code)) if !code.expose().is_empty() => Ok(code),
            _ => Err(UpstreamError::Untrusted("it has neither a code nor an error")),
        }
    }
}

/// An OAuth error code as a provider wrote it, cut down to what is safe to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode(String);

impl ErrorCode {
    const LONGEST: usize = 64;

    /// Letters, digits and `_ - .`, at most 64 of them; anything else in `text` makes it "unreadable".
    pub(super) fn new(text: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let readable = !text.is_empty() && text.len() <= Self::LONGEST && text.bytes().all(plain);
        Self(if readable { text.to_owned() } else { "unreadable".to_owned() })
    }

    /// As it was written, or "unreadable".
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an error at the authorization endpoint means (RFC 6749 §4.1.2.1, GitHub's own).
    fn of_authorization(self, server: &Url) -> UpstreamError {
        match self.as_str() {
            "access_denied" => UpstreamError::Denied,
            "temporarily_unavailable" | "server_error" => unavailable(server),
            "unauthorized_client"
            | "unsupported_response_type"
            | "invalid_scope"
            | "invalid_request"
            | "application_suspended"
            | "redirect_uri_mismatch" => {
                UpstreamError::Misconfigured(format!("it refuses the authorization request with {self}"))
            }
            _ => UpstreamError::Provider(self),
        }
    }

    /// What an error at the token endpoint means (RFC 6749 §5.2, GitHub's own).
    pub(super) fn of_token(self, server: &Url) -> UpstreamError {
        match self.as_str() {
            "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => {
                UpstreamError::Misconfigured(format!("it refuses the client_id or the client_secret with {self}"))
            }
            "invalid_request" | "unsupported_grant_type" | "invalid_scope" | "redirect_uri_mismatch" => {
                UpstreamError::Misconfigured(format!("it refuses the token request with {self}"))
            }
            "temporarily_unavailable" | "server_error" => unavailable(server),
            _ => UpstreamError::Provider(self),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn unavailable(server: &Url) -> UpstreamError {
    UpstreamError::Unreachable { host: super::http::host_of(server), why: Why::Unavailable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(error: &str) -> UpstreamError {
        let callback = Callback { error: Some(error.to_owned()), code: Some("c".into()), ..Callback::default() };
        callback.code(&Url::parse("https://sso.acme.example/").unwrap()).unwrap_err()
    }

    #[test]
    fn errors_say_whose_turn_it_is() {
        assert_eq!(after("access_denied"), UpstreamError::Denied);
        assert!(matches!(after("server_error"), UpstreamError::Unreachable { .. }));
        assert!(matches!(after("invalid_scope"), UpstreamError::Misconfigured(_)));
        assert_eq!(after("login_required").to_string(), "the provider answered with the error login_required");
    }

    #[test]
    fn an_error_code_can_not_write_to_the_log() {
        assert_eq!(after("a\nb").to_string(), "the provider answered with the error unreadable");
        assert_eq!(ErrorCode::new(&"a".repeat(65)).as_str(), "unreadable");
        assert_eq!(ErrorCode::new("").as_str(), "unreadable");
    }

    #[test]
    fn a_callback_with_nothing_proves_nothing() {
        let server = Url::parse("https://sso.acme.example/").unwrap();
        assert!(matches!(Callback::default().code(&server), Err(UpstreamError::Untrusted(_))));
    }

    #[test]
    fn debug_shows_neither_code_nor_state() {
        let callback = Callback { code: Some("C0DE".into()), state: Some("5TATE".into()), ..Callback::default() };
        let shown = format!("{callback:?}");
        assert!(!shown.contains("C0DE") && !shown.contains("5TATE"));
    }
}
