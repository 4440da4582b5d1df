//! **Session fixation**: the victim signs in under a cookie that the attacker knows.
//!
//! The attacker has: a cookie value, genuine or invented, that they got into the victim's browser; or one that they read
//! there before the sign-in.
//!
//! What must happen: every sign-in gives the session another value, which only the browser that signed in is told. The old
//! one is worth nothing from then on.

use super::{ADA, BOB, before_the_decision};
use crate::support::app::{ADA_PASSWORD, BOB_PASSWORD, with_bob};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn the_cookie_from_before_a_sign_in_is_worth_nothing_after_it() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let mut thief = browser.clone();
    assert_eq!(thief.open("/activate/sign-in").await.path, "/activate/sign-in");
    let confirm = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!(confirm.path, "/activate/confirm");
    assert_ne!(browser.cookie, thief.cookie);
    assert_eq!(thief.open("/activate/confirm").await.path, "/activate");
    assert_eq!(thief.decide(&confirm, "approve").await.path, "/activate");
    // Nor may the form that signed in be sent once more by somebody who doesn't know the password.
    assert_eq!(thief.sign_in(&page, ADA, "not hers").await.path, "/activate");
    assert_eq!(thief.open("/activate/confirm").await.path, "/activate");
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn a_planted_cookie_becomes_nobodys_session() {
    let app = App::acme().await;
    let mut attacker = Browser::new(&app);
    attacker.open("/activate").await;
    let genuine = attacker.cookie.clone().unwrap();
    let invented = format!("__Host-countersign={}", "A".repeat(43));
    for planted in [genuine, invented, "__Host-countersign=short".to_owned()] {
        let device = Device::ask(&app, "read").await;
        let (mut victim, mut attacker) = (Browser::new(&app), Browser::new(&app));
        victim.cookie = Some(planted.clone());
        attacker.cookie = Some(planted.clone());
        let confirm = victim.enter_and_sign_in(&device.user_code).await;
        assert_ne!(victim.cookie.as_deref(), Some(planted.as_str()));
        assert_eq!(attacker.open("/activate/confirm").await.path, "/activate");
        assert_eq!(attacker.open("/account/acme").await.path, "/account/acme/sign-in");
        assert_eq!(victim.approve(&confirm).await.path, "/activate/done");
    }
}

#[tokio::test]
async fn who_signs_in_under_a_shared_cookie_has_it_for_themselves() {
    // The attacker waits with the planted cookie, and signs the victim's session in as themselves: the victim's browser
    // then is nobody's, and the victim starts anew instead of approving as somebody else.
    let app = App::with(&with_bob()).await;
    let device = Device::ask(&app, "read").await;
    let mut victim = Browser::new(&app);
    let page = victim.enter(&device.user_code).await;
    let mut attacker = victim.clone();
    attacker.sign_in(&page, BOB, BOB_PASSWORD).await;
    let after = victim.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!(after.path, "/activate", "{}", after.text());
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn so_it_is_at_the_account_pages() {
    let app = App::acme().await;
    let (_, mut browser, _) = before_the_decision(&app).await;
    let page = browser.open("/account/acme").await;
    browser.submit(&page, "/account/acme/sign-out", &[]).await;
    let mut thief = browser.clone();
    let page = browser.open("/account/acme/sign-in").await;
    browser.submit(&page, "/account/acme/sign-in", &[("email", ADA), ("password", ADA_PASSWORD)]).await;
    assert_eq!(browser.open("/account/acme").await.path, "/account/acme");
    assert_eq!(thief.open("/account/acme").await.path, "/account/acme/sign-in");
}
