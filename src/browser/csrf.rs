//! Against forged requests: a token in every form, and a look at where the form was sent from.

use axum::http::HeaderMap;
use axum::http::header;

use crate::config::PublicUrl;
use crate::ids::{GrantId, SessionId, UserId};
use crate::secrets::{Keyring, Purpose, base64url, from_base64url};

use super::visitor::Visitor;

/// What a form is about. A form that is left open in a tab while another code is entered, or another account signed in,
/// is about something else and is refused: nobody approves what they don't see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The device login.
    pub grant: Option<GrantId>,
    /// The account.
    pub user: Option<UserId>,
    /// The signed-in device.
    pub session: Option<SessionId>,
}

/// The value of the hidden field `csrf_token`.
#[must_use]
pub fn token(keyring: &Keyring, visitor: &Visitor, about: About) -> String {
    base64url(&keyring.mac(Purpose::Csrf, &parts(visitor, &bytes(about))))
}

/// The same for a form beside which something stands that may be another thing by the time it is sent: the token says
/// [what](shown).
#[must_use]
pub fn token_of_shown(keyring: &Keyring, visitor: &Visitor, about: About, shown: &str) -> String {
    let bytes = bytes(about);
    let mac = keyring.mac(Purpose::Csrf, &[&parts(visitor, &bytes)[..], &[shown.as_bytes()]].concat());
    format!("{}.{shown}", base64url(&mac))
}

/// What stood beside the form of a token.
#[must_use]
pub fn shown(token: &str) -> Option<&str> {
    token.split_once('.').map(|(_, shown)| shown)
}

/// Whether `token` is that of this browser, for a form about this.
#[must_use]
pub fn verify(keyring: &Keyring, visitor: &Visitor, about: About, token: Option<&str>) -> bool {
    let (Some(token), bytes) = (token, bytes(about)) else { return false };
    let (mac, shown) = token.split_once('.').map_or((token, None), |(mac, shown)| (mac, Some(shown.as_bytes())));
    let parts = [&parts(visitor, &bytes)[..], shown.as_slice()].concat();
    from_base64url(mac).is_some_and(|mac| keyring.verify(Purpose::Csrf, &parts, &mac))
}

fn bytes(about: About) -> [Vec<u8>; 3] {
    let of = |id: Option<uuid::Uuid>| id.map(|id| id.into_bytes().to_vec()).unwrap_or_default();
    [of(about.grant.map(|id| id.0)), of(about.user.map(|id| id.0)), of(about.session.map(|id| id.0))]
}

fn parts<'a>(visitor: &'a Visitor, about: &'a [Vec<u8>; 3]) -> [&'a [u8]; 4] {
    let [grant, user, session] = about;
    [visitor.token.expose().as_bytes(), grant, user, session]
}

/// Whether the browser says that a form came from one of our own pages. Browsers too old for `Sec-Fetch-Site` send
/// `Origin: null` under our referrer policy, or nothing; for them the token alone decides.
#[must_use]
pub fn is_same_origin(headers: &HeaderMap, public_url: &PublicUrl) -> bool {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("?"));
    let fetched_from = text(header::HeaderName::from_static("sec-fetch-site"));
    if !matches!(fetched_from, None | Some("same-origin" | "none")) {
        return false;
    }
    text(header::ORIGIN).is_none_or(|origin| origin == "null" || origin == public_url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_origin(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        is_same_origin(&headers, &PublicUrl::parse("https://auth.acme.example/login").unwrap())
    }

    #[test]
    fn forms_of_other_sites_are_told_by_what_the_browser_says() {
        assert!(same_origin(&[]));
        assert!(same_origin(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(same_origin(&[("origin", "https://auth.acme.example")]));
        assert!(!same_origin(&[("sec-fetch-site", "cross-site"), ("origin", "null")]));
        assert!(!same_origin(&[("sec-fetch-site", "same-site"), ("origin", "https://auth.acme.example")]));
        assert!(!same_origin(&[("origin", "https://evil.example")]));
    }
}
