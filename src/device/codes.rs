//! The two codes of a device login (RFC 8628 §3.2, §6.1). Neither can be read out of the database.

use std::fmt;

use crate::ids::GrantId;
use crate::secrets::{Keyring, Purpose, SecretText, base64url, from_base64url};

/// The letters of user codes: consonants, so that no word is spelt, and none that is mistaken for a digit.
pub const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What device codes begin with, so that a secret scanner knows one.
const PREFIX: &str = "csd_";

/// The device code of a grant: its id and a MAC over it and the client, 256 bits that nobody can guess. Whether one is
/// genuine is told without the database, and nothing in the database helps to make one.
#[must_use]
pub fn device_code(keyring: &Keyring, grant: GrantId, client_id: &str) -> SecretText {
    let mac = keyring.mac(Purpose::DeviceCode, &[grant.0.as_bytes(), client_id.as_bytes()]);
    let mut bytes = grant.0.as_bytes().to_vec();
    bytes.extend_from_slice(&mac);
    SecretText::from(format!("{PREFIX}{}", base64url(&bytes)))
}

/// The grant of a device code; `None` when it is malformed, another client's, or not of this installation.
#[must_use]
pub fn read_device_code(keyring: &Keyring, code: &str, client_id: &str) -> Option<GrantId> {
    let bytes = from_base64url(code.strip_prefix(PREFIX)?)?;
    let (id, mac) = bytes.split_at_checked(16)?;
    let grant = GrantId(uuid::Uuid::from_slice(id).ok()?);
    keyring.verify(Purpose::DeviceCode, &[id, client_id.as_bytes()], mac).then_some(grant)
}

/// How many letters a user code has. Ten are for times when eight could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// 20⁸ ≈ 2.6 × 10¹⁰.
    Eight,
    /// 20¹⁰ ≈ 10¹³.
    Ten,
}

impl Length {
    /// The number of letters.
    #[must_use]
    pub const fn letters(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Ten => 10,
        }
    }

    /// The length with this number of letters.
    #[must_use]
    pub const fn of(letters: usize) -> Option<Self> {
        match letters {
            8 => Some(Self::Eight),
            10 => Some(Self::Ten),
            _ => None,
        }
    }
}

/// A user code: letters of [`ALPHABET`] only. `Display` groups it as people read it; `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// The user code of a grant under the installation's current secret. Drawn from the id by a pseudo-random function,
    /// it is uniform, stored nowhere, and can be shown again on the confirm page.
    #[must_use]
    pub fn draw(keyring: &Keyring, grant: GrantId, length: Length) -> Self {
        // A keyring is never empty.
        Self::draw_under(keyring, 0, grant, length).unwrap_or_else(|| Self(String::new()))
    }

    fn draw_under(keyring: &Keyring, secret: usize, grant: GrantId, length: Length) -> Option<Self> {
        let mut letters = String::with_capacity(length.letters());
        for round in 0u32.. {
            let blocks = keyring.macs(Purpose::UserCodeLetters, &[grant.0.as_bytes(), &round.to_be_bytes()]);
            // 240 is the largest multiple of 20 in a byte: what is above would favour the first letters.
            let uniform = blocks.get(secret)?.iter().filter(|byte| **byte < 240);
            letters
                .extend(uniform.filter_map(|byte| ALPHABET.get(usize::from(byte % 20))).map(|byte| char::from(*byte)));
            if letters.len() >= length.letters() {
                letters.truncate(length.letters());
                break;
            }
        }
        Some(Self(letters))
    }

    /// Reads what a person typed: any case, other signs dropped (RFC 8628 §6.1). `None` when no user code is left.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        // Nobody types a page: what is longer than a code with every sign people put between is no code.
        if typed.len() > 64 {
            return None;
        }
        let letters: String = typed
            .chars()
            .map(|c| c.to_ascii_uppercase())
            .filter(|c| u8::try_from(*c).is_ok_and(|b| ALPHABET.contains(&b)))
            .collect();
        Length::of(letters.len()).map(|_| Self(letters))
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Length {
        Length::of(self.0.len()).unwrap_or(Length::Eight)
    }

    /// What is stored of a new code.
    #[must_use]
    pub fn mac(&self, keyring: &Keyring) -> Vec<u8> {
        keyring.mac(Purpose::UserCode, &[self.0.as_bytes()]).to_vec()
    }

    /// What may be stored of this code, under each of the installation's secrets.
    #[must_use]
    pub fn macs(&self, keyring: &Keyring) -> Vec<Vec<u8>> {
        keyring.macs(Purpose::UserCode, &[self.0.as_bytes()])
    }
}

/// The user code of a grant once more, drawn under whichever secret was current when it was asked for: the one whose
/// code has the stored MAC. `None` when that secret was taken away.
#[must_use]
pub fn redraw(keyring: &Keyring, grant: GrantId, length: Length, mac: Option<&[u8]>) -> Option<UserCode> {
    let mut secrets = 0..keyring.len();
    secrets.find_map(|secret| {
        let code = UserCode::draw_under(keyring, secret, grant, length)?;
        code.macs(keyring).iter().any(|known| Some(known.as_slice()) == mac).then_some(code)
    })
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at_checked(self.0.len() / 2).unwrap_or((&self.0, ""));
        write!(f, "{first}-{second}")
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{InstallationSecret, Random};
    use std::collections::HashMap;

    fn keyring() -> Keyring {
        Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap()
    }

    fn grant(n: u64) -> GrantId {
        GrantId(uuid::Uuid::from_u64_pair(n, n))
    }

    #[test]
    fn a_device_code_is_read_by_its_own_client_only() {
        let keyring = keyring();
        let code = device_code(&keyring, grant(7), "demo-cli");
        assert!(code.expose().starts_with("csd_") && code.expose().len() == 68);
        assert_eq!(read_device_code(&keyring, code.expose(), "demo-cli"), Some(grant(7)));
        assert_eq!(read_device_code(&keyring, code.expose(), "other"), None);
        for broken in ["", "csd_", "csd_AAAA", "csd_!!!", "WDJB-MJHT", &format!("{}A", code.expose())] {
            assert_eq!(read_device_code(&keyring, broken, "demo-cli"), None, "{broken}");
        }
    }

    #[test]
    fn a_user_code_is_read_however_it_is_typed() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        for typed in ["wdjb-mjht", "WDJBMJHT", " w d j b – m j h t ", "WDJB.MJHT\n", "wdjb_mjht!", "0WDJBMJHT1"] {
            assert_eq!(UserCode::parse(typed), Some(code.clone()), "{typed}");
        }
        assert_eq!(code.to_string(), "WDJB-MJHT");
        assert_eq!(UserCode::parse("wdjbm-jhtkx").unwrap().to_string(), "WDJBM-JHTKX");
        for none in ["", "WDJB", "WDJB-MJH", "WDJB-MJHT-K", &"WDJB-MJHT".repeat(20)] {
            assert_eq!(UserCode::parse(none), None, "{none}");
        }
    }

    #[test]
    fn drawn_codes_use_every_letter_alike() {
        let keyring = keyring();
        let mut counts: HashMap<char, u32> = HashMap::new();
        for n in 0..2000 {
            let code = UserCode::draw(&keyring, grant(n), Length::Eight).to_string();
            assert_eq!(code.len(), 9);
            for letter in code.chars().filter(|c| *c != '-') {
                *counts.entry(letter).or_default() += 1;
            }
        }
        // 800 expected of each; seven standard deviations are 193.
        assert_eq!(counts.len(), 20);
        assert!(counts.values().all(|count| (607..993).contains(count)), "{counts:?}");
    }
}
