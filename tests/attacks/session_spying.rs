//! **Session spying** (RFC 8628 §5.5): somebody reads the user code over a shoulder and is faster, or waits.
//!
//! The attacker has: the user code as it stands on the device's screen, at any time; and perhaps an account of the organization.
//!
//! What must happen: entered by its owner, the code is worth nothing to anybody else. A faster spy gets no further than
//! making the device their own, as themselves: nothing acts in the owner's name, and the owner is told that the code is not valid.

use axum::http::StatusCode;

use super::{BOB, audited, before_the_decision};
use crate::support::app::{BOB_PASSWORD, with_bob};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_code_seen_after_it_was_entered_is_worth_nothing() {
    let app = App::with(&with_bob()).await;
    let (device, mut ada, confirm) = before_the_decision(&app).await;
    let mut spy = Browser::new(&app);
    assert_eq!(spy.enter(&device.user_code).await.status, StatusCode::BAD_REQUEST);
    ada.approve(&confirm).await;
    assert_eq!(spy.enter(&device.user_code).await.status, StatusCode::BAD_REQUEST, "nor after the decision");
    // It is no device code either.
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let form = [grant_type, ("device_code", device.user_code.as_str()), ("client_id", "acme-cli")];
    assert_eq!(app.post("/auth/token", &form).await.error(), "invalid_grant");
    assert_eq!(device.poll().await.status, StatusCode::OK);
    assert_eq!(spy.enter(&device.user_code).await.status, StatusCode::BAD_REQUEST);
    assert_eq!((audited(&app, "claimed").await, audited(&app, "guess_refused").await), (1, 3));
}

#[tokio::test]
async fn a_faster_spy_acts_as_themselves_and_the_owner_notices() {
    let app = App::with(&with_bob()).await;
    let device = Device::ask(&app, "read email").await;
    let mut spy = Browser::new(&app);
    let page = spy.enter(&device.user_code).await;
    let mut ada = Browser::new(&app);
    let refused = ada.enter(&device.user_code).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.says("#user_code-error")[0].contains("get a new one from your device"), "{}", refused.text());
    let page = spy.sign_in(&page, BOB, BOB_PASSWORD).await;
    spy.approve(&page).await;
    assert_eq!(device.poll().await.claims("access_token")["email"], BOB);
}

#[tokio::test]
async fn a_faster_stranger_can_only_keep_it_from_being_used() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut stranger = Browser::new(&app);
    let page = stranger.enter(&device.user_code).await;
    assert_eq!(page.path, "/activate/sign-in");
    assert!(!page.html.contains("127.0.0.1"), "and learns nothing of the device");
    for path in ["/activate/mfa", "/activate/confirm", "/activate/done"] {
        assert_eq!(stranger.open(path).await.path, "/activate/sign-in");
    }
    // Denying, too, takes an account.
    let denied = stranger.submit(&page, "/activate/confirm", &[("decision", "deny")]).await;
    assert_eq!(denied.path, "/activate/sign-in");
    assert_eq!(device.poll().await.error(), "authorization_pending");
    app.advance(900);
    assert_eq!(device.poll().await.error(), "expired_token");
}
