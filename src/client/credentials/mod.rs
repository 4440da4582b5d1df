//! Where the tokens stay: in the operating system's keyring where there is one, otherwise in a file that only its owner
//! can read. That file always says which logins there are; for those in the keyring it holds no token.

mod entry;
mod file;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SignedIn;
use super::answer::Tokens;
use super::keyring::{Keyring, KeyringError};
use crate::clock::Clock;

pub(crate) use entry::KeptTokens;
pub use entry::{KeptIn, Login, LoginKey};
pub(crate) use file::Held;

use entry::Entry;
use file::CredentialsFile;

/// The credentials of one user of this machine.
#[derive(Debug)]
pub struct Credentials {
    file: CredentialsFile,
    keyring: Option<Keyring>,
    clock: Clock,
}

/// Why the tokens can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` says where the file would be.
    #[error("There is no configuration directory to keep the tokens in: set HOME or XDG_CONFIG_HOME.")]
    NoDirectory,
    /// The file, its directory or a lock can't be read or written.
    #[error("Can't use {}: {source}.", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// The file holds something else; it is left as it is.
    #[error("{} is not a credentials file of this version of countersign: move it away and log in again.", .0.display())]
    NotOurs(PathBuf),
    /// The tokens of this login were put into the keyring, which can't be used now.
    #[error("The tokens for {issuer} are in the keyring, which can't be used: {source}.")]
    Keyring {
        /// The server.
        issuer: String,
        /// What the keyring said.
        source: KeyringError,
    },
}

impl Credentials {
    /// The file in `configuration`/countersign, `configuration` being the user's directory for that (often ~/.config).
    /// Touches nothing yet.
    #[must_use]
    pub fn under(configuration: &Path, clock: Clock) -> Self {
        Self { file: CredentialsFile::under(configuration), keyring: None, clock }
    }

    /// Keeps tokens in this keyring as long as it can be used.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Option<Keyring>) -> Self {
        self.keyring = keyring;
        self
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The clock that says when a token expires.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Makes sure, before anybody approves anything, that the tokens will have a place: the directory exists, is the
    /// owner's alone (0700), can be written, and what is in it can be read.
    pub fn prepare(&self) -> Result<(), CredentialsError> {
        self.file.prepare()
    }

    /// Adds the tokens of a new login, or puts them in the place of older ones of the same client and account.
    pub async fn save(&self, signed_in: &SignedIn) -> Result<KeptIn, CredentialsError> {
        let (entry, tokens) = Entry::new(signed_in, self.clock.now());
        // A refresh that is under way must not write the old login's tokens over these.
        let _held = self.hold(&entry.key()).await?;
        self.put(entry, tokens, self.keyring.as_ref()).await
    }

    /// All logins, in the order in which they were made.
    pub fn logins(&self) -> Result<Vec<Login>, CredentialsError> {
        Ok(self.file.read()?.logins.iter().map(|entry| self.login(entry)).collect())
    }

    /// Waits until no other process changes this login at its server.
    pub(crate) async fn hold(&self, key: &LoginKey) -> Result<Held, CredentialsError> {
        self.file.hold(key).await
    }

    /// The tokens of a login. `None`: it isn't there any more.
    pub(crate) async fn tokens(&self, key: &LoginKey) -> Result<Option<KeptTokens>, CredentialsError> {
        let Some(entry) = self.entry(key)? else { return Ok(None) };
        if entry.tokens.is_some() {
            return Ok(entry.tokens);
        }
        let unusable = |source| CredentialsError::Keyring { issuer: key.issuer.clone(), source };
        let keyring = self.keyring.as_ref().ok_or_else(|| unusable(KeyringError::Off))?;
        let Some(text) = keyring.get(key).await.map_err(unusable)? else { return Ok(None) };
        let tokens = serde_json::from_slice(&text);
        tokens.map(Some).map_err(|_| unusable(KeyringError::Failed("what is kept there is something else".to_owned())))
    }

    /// Puts what a refresh answered in the place of `old`, where that was. Whoever calls this holds the login.
    pub(crate) async fn refreshed(
        &self,
        key: &LoginKey,
        old: &KeptTokens,
        answered: &Tokens,
    ) -> Result<Refreshed, CredentialsError> {
        let tokens = old.refreshed(answered, self.clock.now());
        let Some(mut entry) = self.entry(key)? else {
            return Ok(Refreshed { tokens, left_the_keyring: false });
        };
        let was_in_keyring = entry.tokens.take().is_none();
        if let Some(scope) = &answered.scope {
            entry.scope = Some(scope.clone());
        }
        let keyring = self.keyring.as_ref().filter(|_| was_in_keyring);
        let kept_in = self.put(entry, tokens.clone(), keyring).await?;
        Ok(Refreshed { tokens, left_the_keyring: was_in_keyring && kept_in != KeptIn::Keyring })
    }

    /// Forgets a login and its tokens. Whoever calls this holds the login.
    pub(crate) async fn forget(&self, key: &LoginKey) -> Result<(), CredentialsError> {
        let in_keyring = self.entry(key)?.is_some_and(|entry| entry.tokens.is_none());
        if let (true, Some(keyring)) = (in_keyring, &self.keyring) {
            let unusable = |source| CredentialsError::Keyring { issuer: key.issuer.clone(), source };
            keyring.delete(key).await.map_err(unusable)?;
        }
        self.file.update(|logins| logins.retain(|entry| entry.key() != *key))
    }

    fn entry(&self, key: &LoginKey) -> Result<Option<Entry>, CredentialsError> {
        Ok(self.file.read()?.logins.into_iter().find(|entry| entry.key() == *key))
    }

    /// Into the keyring first: the file must not send a reader there before the tokens are.
    async fn put(
        &self,
        mut entry: Entry,
        tokens: KeptTokens,
        keyring: Option<&Keyring>,
    ) -> Result<KeptIn, CredentialsError> {
        let in_keyring = match keyring {
            Some(keyring) => {
                let text = serde_json::to_vec(&tokens).map(Zeroizing::new);
                let text =
                    text.map_err(|error| CredentialsError::Io { path: self.path().to_owned(), source: error.into() })?;
                keyring.set(&entry.key(), &text).await.is_ok()
            }
            None => false,
        };
        entry.tokens = (!in_keyring).then_some(tokens);
        let kept_in = self.login(&entry).kept_in;
        let key = entry.key();
        self.file.update(|logins| {
            if let Some(place) = logins.iter_mut().find(|other| other.key() == key) {
                *place = entry;
            } else {
                logins.retain(|other| !other.gives_way_to(&key));
                logins.push(entry);
            }
        })?;
        Ok(kept_in)
    }

    fn login(&self, entry: &Entry) -> Login {
        let in_keyring = entry.tokens.is_none();
        Login {
            key: entry.key(),
            account: entry.account.clone(),
            scope: entry.scope.clone(),
            signed_in_at: entry.signed_in_at,
            kept_in: if in_keyring { KeptIn::Keyring } else { KeptIn::File(self.path().to_owned()) },
        }
    }
}

/// The outcome of a refresh, kept.
pub(crate) struct Refreshed {
    pub(crate) tokens: KeptTokens,
    /// The keyring took them no more, so that they are in the file now.
    pub(crate) left_the_keyring: bool,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
