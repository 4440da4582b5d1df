//! Accounts of Countersign's own.

use axum::http::StatusCode;

use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_login_from_the_code_to_the_tokens() {
    let app = App::acme().await;
    let device = Device::ask(&app, "openid email read").await;
    assert_eq!(device.poll().await.error(), "authorization_pending");

    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code.to_lowercase()).await;
    assert!(confirm.text().contains(&device.user_code) && confirm.text().contains("Acme CLI"), "{}", confirm.text());
    let done = browser.approve(&confirm).await;
    assert_eq!(done.path, "/activate/done");

    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    assert_eq!(tokens.text("token_type"), "Bearer");
    assert_eq!(tokens.text("scope"), "openid email read");
    assert_eq!(device.poll().await.error(), "invalid_grant");
}
