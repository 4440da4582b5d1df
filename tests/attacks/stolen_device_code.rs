//! **A stolen device code** (RFC 8628 §5.2): somebody polls with the code of another's device.
//!
//! The attacker has: a device code, copied while its login is under way.
//!
//! What must happen: bound to the device's key (RFC 9449), it is worth nothing without it, and nothing of the login is lost by
//! trying. Unbound, one of the two gets tokens; the other one's next poll ends what came of it.

use axum::http::StatusCode;

use super::audited;
use crate::support::app::{Answer, form_request};
use crate::support::dpop::{DeviceKey, with_proof};
use crate::support::{App, Browser, Device};

const CLI: (&str, &str) = ("client_id", "acme-cli");

async fn poll(app: &App, device_code: &str, key: Option<&DeviceKey>) -> Answer {
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let request = form_request("/auth/token", &[grant_type, ("device_code", device_code), CLI]);
    app.send(match key {
        Some(key) => with_proof(request, &key.proof(app, "/auth/token")),
        None => request,
    })
    .await
}

#[tokio::test]
async fn bound_to_a_key_it_is_worth_nothing_without_it() {
    let app = App::acme().await;
    let (key, thiefs) = (DeviceKey::new(), DeviceKey::new());
    let ask = form_request("/auth/device/code", &[CLI]);
    let codes = app.send(with_proof(ask, &key.proof(&app, "/auth/device/code"))).await;
    let code = codes.text("device_code");
    for approved in [false, true] {
        if approved {
            Browser::new(&app).approve_code(&codes.text("user_code")).await;
        }
        assert_eq!(poll(&app, &code, None).await.error(), "invalid_dpop_proof");
        assert_eq!(poll(&app, &code, Some(&thiefs)).await.error(), "invalid_grant");
    }
    let tokens = poll(&app, &code, Some(&key)).await;
    assert_eq!((tokens.status, tokens.text("token_type").as_str()), (StatusCode::OK, "DPoP"), "{}", tokens.body);
}

#[tokio::test]
async fn unbound_two_who_have_it_are_noticed() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let thiefs = poll(&app, &device.device_code, None).await;
    assert_eq!(thiefs.status, StatusCode::OK);
    // The device polls on, as it must.
    app.advance(11);
    assert_eq!(device.poll().await.error(), "invalid_grant");
    assert_eq!(audited(&app, "replayed").await, 1);
    let token = thiefs.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), CLI];
    assert_eq!(app.post("/auth/token", &form).await.error(), "invalid_grant");
}
