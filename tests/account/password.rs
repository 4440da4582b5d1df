//! Another password.

use axum::http::StatusCode;

use crate::support::app::ADA_PASSWORD;
use crate::support::{App, Browser};

use super::{ADA, ada, audited, device, ended, prove, sign_in};

const PATH: &str = "/account/acme/password";

fn form<'a>(old: &'a str, new: &'a str, again: &'a str) -> [(&'static str, &'a str); 3] {
    [("current_password", old), ("new_password", new), ("new_password_again", again)]
}

#[tokio::test]
async fn another_password_signs_every_other_browser_out() {
    let app = App::acme().await;
    let session = device(&app, "laptop").await;
    let (mut browser, mut other) = (ada(&app).await, ada(&app).await);
    let before = browser.cookie.clone();
    let page = browser.open(PATH).await;
    let page = browser.submit(&page, PATH, &form(ADA_PASSWORD, "a new one of hers", "a new one of hers")).await;
    assert_eq!(page.path, "/account/acme/security", "{}", page.text());
    assert!(page.text().contains("every other browser is signed out"), "{}", page.text());
    assert_ne!(browser.cookie, before, "the cookie is renewed");
    assert_eq!(other.open("/account/acme").await.path, "/account/acme/sign-in");
    assert_eq!(ended(&app, session).await, None, "devices stay");
    let refused = sign_in(&mut Browser::new(&app), ADA, ADA_PASSWORD).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(sign_in(&mut other, ADA, "a new one of hers").await.path, "/account/acme");
    let (_, detail) = audited(&app, "administered").await.pop().unwrap();
    // This browser stays; the one that approved the device and the other one don't.
    assert_eq!((detail["changed"].as_str(), detail["browsers signed out"].as_i64()), (Some("password"), Some(2)));
}

#[tokio::test]
async fn the_old_password_and_a_fresh_factor_are_asked() {
    let app = App::acme().await;
    app.enrol(ADA).await;
    let mut browser = ada(&app).await;
    let asked = browser.open(PATH).await;
    let page = prove(&app, &mut browser, &asked).await;
    assert_eq!(page.path, PATH);
    let new = "a new one of hers";
    for (fields, field) in [
        (form("not hers", new, new), "current_password"),
        (form(ADA_PASSWORD, "seven77", "seven77"), "new_password"),
        (form(ADA_PASSWORD, new, "another new one"), "new_password_again"),
    ] {
        let refused = browser.submit(&page, PATH, &fields).await;
        assert_eq!((refused.status, refused.path.as_str()), (StatusCode::BAD_REQUEST, PATH));
        assert_eq!(refused.says(&format!("#{field}-error")).len(), 1, "{}", refused.text());
        assert!(!refused.html.contains(new) && !refused.html.contains(ADA_PASSWORD), "nothing typed is shown again");
    }
    assert_eq!(audited(&app, "refused").await.len(), 1);
    app.advance(301);
    assert_eq!(browser.submit(&page, PATH, &form(ADA_PASSWORD, new, new)).await.path, "/account/acme/mfa");
    assert_eq!(sign_in(&mut Browser::new(&app), ADA, ADA_PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_has_no_password_has_nothing_to_change() {
    let app = App::acme().await;
    let mut browser = ada(&app).await;
    app.execute("UPDATE app_user SET password_hash = NULL").await;
    assert_eq!(browser.open(PATH).await.status, StatusCode::NOT_FOUND);
    assert!(!browser.open("/account/acme/security").await.text().contains("Password"));
}

#[tokio::test]
async fn old_passwords_are_guessed_slowly_and_shut_nobody_else_out() {
    let app = App::acme().await;
    let mut browser = ada(&app).await;
    let page = browser.open(PATH).await;
    let new = "a new one of hers";
    for _ in 0..5 {
        let refused = browser.submit(&page, PATH, &form("not hers", new, new)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
    let told = browser.submit(&page, PATH, &form(ADA_PASSWORD, new, new)).await;
    assert_eq!((told.status, told.answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    let beside = told.says("#current_password-error").join("");
    assert!(beside.contains("try again in 1 second"), "{beside}");
    assert_eq!(audited(&app, "refused").await.len(), 6);
    // It is about this page: she signs in as ever, and so does whoever doesn't know her.
    assert_eq!(sign_in(&mut Browser::new(&app), ADA, ADA_PASSWORD).await.path, "/account/acme");
    app.advance(1);
    let changed = browser.submit(&page, PATH, &form(ADA_PASSWORD, new, new)).await;
    assert_eq!(changed.path, "/account/acme/security");

    // Strangers exhaust her tries, and her browser is known for the new password.
    let mut stranger = Browser::new(&app);
    for _ in 0..5 {
        assert_eq!(sign_in(&mut stranger, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(sign_in(&mut stranger, ADA, new).await.status, StatusCode::TOO_MANY_REQUESTS);
    let page = browser.open("/account/acme").await;
    browser.submit(&page, "/account/acme/sign-out", &[]).await;
    assert_eq!(sign_in(&mut browser, ADA, new).await.path, "/account/acme");
}
