//! Who the client is (RFC 6749 §2.3, §3.2.1).
//!
//! Public clients say `client_id` in the body, or by Basic with an empty password, or both. Confidential ones prove a
//! secret by `client_secret_basic` or `client_secret_post`. Clients differ in whether they form-encode before they
//! base64-encode: the decoded value counts, then the raw one.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::device::pacing::AuthStyle;
use crate::directory::kept_secret::Renewal;
use crate::directory::known::Snapshot;
use crate::directory::service::{self, Service};
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::postgres::PgConnection;
use crate::secrets::{Keyring, SecretText};

/// What a request says about its client, before anything is looked up.
pub struct Credentials {
    /// How it was said.
    pub style: AuthStyle,
    /// `client_id` and secret as they may be meant, likeliest first. Never empty.
    candidates: Vec<(String, Option<SecretText>)>,
    /// Whether Basic came with a password: only then a failure is challenged.
    challenge: bool,
}

impl Credentials {
    /// Reads header and body.
    pub fn read(headers: &HeaderMap, parameters: &Parameters) -> Result<Self, OAuthError> {
        let body_id = parameters.get("client_id");
        let body_secret = parameters.get("client_secret").map(SecretText::from);
        let Some(basic) = basic(headers)? else {
            let client_id = body_id.ok_or_else(|| {
                OAuthError::invalid_request("The parameter client_id is missing, and there is no Basic authorization.")
            })?;
            let candidates = vec![(client_id.to_owned(), body_secret)];
            return Ok(Self { style: AuthStyle::Body, candidates, challenge: false });
        };
        let challenge = basic.iter().any(|(_, password)| password.is_some());
        if challenge && body_secret.is_some() {
            return Err(OAuthError::invalid_request(
                "The client authenticates twice, by Basic and by client_secret; use one (RFC 6749 section 2.3).",
            ));
        }
        let agrees = |(id, _): &(String, _)| body_id.is_none_or(|body_id| body_id == id);
        let mut candidates: Vec<_> = basic.into_iter().filter(agrees).collect();
        if candidates.is_empty() {
            return Err(OAuthError::invalid_request(
                "client_id in the body is not the one of the Basic authorization.",
            ));
        }
        for (_, secret) in &mut candidates {
            *secret = secret.take().or_else(|| body_secret.clone());
        }
        Ok(Self { style: AuthStyle::Basic, candidates, challenge })
    }

    /// The `client_id`s and secrets as they may be meant, likeliest first.
    pub fn candidates(&self) -> impl Iterator<Item = (&str, Option<&SecretText>)> {
        self.candidates.iter().map(|(id, secret)| (id.as_str(), secret.as_ref()))
    }

    /// The `client_id`s as they may be meant, likeliest first.
    pub fn client_ids(&self) -> impl Iterator<Item = &str> {
        self.candidates().map(|(id, _)| id)
    }

    /// The service of these credentials.
    pub async fn authenticate(&self, conn: &mut PgConnection, keyring: &Keyring) -> Result<Service, OAuthError> {
        let mut known = false;
        for (client_id, secret) in &self.candidates {
            let Some(service) = service::by_client_id(conn, client_id).await? else { continue };
            known = true;
            if is_proven(&service, secret.as_ref(), keyring) {
                return Ok(service);
            }
        }
        Err(self.refuse(known))
    }

    /// The service of these credentials among those that are known. `None`: the database has to say.
    #[must_use]
    pub fn among<'a>(&self, known: &'a Snapshot, keyring: &Keyring) -> Option<&'a Arc<Service>> {
        let mut services = self.candidates.iter().filter_map(|(id, secret)| Some((known.get(id)?, secret)));
        services.find(|(service, secret)| is_proven(service, secret.as_ref(), keyring)).map(|(service, _)| service)
    }

    /// The secret that proved this client, to be kept under the installation's current secret if it isn't yet.
    #[must_use]
    pub fn renewal(&self, service: &Service, keyring: &Keyring) -> Option<Renewal> {
        let of_client = self.candidates.iter().filter(|(id, _)| *id == service.client_id);
        let mut sent = of_client.filter_map(|(_, secret)| secret.as_ref());
        Renewal::of(service, keyring, sent.find(|secret| service.has_secret(keyring, secret))?)
    }

    /// The refusal of a client that is known, or isn't.
    #[must_use]
    pub fn refuse(&self, known: bool) -> OAuthError {
        let sent_secret = self.candidates.iter().any(|(_, secret)| secret.is_some());
        let description = match (known, sent_secret) {
            (false, _) => "There is no client with this client_id. Ask whoever runs the service for the right one.",
            (true, false) => "This client is confidential: it must send its client_secret, by Basic or in the body.",
            (true, true) => "The client_secret is wrong.",
        };
        let error = OAuthError::invalid_client(description);
        if self.challenge { error.with_basic_challenge() } else { error }
    }
}

/// Whether whoever sends this secret, or none, is the client.
#[must_use]
pub fn is_proven(service: &Service, secret: Option<&SecretText>, keyring: &Keyring) -> bool {
    !service.is_confidential() || secret.is_some_and(|secret| service.has_secret(keyring, secret))
}

type Pair = (String, Option<SecretText>);

/// Reads `Authorization: Basic`, form-decoded and raw. Another scheme is none of ours.
fn basic(headers: &HeaderMap) -> Result<Option<Vec<Pair>>, OAuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let malformed = || OAuthError::invalid_request("The Basic authorization is malformed (RFC 7617 section 2).");
    let text = value.to_str().map_err(|_| malformed())?.trim();
    let (scheme, encoded) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let encoded = encoded.trim();
    let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).map_err(|_| malformed())?;
    let pair = Zeroizing::new(String::from_utf8(bytes).map_err(|_| malformed())?);
    let (id, password) = pair.split_once(':').ok_or_else(malformed)?;
    if id.is_empty() || pair.contains('\0') {
        return Err(malformed());
    }
    let secret = |password: &str| (!password.is_empty()).then(|| SecretText::from(password));
    let mut pairs = Vec::with_capacity(2);
    if let (Some(id), Some(password)) = (form_decode(id), form_decode(password)) {
        pairs.push((id, secret(&password)));
    }
    if pairs.first().is_none_or(|(decoded, _)| decoded != id) || form_decode(password).as_deref() != Some(password) {
        pairs.push((id.to_owned(), secret(password)));
    }
    Ok(Some(pairs))
}

/// One value of `application/x-www-form-urlencoded`; `None` when it can't be one.
fn form_decode(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return None;
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&format!("v={text}")).ok()?;
    let value = pairs.into_iter().next().map(|(_, value)| value)?;
    (!value.contains(['\0', char::REPLACEMENT_CHARACTER])).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Fields;

    fn read(authorization: Option<&str>, body: &str) -> Result<Vec<(String, Option<String>)>, &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(pair) = authorization {
            headers.insert(header::AUTHORIZATION, format!("basic {}", STANDARD.encode(pair)).parse().unwrap());
        }
        let parameters = Fields::from_form(body.as_bytes()).unwrap().try_into().unwrap();
        let credentials = Credentials::read(&headers, &parameters).map_err(|error| error.error())?;
        let expose = |(id, secret): (String, Option<SecretText>)| (id, secret.map(|s| s.expose().to_owned()));
        Ok(credentials.candidates.into_iter().map(expose).collect())
    }

    fn pair(id: &str, secret: Option<&str>) -> (String, Option<String>) {
        (id.to_owned(), secret.map(str::to_owned))
    }

    #[test]
    fn a_public_client_may_say_who_it_is_in_three_ways() {
        let expected = Ok(vec![pair("demo-cli", None)]);
        assert_eq!(read(None, "client_id=demo-cli"), expected);
        assert_eq!(read(Some("demo-cli:"), ""), expected);
        assert_eq!(read(Some("demo-cli:"), "client_id=demo-cli"), expected);
    }

    #[test]
    fn basic_is_decoded_and_taken_raw_as_well() {
        let both = vec![pair("a:b", Some("s+/%")), pair("a%3Ab", Some("s%2B%2F%25"))];
        assert_eq!(read(Some("a%3Ab:s%2B%2F%25"), ""), Ok(both));
        assert_eq!(read(Some("a:p+q"), ""), Ok(vec![pair("a", Some("p q")), pair("a", Some("p+q"))]));
        assert_eq!(read(Some("a:50%"), "").unwrap().last(), Some(&pair("a", Some("50%"))));
        assert_eq!(read(Some("a:x&y=z"), ""), Ok(vec![pair("a", Some("x&y=z"))]));
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(read(Some("a:secret"), "client_secret=secret"), Err("invalid_request"));
        assert_eq!(read(Some("a:secret"), "client_id=b"), Err("invalid_request"));
        assert_eq!(read(Some("no colon"), ""), Err("invalid_request"));
        assert_eq!(read(None, ""), Err("invalid_request"));
        assert_eq!(read(Some("a:"), "client_secret=secret"), Ok(vec![pair("a", Some("secret"))]));
    }
}
