//! **A code bound to no approver** (CVE-2026-45337, in another server): one browser enters a code, another acts on it.
//!
//! The attacker has: the user code, a browser, an account of the organization, and tokens of forms that are their own.
//!
//! What must happen: the first browser that enters a code owns it. Every other one is told what it is told of an unknown
//! code, whatever page, form or link it tries, and the login is decided by its owner only.

use axum::http::StatusCode;

use super::{ADA, BOB, PAGES, audited, before_the_decision, states};
use crate::support::app::{ADA_PASSWORD, BOB_PASSWORD, with_bob};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_code_belongs_to_the_browser_that_entered_it_first() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let (mut first, mut second) = (Browser::new(&app), Browser::new(&app));
    let confirm = first.enter_and_sign_in(&device.user_code).await;
    let refused = second.enter(&device.user_code).await;
    let unknown = second.enter("BCDF-GHJK").await;
    assert_eq!((refused.status, &refused.path), (StatusCode::BAD_REQUEST, &unknown.path));
    assert_eq!(refused.text(), unknown.text(), "nobody is told which codes are in use");
    assert_eq!(second.approve(&confirm).await.path, "/activate");
    assert_eq!(first.enter(&device.user_code).await.path, "/activate/confirm", "its own browser finds it again");
    assert_eq!(audited(&app, "guess_refused").await, 2);
}

#[tokio::test]
async fn whoever_else_is_signed_in_cannot_decide_for_the_owner() {
    let app = App::with(&with_bob()).await;
    // Bob stands before a decision of his own, so that his forms have good tokens.
    let bobs = Device::ask(&app, "read").await;
    let mut bob = Browser::new(&app);
    let page = bob.enter(&bobs.user_code).await;
    let bobs_page = bob.sign_in(&page, BOB, BOB_PASSWORD).await;
    let (device, mut ada, confirm) = before_the_decision(&app).await;

    assert_eq!(bob.enter(&device.user_code).await.path, "/activate");
    let link = format!("/auth/password?org=acme&service=cli&user_code={}", device.user_code);
    assert_eq!(bob.open(&link).await.path, "/activate");
    let verify = app.post("/auth/device/verify", &[("user_code", &device.user_code)]).await;
    assert_eq!(verify.error(), "invalid_grant");
    for path in &PAGES[1..] {
        assert!(!bob.open(path).await.html.contains(&device.user_code), "{path}");
    }
    // The page that Ada sees, sent from Bob's browser: with her token, and with his.
    assert_eq!(bob.decide(&confirm, "approve").await.status, StatusCode::FORBIDDEN);
    assert_eq!(device.poll().await.error(), "authorization_pending");
    assert_eq!(bob.decide(&bobs_page, "deny").await.path, "/activate/done");

    assert_eq!(states(&app).await, ["claimed", "denied"], "his own, and not hers");
    ada.approve(&confirm).await;
    assert_eq!(device.poll().await.claims("access_token")["email"], ADA);
}

#[tokio::test]
async fn to_claim_a_code_is_not_to_have_its_owners_account() {
    let app = App::with(&with_bob()).await;
    // Ada is signed in already, in her browser; Bob enters the code of her next device.
    let (_first, mut ada, confirm) = before_the_decision(&app).await;
    ada.approve(&confirm).await;
    let next = Device::ask(&app, "read email").await;
    let mut bob = Browser::new(&app);
    let page = bob.enter(&next.user_code).await;
    assert_eq!(page.path, "/activate/sign-in");
    assert_eq!(ada.enter(&next.user_code).await.path, "/activate", "she notices: her code is not valid");
    let page = bob.sign_in(&page, BOB, BOB_PASSWORD).await;
    bob.approve(&page).await;
    assert_eq!(next.poll().await.claims("access_token")["email"], BOB, "as himself, and nobody else");
    assert_ne!(ADA_PASSWORD, BOB_PASSWORD);
}
