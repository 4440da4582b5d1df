//! The order of the pages, and that nothing is decided by looking at one.

use axum::http::StatusCode;

use super::{PAGES, before_the_decision, get};
use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

async fn states(app: &App) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM device_grant").fetch_all(&app.installation.pool).await.unwrap()
}

#[tokio::test]
async fn whoever_skips_a_step_is_led_back_to_it() {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let later = ["/activate/mfa", "/activate/confirm", "/activate/done"];
    for path in PAGES {
        assert_eq!(browser.open(path).await.path, "/activate", "{path}");
    }
    browser.enter(&device.user_code).await;
    for path in later {
        assert_eq!(browser.open(path).await.path, "/activate/sign-in", "{path}");
    }
    let mfa = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(mfa.path, "/activate/mfa");
    for path in later {
        assert_eq!(browser.open(path).await.path, "/activate/mfa", "{path}");
    }
    // Nor by sending the later form.
    let fields = [("scope", "read"), ("mine", "yes"), ("decision", "approve")];
    assert_eq!(browser.submit(&mfa, "/activate/confirm", &fields).await.path, "/activate/mfa");
    assert_eq!(states(&app).await, ["claimed"]);
}

#[tokio::test]
async fn whoever_is_done_with_a_step_is_led_on() {
    let app = App::acme().await;
    let (_, mut browser, confirm) = before_the_decision(&app).await;
    for path in ["/activate/sign-in", "/activate/mfa", "/activate/done"] {
        assert_eq!(browser.open(path).await.path, "/activate/confirm", "{path}");
    }
    browser.approve(&confirm).await;
    for path in &PAGES[1..] {
        assert_eq!(browser.open(path).await.path, "/activate/done", "{path}");
    }
    assert_eq!(browser.open("/activate").await.path, "/activate", "for the next device");
    // Decided is decided.
    let again = browser.submit(&confirm, "/activate/confirm", &[("decision", "deny")]).await;
    assert_eq!((again.path.as_str(), states(&app).await.as_slice()), ("/activate/done", &["approved".to_owned()][..]));
}

#[tokio::test]
async fn whoever_is_signed_in_is_led_past_the_sign_in() {
    let app = App::acme().await;
    let (_, mut browser, confirm) = before_the_decision(&app).await;
    browser.approve(&confirm).await;
    let second = Device::ask(&app, "read").await;
    for _ in 0..2 {
        let start = browser.open("/activate").await;
        let led = browser.send(start.form("/activate", &[("user_code", &second.user_code)])).await;
        assert_eq!(led.header("location"), Some("/activate/confirm"), "{led:?}");
    }
    assert_eq!(app.audit().await.get("claimed"), Some(&2), "its own code is claimed once");
}

#[tokio::test]
async fn looking_at_pages_decides_nothing() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let code = &device.user_code;
    let mut browser = Browser::new(&app);
    let page = browser.open(&format!("/activate?user_code={code}&decision=approve")).await;
    assert!(page.says("h1")[0].contains("Does your device show this code?"), "{}", page.html);
    assert_eq!(page.field("user_code").as_deref(), Some(code.as_str()));
    assert_eq!(states(&app).await, ["pending"]);
    let (_, mut browser, _) = before_the_decision(&app).await;
    for query in ["decision=approve&mine=yes&scope=read", "decision=deny"] {
        browser.send(get(&format!("/activate/confirm?{query}"))).await;
    }
    let mut states = states(&app).await;
    states.sort_unstable();
    assert_eq!(states, ["claimed", "pending"]);
    assert!(!app.audit().await.contains_key("approved"));
}

#[tokio::test]
async fn a_link_fills_in_nothing_but_a_code() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    for query in ["user_code=", "user_code=short", "user_code=%3Cscript%3E", "user_code=a&user_code=b", "x=y", "%FF"] {
        let page = browser.open(&format!("/activate?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert_eq!(page.field("user_code").unwrap_or_default(), "", "{query}");
    }
    let page = browser.open("/activate?user_code=wdjbmjht&utm_source=mail").await;
    assert_eq!(page.field("user_code").as_deref(), Some("WDJB-MJHT"));
}

#[tokio::test]
async fn a_code_that_expires_on_the_way_is_told_so_at_every_step() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    app.advance(900);
    for path in &PAGES[1..] {
        let page = browser.open(path).await;
        assert_eq!(page.status, StatusCode::GONE, "{path}");
        assert!(page.text().contains("expired"), "{}", page.text());
    }
    let late = browser.approve(&confirm).await;
    assert_eq!((late.status, device.poll().await.error().as_str()), (StatusCode::GONE, "expired_token"));
}
