//! **A user code after its time** (Spring #1977: the expiry of the user code was not checked): an old code, found on a
//! screenshot or in a mail, is entered and approved.
//!
//! The attacker has: a code whose time is over, or one that runs out while the victim walks through the pages.
//!
//! What must happen: from its last second on, a code is unknown to whoever enters it, and expired to the browser that had
//! entered it, at every step. The device is told `expired_token`, and no tokens come.

use axum::http::StatusCode;

use super::{ADA, audited, get};
use crate::support::app::{ACME, ADA_PASSWORD, TOTP_SECRET};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_code_expires_before_it_is_entered() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    app.advance(899);
    let verify = async || app.post("/auth/device/verify", &[("user_code", &device.user_code)]).await;
    assert_eq!(verify().await.status, StatusCode::OK);
    app.advance(1);
    let page = Browser::new(&app).enter(&device.user_code).await;
    assert_eq!((page.path.as_str(), page.status), ("/activate", StatusCode::BAD_REQUEST));
    assert_eq!(page.says("#user_code-error, .field-error").len(), 1, "{}", page.html);
    assert_eq!(verify().await.error(), "invalid_grant");
    let link = format!("/auth/password?org=acme&service=cli&user_code={}", device.user_code);
    let answer = app.send(get(&link)).await;
    assert!(answer.header("location").unwrap().starts_with("/activate?"), "{:?}", answer.headers);
    assert_eq!((device.poll().await.error(), audited(&app, "claimed").await), ("expired_token".into(), 0));
}

#[tokio::test]
async fn a_code_expires_at_every_later_step() {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    app.enrol(ADA).await;
    for step in ["/activate/sign-in", "/activate/mfa", "/activate/confirm"] {
        let device = Device::ask(&app, "read").await;
        let mut browser = Browser::new(&app);
        let mut page = browser.enter(&device.user_code).await;
        if step != "/activate/sign-in" {
            page = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
        }
        if step == "/activate/confirm" {
            page = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
        }
        assert_eq!(page.path, step);
        app.advance(900);
        let sent = match step {
            "/activate/sign-in" => browser.sign_in(&page, ADA, ADA_PASSWORD).await,
            "/activate/mfa" => browser.prove(&page, &app.totp(TOTP_SECRET)).await,
            _ => browser.approve(&page).await,
        };
        let opened = browser.open(step).await;
        for late in [sent, opened] {
            assert_eq!((late.path.as_str(), late.status), (step, StatusCode::GONE), "{}", late.html);
            assert_eq!(late.says("h1"), ["This code has expired"]);
        }
        assert_eq!(device.poll().await.error(), "expired_token");
        let next = Device::ask(&app, "read").await;
        assert_ne!(browser.enter(&next.user_code).await.path, "/activate", "the browser can go on with another one");
    }
    assert_eq!(audited(&app, "approved").await, 0);
}

#[tokio::test]
async fn an_approved_code_that_nobody_came_for_expires_too() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    app.advance(900);
    assert_eq!(device.poll().await.error(), "expired_token");
    assert_eq!(audited(&app, "redeemed").await, 0);
}
