//! Nonces that the server gives (RFC 9449 §8): a number of the time and a MAC over it, so that every node knows every
//! node's, and none is stored.

use chrono::{DateTime, Utc};

use crate::secrets::{Keyring, Purpose, base64url, from_base64url};

/// How long one nonce is given out, in seconds. It is taken for as long again.
const WINDOW: i64 = 180;

/// The nonce of this moment.
#[must_use]
pub fn current(keyring: &Keyring, now: DateTime<Utc>) -> String {
    let window = window(now).to_be_bytes();
    let mac = keyring.mac(Purpose::DpopNonce, &[&window]);
    base64url(&[&window[..], &mac].concat())
}

/// Whether this server, or another node of it, gave the nonce three to six minutes ago or later.
#[must_use]
pub fn is_fresh(keyring: &Keyring, nonce: &str, now: DateTime<Utc>) -> bool {
    let Some(bytes) = from_base64url(nonce) else { return false };
    let Some((given, mac)) = bytes.split_first_chunk::<8>() else { return false };
    let age = window(now).saturating_sub(i64::from_be_bytes(*given));
    // One ahead: another node's clock may be.
    (-1..=1).contains(&age) && keyring.verify(Purpose::DpopNonce, &[given], mac)
}

fn window(now: DateTime<Utc>) -> i64 {
    now.timestamp().div_euclid(WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{InstallationSecret, Random};

    #[test]
    fn a_nonce_is_fresh_for_a_while_and_at_home_only() {
        let [home, abroad] =
            [(); 2].map(|()| Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap());
        let at = |seconds: i64| DateTime::from_timestamp(180 * 10_000_000 + seconds, 0).unwrap();
        let nonce = current(&home, at(0));
        for (seconds, fresh) in [(-180, true), (0, true), (359, true), (360, false), (86_400, false), (-181, false)] {
            assert_eq!(is_fresh(&home, &nonce, at(seconds)), fresh, "{seconds}");
        }
        assert_eq!(current(&home, at(179)), nonce);
        assert_ne!(current(&home, at(180)), nonce);
        assert!(!is_fresh(&abroad, &nonce, at(0)));
        for none in ["", "x", "AAAAAAAAAAA", &base64url(&i64::MIN.to_be_bytes())] {
            assert!(!is_fresh(&home, none, at(0)), "{none}");
        }
    }
}
