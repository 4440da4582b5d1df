//! **A mixed-up account**: a decision is made in the name of an account, or about a device, that the person doesn't see.
//!
//! The attacker has: a browser in which somebody else is signed in; a second tab; or a way to lead the person's browser to
//! another login or another account while a page stands open.
//!
//! What must happen: each page says as whom one acts and about which code. A form is about what its page showed, or it is
//! refused; the tokens are of the account that the page named.

use axum::http::StatusCode;

use super::{ADA, BOB};
use crate::support::app::{ADA_PASSWORD, BOB_PASSWORD, with_bob};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_form_of_another_tab_is_refused() {
    let app = App::with(&with_bob()).await;
    let (first, second) = (Device::ask(&app, "read").await, Device::ask(&app, "read email").await);
    let mut browser = Browser::new(&app);
    let about_first = browser.enter_and_sign_in(&first.user_code).await;
    let about_second = browser.enter(&second.user_code).await;
    // The first tab's form now would be about the second device.
    assert_eq!(browser.approve(&about_first).await.status, StatusCode::FORBIDDEN);
    for device in [&first, &second] {
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
    // And a form that was filled in as Ada isn't sent as Bob.
    let page = browser.sign_out(&about_second).await;
    let as_bob = browser.sign_in(&page, BOB, BOB_PASSWORD).await;
    assert_eq!(browser.approve(&about_second).await.status, StatusCode::FORBIDDEN);
    assert_eq!(second.poll().await.error(), "authorization_pending");
    assert_eq!(browser.approve(&as_bob).await.path, "/activate/done");
    assert_eq!(second.poll().await.claims("access_token")["email"], BOB);
}

#[tokio::test]
async fn who_finds_somebody_else_signed_in_is_told_and_can_change_it() {
    let app = App::with(&with_bob()).await;
    let mut shared = Browser::new(&app);
    let bobs = Device::ask(&app, "read").await;
    let page = shared.enter(&bobs.user_code).await;
    let page = shared.sign_in(&page, BOB, BOB_PASSWORD).await;
    shared.approve(&page).await;

    let adas = Device::ask(&app, "read email").await;
    let confirm = shared.enter(&adas.user_code).await;
    assert_eq!(confirm.path, "/activate/confirm");
    assert!(confirm.says(".account strong").contains(&BOB.to_owned()), "as whom: {}", confirm.text());
    let page = shared.sign_out(&confirm).await;
    assert_eq!(page.path, "/activate/sign-in");
    assert_eq!(shared.approve(&confirm).await.path, "/activate/sign-in", "the page from before is about nobody");
    let confirm = shared.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert!(confirm.says(".account strong").contains(&ADA.to_owned()), "{}", confirm.text());
    shared.approve(&confirm).await;
    assert_eq!(adas.poll().await.claims("access_token")["email"], ADA);
}

#[tokio::test]
async fn a_browser_that_is_led_to_another_login_meanwhile_approves_neither_unseen() {
    let own = "client_id = \"acme-cli\"\nactivation_uri = \"https://start.acme.example/device\"";
    let app = App::with(&with_bob().replace("client_id = \"acme-cli\"", own)).await;
    let (adas, kits) = (Device::ask(&app, "read").await, Device::ask(&app, "read").await);
    let mut ada = Browser::new(&app);
    let confirm = ada.enter_and_sign_in(&adas.user_code).await;
    // Another site opens a window with the attacker's code: her browser claims it, and her page is about her own.
    let elsewhere = ada.open(&format!("/auth/password?org=acme&service=cli&user_code={}", kits.user_code)).await;
    assert!(elsewhere.text().contains(&kits.user_code), "{}", elsewhere.text());
    assert_eq!(ada.approve(&confirm).await.status, StatusCode::FORBIDDEN);
    for device in [&adas, &kits] {
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
    // She types her own code again, and goes on.
    let confirm = ada.enter(&adas.user_code).await;
    assert_eq!(ada.approve(&confirm).await.status, StatusCode::SEE_OTHER);
    assert_eq!((adas.poll().await.status, kits.poll().await.error()), (StatusCode::OK, "authorization_pending".into()));
}
