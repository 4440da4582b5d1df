//! **Denied, then approved** (Keycloak #36811): the person denies, goes back, and the login is accepted after all.
//!
//! The attacker has: a person who denied, and whom they talk into trying once more; or the person's screen, left open on
//! the page before.
//!
//! What must happen: a decision is final. The page before, another tab, the code typed again and a form sent by hand all
//! lead to "Denied", and the device is told `access_denied`.

use axum::http::StatusCode;

use super::{audited, before_the_decision, states};
use crate::support::{App, Browser};

#[tokio::test]
async fn what_is_denied_stays_denied() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let mut other_tab = browser.clone();
    // To deny needs no tick.
    let done = browser.submit(&confirm, "/activate/confirm", &[("decision", "deny")]).await;
    assert_eq!((done.path.as_str(), done.says("h1")), ("/activate/done", vec!["Denied".to_owned()]));
    assert_eq!(device.poll().await.error(), "access_denied");
    // The "back" button, and then the other one; and a tab that was open meanwhile.
    for tab in [&mut browser, &mut other_tab] {
        let again = tab.approve(&confirm).await;
        assert_eq!((again.path.as_str(), again.says("h1")), ("/activate/done", vec!["Denied".to_owned()]));
        assert_eq!(tab.open("/activate/confirm").await.path, "/activate/done");
    }
    assert_eq!(browser.enter(&device.user_code).await.status, StatusCode::BAD_REQUEST, "the code is spent");
    assert_eq!(Browser::new(&app).enter(&device.user_code).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(device.poll().await.error(), "access_denied");
    assert_eq!((audited(&app, "denied").await, audited(&app, "approved").await), (1, 0));
}

#[tokio::test]
async fn signing_in_again_after_a_denial_brings_no_second_decision() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let done = browser.decide(&confirm, "deny").await;
    browser.sign_out(&done).await;
    for path in ["/activate/sign-in", "/activate/mfa", "/activate/confirm"] {
        assert_eq!(browser.open(path).await.path, "/activate/done", "{path}");
    }
    assert_eq!(browser.open("/auth/password?org=acme&service=cli").await.path, "/activate/done");
    let link = format!("/auth/password?org=acme&service=cli&user_code={}", device.user_code);
    assert_eq!(browser.open(&link).await.path, "/activate");
    assert_eq!((states(&app).await, device.poll().await.error()), (vec!["denied".to_owned()], "access_denied".into()));
}

#[tokio::test]
async fn nor_is_an_approval_taken_back_by_the_page_before() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    browser.approve(&confirm).await;
    assert_eq!(browser.decide(&confirm, "deny").await.says("h1"), ["Approved"], "what is true is said");
    assert_eq!(device.poll().await.status, StatusCode::OK);
    assert_eq!((audited(&app, "denied").await, audited(&app, "approved").await), (0, 1));
}
