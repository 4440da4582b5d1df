//! `POST /auth/device/verify`: what an organization's own page learns of a code (SPEC §2.4).

use axum::http::StatusCode;
use insta::assert_json_snapshot;

use crate::api::is_refused;
use crate::support::app::Answer;
use crate::support::{App, Browser, Device};

async fn verify(app: &App, user_code: &str) -> Answer {
    app.post("/auth/device/verify", &[("user_code", user_code)]).await
}

#[tokio::test]
async fn a_page_learns_what_a_sign_in_needs() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    app.advance(100);
    let answer = verify(&app, &device.user_code).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_json_snapshot!(answer.json(), @r#"
    {
      "available_providers": [
        "password"
      ],
      "expires_in": 800,
      "org_slug": "acme",
      "service_name": "Acme CLI",
      "service_slug": "cli"
    }
    "#);
    for typed in
        [device.user_code.to_lowercase(), device.user_code.replace('-', " "), format!(" {}\n", device.user_code)]
    {
        assert_eq!(verify(&app, &typed).await.status, StatusCode::OK, "as tolerant as the page: {typed}");
    }
    // It was looked at, and is nobody's yet.
    Browser::new(&app).approve_code(&device.user_code).await;
    assert!(!app.audit().await.contains_key("guess_refused"));
}

#[tokio::test]
async fn codes_that_cant_be_used_are_all_alike() {
    let app = App::acme().await;
    let [expired, claimed, approved, denied, redeemed] = [(); 5].map(|()| Device::ask(&app, "read"));
    let expired = expired.await;
    app.advance(899);
    let (claimed, approved, denied, redeemed) = (claimed.await, approved.await, denied.await, redeemed.await);
    app.advance(1);
    Browser::new(&app).enter(&claimed.user_code).await;
    Browser::new(&app).approve_code(&approved.user_code).await;
    Browser::new(&app).approve_code(&redeemed.user_code).await;
    assert_eq!(redeemed.poll().await.status, StatusCode::OK);
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&denied.user_code).await;
    browser.decide(&confirm, "deny").await;

    let codes = [&expired, &claimed, &approved, &denied, &redeemed].map(|device| device.user_code.as_str());
    let mut answers = Vec::new();
    for code in codes.into_iter().chain(["BCDF-GHJK", "BCDFG-HJKLM", "BCD", "1234-5678", "x"]) {
        let answer = verify(&app, code).await;
        is_refused(&answer, 400, "invalid_grant");
        answers.push((answer.headers, answer.body));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(app.audit().await["guess_refused"], 10);
}

#[tokio::test]
async fn without_a_code_or_a_service_to_log_in_to_there_is_nothing_to_learn() {
    let app = App::acme().await;
    is_refused(&app.post("/auth/device/verify", &[]).await, 400, "invalid_request");
    is_refused(&verify(&app, "").await, 400, "invalid_request");
    let device = Device::ask(&app, "read").await;
    app.execute("UPDATE organization SET status = 'suspended' WHERE slug = 'acme'").await;
    is_refused(&verify(&app, &device.user_code).await, 400, "unauthorized_client");
    app.installation.pool.close().await;
    is_refused(&verify(&app, &device.user_code).await, 503, "temporarily_unavailable");
}
