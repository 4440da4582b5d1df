//! Refresh tokens: session, generation and a MAC over both. None is stored.

use crate::ids::SessionId;
use crate::secrets::{Keyring, Purpose, SecretText, base64url, from_base64url};

/// What refresh tokens begin with, so that a secret scanner knows one.
const PREFIX: &str = "csr_";

/// The refresh token of a session's generation.
#[must_use]
pub fn refresh_token(keyring: &Keyring, session: SessionId, generation: i32) -> SecretText {
    let generation = generation.to_be_bytes();
    let mac = keyring.mac(Purpose::RefreshToken, &[session.0.as_bytes(), &generation]);
    let mut bytes = session.0.as_bytes().to_vec();
    bytes.extend_from_slice(&generation);
    bytes.extend_from_slice(&mac);
    SecretText::from(format!("{PREFIX}{}", base64url(&bytes)))
}

/// Session and generation of a refresh token; `None` when it isn't of this installation.
#[must_use]
pub fn read(keyring: &Keyring, token: &str) -> Option<(SessionId, i32)> {
    let bytes = from_base64url(token.strip_prefix(PREFIX)?)?;
    let (session, rest) = bytes.split_at_checked(16)?;
    let (generation, mac) = rest.split_first_chunk::<4>()?;
    let genuine = keyring.verify(Purpose::RefreshToken, &[session, generation], mac);
    let session = SessionId(uuid::Uuid::from_slice(session).ok()?);
    genuine.then_some((session, i32::from_be_bytes(*generation)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{InstallationSecret, Random};

    #[test]
    fn a_refresh_token_says_its_session_and_generation_and_no_other() {
        let keyring = Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap();
        let session = SessionId(uuid::Uuid::from_u128(7));
        let token = refresh_token(&keyring, session, 3);
        assert_eq!(read(&keyring, token.expose()), Some((session, 3)));
        let mut bytes = from_base64url(token.expose().strip_prefix("csr_").unwrap()).unwrap();
        bytes[19] ^= 1;
        assert_eq!(read(&keyring, &format!("csr_{}", base64url(&bytes))), None);
        assert_eq!(read(&keyring, "csr_"), None);
    }
}
