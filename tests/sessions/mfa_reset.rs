//! A lost phone: the second factor is taken away, and everything that was proven by it.

use axum::http::StatusCode;
use countersign::mfa;

use super::refresh;
use crate::support::app::{ACME, TOTP_SECRET};
use crate::support::{App, Browser, Device};

async fn app() -> App {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"if_enrolled\"")).await;
    app.enrol("ada@acme.example").await;
    app
}

async fn reset(app: &App) -> usize {
    let mut conn = app.installation.pool.acquire().await.unwrap();
    let ada = sqlx::query_scalar::<_, uuid::Uuid>("SELECT id FROM app_user WHERE email = 'ada@acme.example'");
    let ada = ada.fetch_one(&mut *conn).await.unwrap().into();
    mfa::reset(&mut conn, ada, app.installation.clock.now()).await.unwrap().len()
}

#[tokio::test]
async fn a_reset_ends_sessions_and_browsers_and_approvals() {
    let app = app().await;
    let signed_in = Device::ask(&app, "read offline_access").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&signed_in.user_code).await;
    let page = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    browser.approve(&page).await;
    let refresh_token = signed_in.poll().await.text("refresh_token");

    // Approved, and no device has come for it; and one at which only the decision is missing.
    app.advance(60);
    let approved = Device::ask(&app, "read").await;
    let mut other = Browser::new(&app);
    let page = other.enter_and_sign_in(&approved.user_code).await;
    let page = other.prove(&page, &app.totp(TOTP_SECRET)).await;
    other.approve(&page).await;
    app.advance(60);
    let undecided = Device::ask(&app, "read").await;
    let page = browser.enter(&undecided.user_code).await;
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    assert_eq!(confirm.path, "/activate/confirm");

    assert_eq!(reset(&app).await, 1);
    let ended = refresh(&app, &refresh_token).await;
    assert_eq!(ended.error(), "invalid_grant");
    assert!(ended.text("error_description").contains("the second factor of the account was reset"), "{}", ended.body);
    assert_eq!(approved.poll().await.error(), "access_denied");
    let decided = browser.approve(&confirm).await;
    assert_ne!(decided.path, "/activate/done", "{}", decided.html);
    assert_eq!(undecided.poll().await.error(), "authorization_pending");
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in");
    assert_eq!(reset(&app).await, 0, "once is enough");
}

#[tokio::test]
async fn after_a_reset_a_new_authenticator_is_set_up() {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    app.enrol("ada@acme.example").await;
    reset(&app).await;
    let device = Device::ask(&app, "read").await;
    let page = Browser::new(&app).enter_and_sign_in(&device.user_code).await;
    assert_eq!((page.status, page.path.as_str()), (StatusCode::OK, "/activate/mfa"));
    assert!(page.text().contains("authenticator"), "{}", page.html);
    assert!(!page.says("img, svg").is_empty() || page.html.contains("otpauth"), "a picture to scan");
}
