//! The link "This wasn't me": a token that names an approval, and that only the installation's secret makes.
//!
//! It can do one thing, which is to end what came of that approval, and it can do that once. It is not stored, not even
//! as a hash: it is made anew for each message, and checked without the database.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::PublicUrl;
use crate::device::grant;
use crate::ids::GrantId;
use crate::secrets::{Keyring, Purpose, SecretText, base64url, from_base64url};

/// Where it leads, beneath the public URL. The token is in the query: Countersign logs paths and no queries, and a proxy can be
/// told to (docs/operations.md).
pub const PATH: &str = "/activate/report";

/// What its token begins with, so that a secret scanner knows one.
const PREFIX: &str = "csn_";

/// How long after the approval the link is good. So long the approval is kept (`server/housekeeping.rs`).
pub const LIFE: TimeDelta = TimeDelta::days(30);

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Of this approval.
    Good(GrantId),
    /// Of an approval that is too long ago.
    TooOld,
    /// Of none: mistyped, cut off, made up.
    Unknown,
}

/// The token for an approved grant: its id and a MAC over it.
#[must_use]
pub fn token(keyring: &Keyring, grant: GrantId) -> SecretText {
    let mac = keyring.mac(Purpose::ReportLink, &[grant.0.as_bytes()]);
    let mut bytes = grant.0.as_bytes().to_vec();
    bytes.extend_from_slice(&mac);
    SecretText::from(format!("{PREFIX}{}", base64url(&bytes)))
}

/// The whole link.
#[must_use]
pub fn url(keyring: &Keyring, public_url: &PublicUrl, grant: GrantId) -> SecretText {
    SecretText::from(public_url.join(&format!("{PATH}?token={}", token(keyring, grant).expose())))
}

/// Reads a token, without the database. White space that a mail program put into it doesn't count.
#[must_use]
pub fn read(keyring: &Keyring, token: &str, now: DateTime<Utc>) -> Token {
    let Some(grant) = grant_of(keyring, token) else { return Token::Unknown };
    // A grant's id says when it was asked for, and it is approved within its life.
    if now - grant.asked_at() > LIFE + grant::LONGEST_LIFE { Token::TooOld } else { Token::Good(grant) }
}

fn grant_of(keyring: &Keyring, token: &str) -> Option<GrantId> {
    let token: String = token.chars().filter(|sign| !sign.is_whitespace()).take(200).collect();
    let bytes = from_base64url(token.strip_prefix(PREFIX)?)?;
    let (id, mac) = bytes.split_at_checked(16)?;
    let grant = GrantId(uuid::Uuid::from_slice(id).ok()?);
    keyring.verify(Purpose::ReportLink, &[id], mac).then_some(grant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{InstallationSecret, Random};

    fn keyring() -> Keyring {
        Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap()
    }

    #[test]
    fn a_token_is_good_for_a_month_at_its_own_installation() {
        let (keyring, asked) = (keyring(), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let grant = GrantId::new(asked, &[7; 10]);
        let token = token(&keyring, grant);
        assert!(token.expose().starts_with("csn_") && token.expose().len() == 68);
        let read = |token: &str, days| read(&keyring, token, asked + TimeDelta::days(days));
        assert_eq!(read(token.expose(), 0), Token::Good(grant));
        assert_eq!(read(token.expose(), 30), Token::Good(grant));
        assert_eq!(read(token.expose(), 31), Token::TooOld);
        let (beginning, end) = token.expose().split_at(20);
        assert_eq!(read(&format!(" {beginning}\r\n {end}\n"), 0), Token::Good(grant), "broken by a mail program");
        assert_eq!(super::read(&self::keyring(), token.expose(), asked), Token::Unknown, "of another installation");
        let device_code = crate::device::codes::device_code(&keyring, grant, "demo-cli");
        let others = ["", "csn_", "csn_AAAA", beginning, &format!("{}A", token.expose())];
        for other in others.into_iter().chain([&*device_code.expose().replace("csd_", "csn_")]) {
            assert_eq!(read(other, 0), Token::Unknown, "{other}");
        }
    }
}
