//! What a server answers, read once: what its status and body mean for a device login.

use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use url::Url;

use super::http::Answer;
use super::printable::printable;
use super::secret::Secret;

/// Lifetimes beyond this are taken for this: a code is good for minutes, a token for hours or days.
const LONGEST_LIFE: u64 = 366 * 24 * 3600;

/// A pair of codes (RFC 8628 §3.2).
#[derive(Debug)]
pub(crate) struct DeviceAuthorization {
    /// For the polls only.
    pub(crate) device_code: Secret,
    /// What is shown.
    pub(crate) code: Code,
    /// As answered: missing means the default.
    pub(crate) interval: Option<Duration>,
}

/// What the person needs to approve: where to go, and what to enter there.
#[derive(Clone, Debug, Serialize)]
pub struct Code {
    /// What to enter, as the server writes it (`WDJB-MJHT`).
    pub user_code: String,
    /// Where to enter it: an http or https address.
    pub verification_uri: String,
    /// The same with the code filled in, if the server offers that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// How long the code is good, from now.
    #[serde(serialize_with = "in_seconds")]
    pub expires_in: Duration,
    /// The least time between two polls.
    #[serde(serialize_with = "in_seconds")]
    pub interval: Duration,
}

/// A successful token answer (RFC 6749 §5.1).
#[derive(Clone, Debug, Deserialize)]
pub struct Tokens {
    /// Opens the API.
    pub access_token: Secret,
    /// `Bearer`; or `DPoP`, when the token is bound to the key that was proven. Another type is not accepted.
    pub token_type: String,
    /// Life of the access token, if told.
    #[serde(default, deserialize_with = "seconds")]
    pub expires_in: Option<Duration>,
    /// What was granted; missing when it is what was asked.
    pub scope: Option<String>,
    /// Gets new access tokens.
    pub refresh_token: Option<Secret>,
    /// Says who signed in (OpenID Connect).
    pub id_token: Option<Secret>,
}

/// What a poll's answer means.
#[derive(Debug)]
pub(crate) enum Poll {
    Approved(Tokens),
    Pending,
    SlowDown {
        interval: Option<Duration>,
    },
    /// Approved, but for the number that the approving page shows: Countersign's own (`verification_number`).
    NumberWanted {
        tries_left: Option<u8>,
    },
    Denied,
    Expired,
    /// Nothing is decided; the server, or something before it, is in trouble.
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
    },
    Refused(OAuthError),
    NotUnderstood(String),
}

/// An OAuth error answer (RFC 6749 §5.2), safe to print.
#[derive(Debug)]
pub(crate) struct OAuthError {
    pub(crate) error: String,
    pub(crate) description: Option<String>,
    interval: Option<Duration>,
    /// Whether it asks for a number.
    wants_number: bool,
    tries_left: Option<u8>,
}

#[derive(Deserialize)]
struct DeviceAuthorizationBody {
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<Duration>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    error_description: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<Duration>,
    verification: Option<serde_json::Value>,
    tries_left: Option<serde_json::Value>,
}

impl DeviceAuthorization {
    /// Reads a 200. `Err` says in words what is wrong with it.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let body: DeviceAuthorizationBody = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
        let user_code = printable(&body.user_code);
        if user_code.trim().is_empty() || body.device_code.expose().is_empty() {
            return Err("a code in it is empty".to_owned());
        }
        let verification_uri = web_address(&body.verification_uri).ok_or("its verification_uri is no web address")?;
        let expires_in = body.expires_in.ok_or("it has no expires_in")?;
        let code = Code {
            user_code,
            verification_uri,
            verification_uri_complete: body.verification_uri_complete.as_deref().and_then(web_address),
            expires_in,
            interval: super::pacing::Pacing::new(body.interval).interval(),
        };
        Ok(Self { device_code: body.device_code, code, interval: body.interval })
    }
}

impl OAuthError {
    /// The OAuth error in an answer of any status, if there is one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let body: ErrorBody = serde_json::from_slice(body).ok()?;
        let description = body.error_description.as_deref().map(printable).filter(|text| !text.trim().is_empty());
        let wants_number = body.verification.is_some_and(|verification| verification == "number");
        let tries_left = body.tries_left.and_then(|tries| u8::try_from(tries.as_u64()?).ok());
        Some(Self { error: printable(&body.error), description, interval: body.interval, wants_number, tries_left })
    }
}

impl Poll {
    /// Reads the answer to a request that proved a key, or didn't.
    ///
    /// An OAuth error counts whatever the status is: servers disagree on 400, 401, 403 and 428.
    pub(crate) fn read(answer: &Answer, proved: bool) -> Self {
        if answer.status == 200 {
            return match serde_json::from_slice::<Tokens>(&answer.body) {
                Ok(tokens) if tokens.is_bearer() || (proved && tokens.is_bound()) => Self::Approved(tokens.printable()),
                Ok(_) if proved => Self::NotUnderstood("its token_type is neither Bearer nor DPoP".to_owned()),
                Ok(_) => Self::NotUnderstood("its token_type is not Bearer".to_owned()),
                Err(error) => OAuthError::read(&answer.body)
                    .map_or_else(|| Self::NotUnderstood(not_json(&error)), |error| Self::from_error(error, answer)),
            };
        }
        match OAuthError::read(&answer.body) {
            Some(error) => Self::from_error(error, answer),
            None if answer.is_unavailable() => Self::unavailable(answer),
            None => Self::NotUnderstood(format!("HTTP {} without an OAuth error", answer.status)),
        }
    }

    fn from_error(error: OAuthError, answer: &Answer) -> Self {
        match error.error.as_str() {
            "authorization_pending" if error.wants_number => Self::NumberWanted { tries_left: error.tries_left },
            "authorization_pending" => Self::Pending,
            "slow_down" => Self::SlowDown { interval: error.interval },
            "access_denied" => Self::Denied,
            "expired_token" => Self::Expired,
            "temporarily_unavailable" | "server_error" => Self::unavailable(answer),
            _ if answer.is_unavailable() => Self::unavailable(answer),
            _ => Self::Refused(error),
        }
    }

    fn unavailable(answer: &Answer) -> Self {
        Self::Unavailable { reason: format!("HTTP {}", answer.status), retry_after: answer.retry_after }
    }
}

impl Tokens {
    fn is_bearer(&self) -> bool {
        self.token_type.eq_ignore_ascii_case("bearer")
    }

    /// Whether the access token is bound to a key (RFC 9449 §5).
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.token_type.eq_ignore_ascii_case("dpop")
    }

    /// Its texts that are shown, safe to show.
    fn printable(mut self) -> Self {
        self.token_type = printable(&self.token_type);
        self.scope = self.scope.as_deref().map(printable);
        self
    }
}

/// An address that a browser opens, as the server wrote it but for what can't be printed. Anything but http and https
/// could make a phone that scans it do something else.
fn web_address(text: &str) -> Option<String> {
    let text = printable(text);
    let url = Url::parse(&text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(text)
}

/// Says where JSON ends to be what was expected, not what was there: it may hold a token.
fn not_json(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => "a member is missing or of another type".to_owned(),
        _ => "it is not JSON".to_owned(),
    }
}

/// Whole seconds; some servers send them as a decimal or in quotation marks.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Whole(u64),
        Decimal(f64),
        Text(String),
    }
    let seconds = match Option::<Seconds>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Seconds::Whole(seconds)) => seconds,
        Some(Seconds::Decimal(seconds)) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| D::Error::custom("not a time"))?.as_secs()
        }
        Some(Seconds::Text(text)) => text.trim().parse().map_err(|_| D::Error::custom("not a number"))?,
    };
    Ok(Some(Duration::from_secs(seconds.min(LONGEST_LIFE))))
}

fn in_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(status: u16, body: &str) -> Poll {
        Poll::read(&Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }, false)
    }

    #[test]
    fn every_error_of_the_standard_has_its_meaning() {
        assert!(matches!(poll(400, r#"{"error":"authorization_pending"}"#), Poll::Pending));
        assert!(matches!(poll(428, r#"{"error":"authorization_pending"}"#), Poll::Pending));
        let number = r#"{"error":"authorization_pending","verification":"number","tries_left":2}"#;
        assert!(matches!(poll(400, number), Poll::NumberWanted { tries_left: Some(2) }));
        let other = r#"{"error":"authorization_pending","verification":["face"],"tries_left":"many"}"#;
        assert!(matches!(poll(400, other), Poll::Pending), "nothing that is known here");
        assert!(matches!(poll(400, r#"{"error":"slow_down"}"#), Poll::SlowDown { interval: None }));
        assert!(matches!(poll(403, r#"{"error":"access_denied"}"#), Poll::Denied));
        assert!(matches!(poll(400, r#"{"error":"expired_token"}"#), Poll::Expired));
        assert!(matches!(poll(401, r#"{"error":"invalid_client"}"#), Poll::Refused(e) if e.error == "invalid_client"));
        assert!(matches!(poll(200, r#"{"error":"authorization_pending"}"#), Poll::Pending));
    }

    #[test]
    fn trouble_is_told_from_refusal() {
        assert!(matches!(poll(503, "<html>"), Poll::Unavailable { .. }));
        assert!(matches!(poll(429, ""), Poll::Unavailable { .. }));
        assert!(matches!(poll(400, r#"{"error":"temporarily_unavailable"}"#), Poll::Unavailable { .. }));
        assert!(matches!(poll(500, r#"{"error":"oops"}"#), Poll::Unavailable { .. }));
        assert!(matches!(poll(404, "not here"), Poll::NotUnderstood(_)));
        assert!(matches!(poll(200, "<html>"), Poll::NotUnderstood(_)));
        assert!(matches!(poll(200, r#"{"access_token":"t","token_type":"mac"}"#), Poll::NotUnderstood(_)));
        // Bound to a key that was never proven: nobody here could use it.
        let bound = r#"{"access_token":"t","token_type":"DPoP"}"#;
        assert!(matches!(poll(200, bound), Poll::NotUnderstood(_)));
        let answer = Answer { status: 200, body: bound.into(), ..Answer::default() };
        assert!(matches!(Poll::read(&answer, true), Poll::Approved(tokens) if tokens.is_bound()));
    }

    #[test]
    fn tokens_are_read_and_not_shown() {
        let body = r#"{"access_token":"at-1","token_type":"bearer","expires_in":"900","scope":"read\u001b[2J"}"#;
        let Poll::Approved(tokens) = poll(200, body) else { panic!("approved") };
        assert_eq!(tokens.access_token.expose(), "at-1");
        assert_eq!(tokens.expires_in, Some(Duration::from_mins(15)));
        assert_eq!(tokens.scope.as_deref(), Some("read[2J"));
        assert!(!format!("{tokens:?}").contains("at-1"));
    }

    fn codes(verification_uri: &str) -> Result<DeviceAuthorization, String> {
        let body = serde_json::json!({
            "device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": verification_uri,
            "verification_uri_complete": "javascript:alert(1)", "expires_in": 900.0
        });
        DeviceAuthorization::read(body.to_string().as_bytes())
    }

    #[test]
    fn only_web_addresses_are_shown() {
        let authorization = codes("https://acme.example/activate").unwrap();
        assert_eq!(authorization.code.verification_uri_complete, None);
        assert_eq!(authorization.code.interval, Duration::from_secs(5));
        for address in ["javascript:alert(1)", "file:///etc/passwd", "/activate", "tel:112"] {
            assert!(codes(address).is_err(), "{address}");
        }
    }
}
