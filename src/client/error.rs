//! How a login can end without tokens.

use std::io;
use std::time::Duration;

use super::credentials::CredentialsError;
use super::http::{Answer, NoAnswer};
use super::possession::UnusableKey;

/// Why nobody is signed in. Its text is a sentence for the person at the terminal; what it holds of a server's answer
/// has lost its control characters already.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The issuer is plain http on another machine, and nobody said that this is wanted.
    #[error(
        "{issuer} is not protected by https: tokens would travel readable. Use its https address, or --insecure-http where the network itself is trusted."
    )]
    InsecureIssuer {
        /// The issuer as given.
        issuer: String,
    },
    /// No HTTP answer.
    #[error("Can't reach {address}: {reason}.")]
    Unreachable {
        /// The address asked.
        address: String,
        /// What went wrong, in words.
        reason: String,
    },
    /// An answer that says "not now": 429 or 5xx.
    #[error("{address} can't answer now (HTTP {status}).{}", try_again(*.retry_after))]
    Unavailable {
        /// The address asked.
        address: String,
        /// HTTP status code.
        status: u16,
        /// When the server would like to be asked again.
        retry_after: Option<Duration>,
    },
    /// Something answers there, but not with an authorization server's metadata (RFC 8414).
    #[error("{issuer} is not an OAuth authorization server: {reason}.")]
    NotAnAuthorizationServer {
        /// The issuer as given.
        issuer: String,
        /// What was there instead.
        reason: String,
    },
    /// The metadata belongs to another issuer (RFC 8414 §3.3).
    #[error("{given} calls itself {found}: log in to that address, or have the server's public URL corrected.")]
    IssuerMismatch {
        /// The issuer as given.
        given: String,
        /// `issuer` of the metadata.
        found: String,
    },
    /// An authorization server without `device_authorization_endpoint`.
    #[error("{issuer} offers no device login: its metadata names no device_authorization_endpoint.")]
    NoDeviceLogin {
        /// The issuer as given.
        issuer: String,
    },
    /// An answer that is none of those that RFC 6749 and RFC 8628 know.
    #[error("The answer of {address} is not understood: {reason}.")]
    NotUnderstood {
        /// The address asked.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An OAuth error that asking again doesn't change: `invalid_client`, `invalid_scope`, `unauthorized_client`, …
    #[error("The server refused: {error}{}", described(.description.as_deref()))]
    Refused {
        /// `error` of the answer.
        error: String,
        /// `error_description` of the answer.
        description: Option<String>,
    },
    /// The key of a bound login can't be made or read.
    #[error(transparent)]
    Key(#[from] UnusableKey),
    /// The person said no (`access_denied`).
    #[error("The request was denied in the browser. Nobody is signed in.")]
    Denied,
    /// The code, and every further one allowed, ran out of time.
    #[error("The code expired before it was approved. Run the command again for a new one.")]
    Expired,
    /// The login waits for a number, and nobody is there to type it.
    #[error(
        "The server wants the number that the approving page shows, and there is nobody here to type it in. Nobody is signed in."
    )]
    NumberWanted,
    /// The file for the tokens can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The screen, pipe or file that the code should appear on is gone.
    #[error("Can't write to the output: {0}.")]
    Output(#[from] io::Error),
    /// Ctrl-C.
    #[error("Interrupted. Nobody is signed in.")]
    Interrupted,
}

impl LoginError {
    /// A word for scripts: the OAuth error code where there is one, otherwise one of this client's own.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::InsecureIssuer { .. } => "insecure_issuer",
            Self::Unreachable { .. } => "unreachable",
            Self::Unavailable { .. } => "unavailable",
            Self::NotAnAuthorizationServer { .. } => "not_an_authorization_server",
            Self::IssuerMismatch { .. } => "issuer_mismatch",
            Self::NoDeviceLogin { .. } => "no_device_login",
            Self::NotUnderstood { .. } => "not_understood",
            Self::Refused { error, .. } => error,
            Self::Denied => "access_denied",
            Self::Expired => "expired_token",
            Self::NumberWanted => "number_wanted",
            Self::Key(_) => "key",
            Self::Credentials(_) => "credentials",
            Self::Output(_) => "output",
            Self::Interrupted => "interrupted",
        }
    }

    pub(crate) fn unreachable(address: &impl ToString, NoAnswer { reason, .. }: NoAnswer) -> Self {
        Self::Unreachable { address: address.to_string(), reason }
    }

    pub(crate) fn unavailable(address: &impl ToString, answer: &Answer) -> Self {
        Self::Unavailable { address: address.to_string(), status: answer.status, retry_after: answer.retry_after }
    }
}

fn try_again(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(|| " Try again later.".to_owned(), |after| format!(" Try again in {} s.", after.as_secs()))
}

fn described(description: Option<&str>) -> String {
    description.map_or_else(|| ".".to_owned(), |description| format!(": {description}"))
}
