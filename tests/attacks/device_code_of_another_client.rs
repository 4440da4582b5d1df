//! **A device code of another client** (RFC 8628 §3.4, §5.6): a client comes for tokens that a person granted to another one.
//!
//! The attacker has: a device code that isn't theirs, and a client of their own: with a secret, or public, which anybody can
//! say to be.
//!
//! What must happen: the code is unknown to every client but the one that it was given to, and to whoever changes a letter of
//! it. Its own client gets its tokens all the same: trying has used nothing up.

use axum::http::StatusCode;

use crate::support::app::{AGENT_SECRET, Answer};
use crate::support::{App, Browser, Device};

const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");

#[track_caller]
fn is_told(answer: &Answer, error: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, error), "{}", answer.body);
    assert!(answer.header("retry-after").is_none() && answer.header("www-authenticate").is_none());
}

#[tokio::test]
async fn a_code_is_not_used_up_by_who_may_not_have_it() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let mut changed = device.device_code.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);
    for code in [&changed, "csd_", "csd_AAAA", "x", device.user_code.as_str(), "\u{1F511}"] {
        is_told(
            &app.post("/auth/token", &[GRANT, ("device_code", code), ("client_id", "acme-cli")]).await,
            "invalid_grant",
        );
    }
    let code = ("device_code", device.device_code.as_str());
    let foreign = [GRANT, code, ("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)];
    is_told(&app.post("/auth/token", &foreign).await, "invalid_grant");
    is_told(&app.post("/auth/token", &[GRANT, code, ("client_id", "nobody")]).await, "invalid_client");
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_public_client_of_another_organization_is_another_client() {
    let app = App::acme().await;
    app.apply(
        "[[organization]]\nslug = \"other\"\nname = \"Other\"\nmfa = \"off\"\n[[organization.service]]\nslug = \"cli\"\n\
         client_id = \"other-cli\"\ndevice_login = true\nscopes = { read = \"Read\" }\ndefault_scopes = [\"read\"]\n",
    )
    .await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let code = ("device_code", device.device_code.as_str());
    is_told(&app.post("/auth/token", &[GRANT, code, ("client_id", "other-cli")]).await, "invalid_grant");
    assert_eq!(device.poll().await.claims("access_token")["client_id"], "acme-cli");
}
