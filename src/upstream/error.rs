//! What can go wrong on the way to a provider and back. Nothing here repeats a code, a token or a secret.

use openidconnect::http::StatusCode;

use super::callback::ErrorCode;

/// Why there is no identity. `Display` is for the log; a page tells the variants apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The provider is away. The person may try again.
    #[error("the provider at {host} can't be reached: {why}")]
    Unreachable {
        /// Host and port that were asked.
        host: String,
        /// What happened.
        why: Why,
    },
    /// The person cancelled, or may not sign in over there.
    #[error("the provider says that access was denied")]
    Denied,
    /// The provider answered with an error that is neither the person's wish nor a fault of the settings: a code that
    /// ran out, for one. The person may begin anew.
    #[error("the provider answered with the error {0}")]
    Provider(ErrorCode),
    /// Settings here or over there have to be changed; trying again is of no use.
    #[error("the provider's settings don't work: {0}")]
    Misconfigured(String),
    /// An answer that doesn't prove what it says: another issuer, nonce or audience, a bad signature.
    #[error("the provider's answer can't be trusted: {0}")]
    Untrusted(&'static str),
}

/// Why a provider can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No connection: a wrong name, a closed port, a certificate that isn't trusted.
    #[error("no connection")]
    NoConnection,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// It answered that it can't serve now (5xx, 429).
    #[error("it answered {0}")]
    Status(StatusCode),
    /// It said in OAuth's words that it can't serve now.
    #[error("it says it is unavailable")]
    Unavailable,
}
