//! The clock is set back, or forward, in the middle of logins.

use axum::http::StatusCode;

use crate::support::app::ADA_PASSWORD;
use crate::support::{App, Browser, Device};

const HOUR: i64 = 3600;

#[tokio::test]
async fn a_login_begun_before_the_clock_was_set_back_is_finished_after() {
    let app = App::acme().await;
    let device = Device::ask(&app, "openid offline_access read").await;
    assert_eq!(device.poll().await.error(), "authorization_pending");
    app.advance(-HOUR);
    for _ in 0..3 {
        // Nobody is told to slow down for an hour.
        assert_eq!(device.poll().await.error(), "authorization_pending");
        app.advance(5);
    }
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    app.advance(-HOUR);
    let done = browser.approve(&confirm).await;
    assert_eq!((done.status, done.path.as_str()), (StatusCode::OK, "/activate/done"), "{}", done.text());
    app.advance(-HOUR);
    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    app.advance(-HOUR);
    let refresh_token = tokens.text("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*refresh_token), ("client_id", "acme-cli")];
    let refreshed = app.post("/auth/token", &refresh).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.body);
    let mut account = Browser::new(&app);
    let page = account.open("/account/acme").await;
    let fields = [("email", "ada@acme.example"), ("password", ADA_PASSWORD)];
    let page = account.submit(&page, "/account/acme/sign-in", &fields).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    // A new login works as ever.
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_approval_is_there_when_the_clock_is_right_again() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let open = Device::ask(&app, "read").await;
    // Too late by an hour, for as long as the clock says so.
    app.advance(HOUR);
    assert_eq!(open.poll().await.error(), "expired_token");
    app.advance(-HOUR);
    assert_eq!(device.poll().await.status, StatusCode::OK);
    assert_eq!(open.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn whatever_the_clock_does_nothing_is_a_fault_of_the_server() {
    let app = App::acme().await;
    app.without_delays().await;
    let (mut known, mut redeemed) = (Vec::new(), 0);
    for (round, step) in
        [0, -HOUR, 2 * HOUR, -3 * HOUR, 90, -86_400, 7 * 86_400, -6 * 86_400, -1, HOUR].iter().enumerate()
    {
        app.advance(*step);
        let answer = app.post("/auth/device/code", &[("client_id", "acme-cli"), ("scope", "read")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{round}: {}", answer.body);
        let device = Device::ask(&app, "openid offline_access read").await;
        let mut browser = Browser::new(&app);
        let confirm = browser.enter_and_sign_in(&device.user_code).await;
        assert_eq!(confirm.path, "/activate/confirm", "{round}: {}", confirm.text());
        app.advance(if round % 2 == 0 { -HOUR } else { 60 });
        let done = browser.approve(&confirm).await;
        assert!(!done.status.is_server_error(), "{round}: {}", done.text());
        known.push(device);
        for device in &known {
            let polled = device.poll().await;
            assert!(!polled.status.is_server_error() && polled.status != 429, "{round}: {}", polled.body);
            if polled.status == StatusCode::OK {
                redeemed += 1;
            }
        }
        app.tidy_up().await;
        for path in ["/activate", "/account/acme"] {
            let page = browser.open(path).await;
            assert!(!page.status.is_server_error(), "{round}: {path} {}", page.text());
        }
    }
    assert_eq!(redeemed, 10, "each login within its code's life is finished, once");
}
