//! What must not be known: random values, MACs, sealing, passwords, and types that keep secrets out of logs.

mod keyring;
mod password;
mod random;
mod redacted;
pub mod resealing;

pub use keyring::{InstallationSecret, InstallationSecretError, Keyring, Purpose, SealError, Sealed};
pub use password::{Busy, Passwords, Place};
pub use random::Random;
pub use redacted::SecretText;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding (RFC 4648 §5).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding; `None` for anything else.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
