//! The operating system's keyring: the Secret Service of a desktop session (GNOME Keyring and others), or the
//! keychain of macOS. A machine without one must notice at once and never wait: each step has its time.

#[cfg(target_os = "macos")]
#[path = "keychain.rs"]
mod system;
#[cfg(not(target_os = "macos"))]
#[path = "secret_service.rs"]
mod system;

use zeroize::Zeroizing;

use super::credentials::LoginKey;

/// The keyring of the person whose process this is.
#[derive(Clone, Copy, Debug)]
pub struct Keyring {
    somebody_there: bool,
}

/// Why the keyring can't be used, in words that go on after a colon.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Nobody wants it used.
    #[error("it is switched off by --no-keyring or COUNTERSIGN_KEYRING=off")]
    Off,
    /// There is none, or none that answers.
    #[error("{0}")]
    Unavailable(String),
    /// It is locked, and was not unlocked.
    #[error("it is locked")]
    Locked,
    /// It answered with an error.
    #[error("{0}")]
    Failed(String),
}

impl Keyring {
    /// The keyring of this session. With `somebody_there`, who can answer a question on a display, it may ask to be
    /// unlocked.
    #[must_use]
    pub const fn of_session(somebody_there: bool) -> Self {
        Self { somebody_there }
    }

    /// What is kept for `key`.
    pub(crate) async fn get(&self, key: &LoginKey) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        Box::pin(system::get(key, self.somebody_there)).await
    }

    /// Keeps `text`, in the place of what was kept for `key`.
    pub(crate) async fn set(&self, key: &LoginKey, text: &[u8]) -> Result<(), KeyringError> {
        Box::pin(system::set(key, text, self.somebody_there)).await
    }

    /// Keeps nothing for `key` any more.
    pub(crate) async fn delete(&self, key: &LoginKey) -> Result<(), KeyringError> {
        Box::pin(system::delete(key, self.somebody_there)).await
    }
}
