//! Attack: remote phishing (RFC 8628 §5.4; RFC 10027, "Cross-Device Consent Phishing").
//!
//! The attacker has a tool of their own, asks for a code, and talks the victim into approving it on the genuine page after
//! genuine sign-in. The tool is signed in as the victim before anybody wonders. The attacker polls, refreshes, has a
//! second code under way with the victim, and still sits in a browser that the victim once signed in.
//!
//! What must happen: the victim is told where the attacker isn't, presses one button without signing in, and everything
//! that the attacker has dies at once, on every node; what the attacker hasn't touched goes on.

use axum::http::StatusCode;

use crate::support::app::{ACME, Answer};
use crate::support::mail_server::MailServer;
use crate::support::{App, Browser, Device};

async fn refresh(app: &App, tokens: &Answer) -> Answer {
    let refresh_token = tokens.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", &*refresh_token)];
    app.post("/auth/token", &form).await
}

async fn userinfo(app: &App, tokens: &Answer) -> StatusCode {
    let bearer = format!("Bearer {}", tokens.text("access_token"));
    let request = axum::http::Request::get("/auth/userinfo").header("authorization", bearer);
    app.send(request.body(axum::body::Body::empty()).unwrap()).await.status
}

#[tokio::test]
async fn one_click_takes_everything_from_the_attacker_everywhere() {
    const SCOPE: &str = "openid read offline_access";
    let mails = MailServer::start().await;
    let app = App::with_settings(ACME, mails.settings()).await;
    let other_node = app.another_node().await;

    // The attacker asks from afar, the victim approves at home.
    let attacker = Device::ask(&app, SCOPE).await;
    let mut victim = Browser::behind_proxy(&app, "192.0.2.7");
    victim.approve_code(&attacker.user_code).await;
    let mut loot = attacker.poll().await;
    assert_eq!(loot.status, StatusCode::OK);
    loot = refresh(&app, &loot).await;
    assert_eq!(userinfo(&app, &loot).await, StatusCode::OK);
    let next = Device::ask(&other_node, SCOPE).await;
    let mut stolen_browser = Browser::new(&other_node);
    let confirm = stolen_browser.enter_and_sign_in(&next.user_code).await;
    assert_eq!(confirm.path, "/activate/confirm");

    // A mail scanner is there first.
    let link = mails.first(1).await[0].link();
    for _ in 0..5 {
        assert_eq!(app.get(&link).await.status, StatusCode::OK);
    }
    assert_eq!(userinfo(&app, &loot).await, StatusCode::OK, "nothing is ended by opening a link");

    // Then the victim, on a phone that never was here.
    let mut phone = Browser::behind_proxy(&other_node, "198.51.100.9");
    let page = phone.open(&link).await;
    let token = page.field("token").unwrap();
    let done = phone.submit(&page, "/activate/report", &[("token", &token)]).await;
    assert_eq!(done.says("h1"), ["It is undone"], "{}", done.text());

    for node in [&app, &other_node] {
        assert_eq!(refresh(node, &loot).await.error(), "invalid_grant");
        assert_eq!(userinfo(node, &loot).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(attacker.poll().await.error(), "invalid_grant");
    stolen_browser.approve(&confirm).await;
    assert_eq!(next.poll().await.error(), "access_denied");
    assert_eq!(stolen_browser.open("/account/acme").await.path, "/account/acme/sign-in");

    // The victim goes on: signs in and approves a device of their own.
    let own = Device::ask(&app, SCOPE).await;
    Browser::new(&app).approve_code(&own.user_code).await;
    assert_eq!(own.poll().await.status, StatusCode::OK);
}
