//! Passwords and recovery codes: argon2id, never on the threads that answer polls.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Random, SecretText};

/// Bytes of salt (RFC 9106 §3.1).
const SALT_LENGTH: usize = 16;

/// How many may wait for their turn, besides those that are being hashed: a few seconds' work. Whoever comes then does
/// better to come again than to hold a connection.
const WAITING: usize = 64;

/// Hashes and checks, at most as many at once as was allowed: a flood of sign-ins waits here and not on the polls.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    at_once: Arc<Semaphore>,
    room: Arc<Semaphore>,
    random: Random,
    /// What an account without a password is checked against, so that its absence takes as long as a wrong one.
    nobody: Arc<str>,
}

impl Passwords {
    /// argon2id with 19 MiB, two passes and one lane, the OWASP recommendation; `at_once` of them in parallel.
    #[must_use]
    pub fn new(random: Random, at_once: usize) -> Self {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
        let nobody = phc(&argon2, &random.bytes::<32>(), &random.bytes());
        Self {
            argon2,
            at_once: Arc::new(Semaphore::new(at_once)),
            room: Arc::new(Semaphore::new(at_once.saturating_add(WAITING))),
            random,
            nobody: nobody.into(),
        }
    }

    /// A place among those that hash or wait for it, for as long as it is held. Every page takes one before it looks
    /// anything up.
    pub fn place(&self) -> Result<Place, Busy> {
        self.room.clone().try_acquire_owned().map(|held| Place { _held: held }).map_err(|_| Busy)
    }

    /// The PHC string to keep for a password.
    pub async fn hash(&self, password: &SecretText) -> String {
        let mut hashes = self.hash_set(vec![password.clone()]).await;
        hashes.pop().unwrap_or_default()
    }

    /// The PHC strings of a set of secrets under one salt, so that a try against the whole set costs one hash.
    pub async fn hash_set(&self, secrets: Vec<SecretText>) -> Vec<String> {
        let salt = self.random.bytes();
        let argon2 = self.argon2.clone();
        self.off_the_reactor(move || {
            secrets.iter().map(|secret| phc(&argon2, secret.expose().as_bytes(), &salt)).collect()
        })
        .await
        .unwrap_or_default()
    }

    /// Whether the password is the hash's. Without a hash it takes as long and is false.
    pub async fn verify(&self, password: &SecretText, hash: Option<&str>) -> bool {
        let known = hash.is_some();
        let hash: Arc<str> = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        let (argon2, password) = (self.argon2.clone(), password.clone());
        let right = self
            .off_the_reactor(move || argon2.verify_password(password.expose().as_bytes(), &*hash).is_ok())
            .await
            .unwrap_or(false);
        right && known
    }

    /// The hash that `secret` would have beside `sibling`, to be compared with every hash of its set.
    pub async fn hash_beside(&self, secret: &SecretText, sibling: &str) -> Option<String> {
        let salt: [u8; SALT_LENGTH] = PasswordHash::new(sibling).ok()?.salt.as_deref()?.try_into().ok()?;
        let (argon2, secret) = (self.argon2.clone(), secret.clone());
        self.off_the_reactor(move || phc(&argon2, secret.expose().as_bytes(), &salt)).await
    }

    async fn off_the_reactor<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = self.at_once.clone().acquire_owned().await.ok()?;
        tokio::task::spawn_blocking(move || {
            let _until_done = permit;
            work()
        })
        .await
        .ok()
    }
}

fn phc(argon2: &Argon2<'_>, secret: &[u8], salt: &[u8; SALT_LENGTH]) -> String {
    #[expect(clippy::expect_used, reason = "fails for parameters out of range only, and these are constants")]
    argon2.hash_password_with_salt(secret, salt).expect("argon2 takes its default parameters").to_string()
}

/// A place in the queue.
#[derive(Debug)]
pub struct Place {
    _held: OwnedSemaphorePermit,
}

/// So many wait already that another one had better come again in a few seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_have_a_place() {
        let passwords = Passwords::new(Random::system(), 2);
        let mut places: Vec<Place> = (0..2 + WAITING).map(|_| passwords.place().unwrap()).collect();
        assert_eq!(passwords.place().unwrap_err(), Busy);
        places.pop();
        assert!(passwords.place().is_ok());
    }

    #[tokio::test]
    async fn a_password_verifies_and_another_or_a_missing_hash_does_not() {
        let passwords = Passwords::new(Random::system(), 2);
        let hash = passwords.hash(&"correct horse".into()).await;
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify(&"correct horse".into(), Some(&hash)).await);
        assert!(!passwords.verify(&"battery staple".into(), Some(&hash)).await);
        assert!(!passwords.verify(&"correct horse".into(), None).await);
    }

    #[tokio::test]
    async fn a_set_shares_its_salt_so_that_one_hash_finds_its_sibling() {
        let passwords = Passwords::new(Random::system(), 2);
        let set = passwords.hash_set(vec!["one".into(), "two".into()]).await;
        let tried = passwords.hash_beside(&"two".into(), &set[0]).await.unwrap();
        assert_eq!(tried, set[1]);
        assert_ne!(tried, set[0]);
    }
}
