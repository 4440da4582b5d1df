//! A browser in which somebody proved a password or a second factor before.
//!
//! It has tries of its own, so that strangers who try the same account can't keep its owner out. The browser keeps a
//! cookie for it, and nothing is stored here: 16 random bytes, when it was given, and a MAC over both, the account and
//! what was proven. With another password or another authenticator it is worth nothing, so nobody can lay in a stock.
//! It signs nobody in.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, TimeDelta, Utc};

use crate::ids::UserId;
use crate::installation::Installation;
use crate::secrets::{Purpose, base64url, from_base64url};

use super::visitor::cookies;

/// How long a browser is known after a proof.
const LIFE: TimeDelta = TimeDelta::days(180);

/// How old the cookie may be when a proof leaves it as it is.
const FRESH: TimeDelta = TimeDelta::days(30);

/// What was proven.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// The password with this hash.
    Password(&'a str),
    /// The second factor that was set up then.
    SecondFactor(DateTime<Utc>),
}

/// A browser in which an account proved this before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBrowser {
    /// Of this cookie alone.
    pub id: [u8; 16],
    since: DateTime<Utc>,
}

/// Recognizes the browser, if this account proved just this in it.
#[must_use]
pub fn recognize(
    installation: &Installation,
    headers: &HeaderMap,
    user: UserId,
    proof: Proof<'_>,
) -> Option<KnownBrowser> {
    let now = installation.clock.now();
    cookies(headers, name(installation, proof)).find_map(|value| {
        let bytes = from_base64url(value)?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (seconds, mac) = rest.split_first_chunk::<8>()?;
        let since = DateTime::from_timestamp(i64::from_be_bytes(*seconds), 0)?;
        let genuine =
            with_parts(user, proof, *id, since, |parts| installation.keyring.verify(Purpose::KnownBrowser, parts, mac));
        (genuine && since > now - LIFE).then_some(KnownBrowser { id: *id, since })
    })
}

/// Makes the browser that gets this answer known from now on. `known`: what it was recognized as.
pub fn remember(
    installation: &Installation,
    answer: &mut HeaderMap,
    user: UserId,
    proof: Proof<'_>,
    known: Option<KnownBrowser>,
) {
    let now = installation.clock.now();
    if known.is_some_and(|known| known.since > now - FRESH) {
        return;
    }
    let id: [u8; 16] = installation.random.bytes();
    let since = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    let mac = with_parts(user, proof, id, since, |parts| installation.keyring.mac(Purpose::KnownBrowser, parts));
    let value = base64url(&[&id[..], &since.timestamp().to_be_bytes(), &mac].concat());
    let secure = if installation.public_url.is_secure() { "; Secure" } else { "" };
    let age = LIFE.num_seconds();
    let cookie =
        format!("{}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}", name(installation, proof));
    if let Ok(mut value) = HeaderValue::try_from(cookie) {
        value.set_sensitive(true);
        answer.append(header::SET_COOKIE, value);
    }
}

fn with_parts<T>(
    user: UserId,
    proof: Proof<'_>,
    id: [u8; 16],
    since: DateTime<Utc>,
    mac: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    let since = since.timestamp().to_be_bytes();
    match proof {
        Proof::Password(hash) => mac(&[b"password", user.0.as_bytes(), hash.as_bytes(), &id, &since]),
        Proof::SecondFactor(set_up) => {
            let set_up = set_up.timestamp_micros().to_be_bytes();
            mac(&[b"second factor", user.0.as_bytes(), &set_up, &id, &since])
        }
    }
}

fn name(installation: &Installation, proof: Proof<'_>) -> &'static str {
    match (proof, installation.public_url.is_secure()) {
        (Proof::Password(_), true) => "__Host-countersign-known",
        (Proof::Password(_), false) => "countersign-known",
        (Proof::SecondFactor(_), true) => "__Host-countersign-proven",
        (Proof::SecondFactor(_), false) => "countersign-proven",
    }
}
