//! The decision is about what the page showed: who decides on something else is shown that first.

use axum::http::StatusCode;

use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

/// What the service has besides, or something else in its place.
fn with(scopes: &str) -> String {
    ACME.replace("scopes = { read = \"Read your projects\", deploy = \"Deploy to production\" }", scopes)
}

const BOTH: &str = "scopes = { read = \"Read your projects\", deploy = \"Deploy to production\" }";

#[tokio::test]
async fn a_scope_that_becomes_required_meanwhile_is_not_granted_unseen() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read deploy").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    app.apply(&with(&format!("{BOTH}\nrequired_scopes = [\"deploy\"]"))).await;

    let only_read = [("scope", "read"), ("mine", "yes"), ("decision", "approve")];
    for _ in 0..2 {
        let again = browser.submit(&page, "/activate/confirm", &only_read).await;
        assert_eq!((again.path.as_str(), again.status), ("/activate/confirm", StatusCode::CONFLICT));
        assert!(again.says(".problem")[0].contains("was changed at this moment"), "{}", again.text());
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let again = browser.open("/activate/confirm").await;
    assert_eq!(browser.submit(&again, "/activate/confirm", &only_read).await.path, "/activate/done");
    assert_eq!(device.poll().await.text("scope"), "read deploy", "as it is shown now");
}

#[tokio::test]
async fn who_says_no_need_not_look_again() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    app.apply(&ACME.replace("\"Acme CLI\"", "\"Acme Tool\"")).await;
    assert_eq!(browser.decide(&page, "deny").await.path, "/activate/done");
    assert_eq!(device.poll().await.error(), "access_denied");
}

#[tokio::test]
async fn a_scope_that_the_service_lost_is_nobodys_to_give() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read deploy").await;
    app.apply(&with("scopes = { read = \"Read your projects\" }")).await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(page.ticked("scope"), ["read"]);
    assert!(!page.text().contains("deploy"), "{}", page.text());
    let asks_for_more = [("scope", "read"), ("scope", "deploy"), ("mine", "yes"), ("decision", "approve")];
    assert_eq!(browser.submit(&page, "/activate/confirm", &asks_for_more).await.path, "/activate/done");
    assert_eq!(device.poll().await.text("scope"), "read");
}

/// What is shown is a part of the form's token: nobody writes another one there.
#[tokio::test]
async fn what_a_form_says_of_its_page_can_not_be_forged() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    let token = page.field("csrf_token").unwrap();
    let (mac, shown) = token.split_once('.').unwrap();
    for forged in [mac.to_owned(), format!("{mac}."), format!("{mac}.warned-1.1"), format!("{mac}.{shown}0")] {
        let form = [("csrf_token", &*forged), ("scope", "read"), ("mine", "yes"), ("decision", "approve")];
        let answer = browser.send(crate::support::app::form_request("/activate/confirm", &form)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{forged}");
    }
    assert_eq!(browser.approve(&page).await.path, "/activate/done");
}
