//! Messages to an organization's own programs, signed as Standard Webhooks says.
//!
//! One message is one POST. Its `webhook-id` is the same at every attempt. Its `webhook-signature` is an HMAC-SHA-256 over id,
//! time and body, so that nobody else can send one, nor an old one again. Any answer of 2xx means that it arrived; the
//! answer's body isn't read, no redirect is followed, and after ten seconds it is given up for this time. Where the address was
//! written over the network, nothing is posted but to public addresses, and those that `outbound.allow` names.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use url::Url;

use crate::directory::webhook::{self, Event};
use crate::ids::{NoticeId, WebhookId};
use crate::installation::Installation;
use crate::outbound::{NotPublic, Outbound, Outgoing};
use crate::secrets::Sealed;
use crate::upstream::{host_of, is_secure};

use super::delivery::Failure;
use super::link;
use super::outbox::{About, Due};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// The HTTP client can't be made: TLS has no certificates to trust, for one.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for webhooks")]
pub struct NoHttpClient(#[from] reqwest::Error);

/// Who posts. Cheap to clone; connections are shared.
#[derive(Clone)]
pub(super) struct Poster(Outgoing);

/// Where to post, and as who.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub id: WebhookId,
    pub url: &'a str,
    pub secret: &'a Sealed,
    pub public_only: bool,
}

impl Poster {
    pub(super) fn new(outbound: Outbound) -> Result<Self, NoHttpClient> {
        let settings = || {
            reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TOTAL_TIMEOUT).user_agent(USER_AGENT)
        };
        Ok(Self(Outgoing::new(outbound, settings)?))
    }

    /// Posts a message once. It has the same id at every attempt.
    pub(super) async fn post(
        &self,
        installation: &Installation,
        (id, body): (NoticeId, String),
        to: Address<'_>,
    ) -> Result<(), Failure> {
        let url = Url::parse(to.url).map_err(|_| Failure::hopeless("the webhook's address is none"))?;
        let host = host_of(&url);
        if !is_secure(&url) {
            return Err(Failure::hopeless(format!("{host} is to be told by http://, which is for loopback only")));
        }
        // Not for ever: the setting may change, or what the name means.
        let not_public = || Failure::passing(format!("{host}: {NotPublic}"));
        let client = self.0.client(&url, to.public_only).map_err(|NotPublic| not_public())?;
        let secret = webhook::open_secret(&installation.keyring, to.id, to.secret)?;
        let key = webhook::signing_key(secret.expose()).ok_or_else(|| Failure::passing("its secret is none"))?;
        let message_id = format!("msg_{id}");
        let timestamp = installation.clock.now().timestamp().to_string();
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-signature", signature(&key, &message_id, &timestamp, &body))
            .header("webhook-id", message_id)
            .header("webhook-timestamp", timestamp)
            .body(body);
        match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            // Standard Webhooks: the receiver wants no more of this.
            Ok(StatusCode::GONE) => Err(Failure::hopeless(format!("{host} answered 410: it is gone"))),
            Ok(status) => Err(Failure::passing(format!("{host} answered {}", status.as_u16()))),
            Err(error) if NotPublic::is_behind(&error) => Err(not_public()),
            Err(error) if error.is_timeout() => Err(Failure::hung(format!("{host} did not answer in time"))),
            Err(error) if error.is_connect() => Err(Failure::passing(format!("{host} can't be reached"))),
            Err(_) => Err(Failure::passing(format!("the connection to {host} broke"))),
        }
    }
}

/// The body (docs/endpoints.md).
pub(super) fn payload(installation: &Installation, due: &Due) -> Value {
    let mut data = due.notice.content.clone();
    let kind = match due.notice.about {
        About::Login(Event::Approved, grant) => {
            let url = link::url(&installation.keyring, &installation.public_url, grant);
            if let Some(members) = data.as_object_mut() {
                members.insert("report_url".to_owned(), url.expose().into());
            }
            "device_login.approved"
        }
        About::Login(Event::Reported, _) => "device_login.reported",
        About::Invitation(_) => "user.invited",
    };
    json!({ "type": kind, "timestamp": due.created_at, "data": data })
}

/// `v1,` and base64 of the MAC over id, time and body.
fn signature(key: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mac = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the convention's own libraries.
    #[test]
    fn a_signature_is_that_of_the_convention() {
        let key = webhook::signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        assert_eq!(
            signature(&key, id, timestamp, r#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
