//! What forms are taken, and what is said about the others.

use axum::http::StatusCode;

use super::before_the_decision;
use crate::support::actors::Page;
use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

/// Checks that the page was sent back with its message beside this field, and gives the message.
#[track_caller]
fn complaint(page: &Page, path: &str, field: &str) -> String {
    assert_eq!((page.path.as_str(), page.status), (path, StatusCode::BAD_REQUEST), "{}", page.html);
    let beside = page.says(&format!("#{field}-error"));
    assert_eq!(beside.len(), 1, "{}", page.html);
    assert!(page.html.contains(&format!("aria-describedby=\"{field}-error")), "{}", page.html);
    assert!(page.says("title")[0].starts_with("Error:"), "{:?}", page.says("title"));
    beside[0].clone()
}

#[tokio::test]
async fn a_wrong_code_is_told_beside_its_field_and_nothing_is_lost() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    for (typed, message) in [
        ("", "Enter the code"),
        ("   ", "Enter the code"),
        ("WDJB", "eight letters"),
        ("<b>", "eight letters"),
        ("BCDF-GHJK", "not valid"),
    ] {
        let page = browser.enter(typed).await;
        let said = complaint(&page, "/activate", "user_code");
        assert!(said.contains(message), "{typed:?}: {said}");
        if typed.trim() == typed {
            assert_eq!(page.field("user_code").unwrap_or_default(), typed, "what was typed stays");
        }
    }
    assert_eq!(app.audit().await["guess_refused"], 1, "only what could be a code is a guess");
    assert_eq!(browser.enter(&device.user_code).await.path, "/activate/sign-in");
}

#[tokio::test]
async fn a_wrong_sign_in_is_told_beside_its_field() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    for (email, password, field, message) in [
        ("", "x", "email", "Enter your email address"),
        (" ", "", "email", "Enter your email address"),
        ("ada@acme.example", "", "password", "Enter your password"),
        (&"a".repeat(255), "wrong", "email", "too long"),
        ("ada@acme.example", &"a".repeat(1001), "password", "too long"),
        ("ada@acme.example", "wrong", "password", "don’t fit|don't fit"),
        ("nobody@acme.example", "wrong", "password", "don’t fit|don't fit"),
        ("ada@acme.example'--", "wrong", "password", "don’t fit|don't fit"),
    ] {
        let again = browser.submit(&page, "/activate/sign-in", &[("email", email), ("password", password)]).await;
        let said = complaint(&again, "/activate/sign-in", field);
        assert!(message.split('|').any(|message| said.contains(message)), "{said}");
        assert_eq!(again.field("email").as_deref().unwrap_or_default(), email.trim());
        assert_eq!(again.field("password"), None, "a password is not sent back");
    }
    assert_eq!(app.audit().await["refused"], 3);
    assert_eq!(browser.enter_and_sign_in(&device.user_code).await.path, "/activate/confirm");
}

#[tokio::test]
async fn a_wrong_second_factor_is_told_beside_its_field() {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let enrol = browser.enter_and_sign_in(&device.user_code).await;
    for code in ["", "000000x", "12345", "abcdef"] {
        let again = browser.submit(&enrol, "/activate/mfa", &[("code", code)]).await;
        complaint(&again, "/activate/mfa", "code");
        let secret = |page: &Page| page.says(".secret, .key, code").join("");
        assert_eq!(secret(&again), secret(&enrol), "the secret that was shown stays");
    }
    assert!(!app.audit().await.contains_key("enrolled"));
}

#[tokio::test]
async fn a_decision_needs_the_tick_and_one_of_two_words() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let path = "/activate/confirm";
    let unticked = browser.submit(&confirm, path, &[("scope", "read"), ("decision", "approve")]).await;
    complaint(&unticked, path, "mine");
    assert_eq!(unticked.ticked("scope"), ["read"], "what was left ticked stays");
    for decision in ["", "maybe", "APPROVE"] {
        let page = browser.submit(&confirm, path, &[("mine", "yes"), ("decision", decision)]).await;
        complaint(&page, path, "mine");
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let done = browser.submit(&confirm, path, &[("decision", "deny")]).await;
    assert_eq!(done.path, "/activate/done", "no tick is needed to deny");
}
