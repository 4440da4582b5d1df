//! **A replayed device code**: a code that was redeemed comes again, from whoever read it in a log or on a disk.
//!
//! The attacker has: the device code of a login that is over.
//!
//! What must happen: no second tokens, ever. Within ten seconds it is taken for a lost answer; later, however late, the code
//! is in two hands, and the session that came of it ends.

use axum::http::StatusCode;

use super::audited;
use crate::support::{App, Browser, Device};

async fn sessions(app: &App) -> Vec<Option<String>> {
    sqlx::query_scalar("SELECT revoked_because FROM session").fetch_all(&app.installation.pool).await.unwrap()
}

#[tokio::test]
async fn a_redeemed_code_that_comes_again_is_a_lost_answer_first_and_theft_later() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK);
    app.advance(10);
    assert_eq!(device.poll().await.error(), "invalid_grant");
    assert_eq!((sessions(&app).await, audited(&app, "replayed").await), (vec![None], 0));
    app.advance(1);
    for _ in 0..3 {
        let answer = device.poll().await;
        assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        assert!(answer.header("retry-after").is_none() && answer.header("www-authenticate").is_none());
    }
    assert!(sessions(&app).await[0].is_some());
    assert_eq!(audited(&app, "replayed").await, 1);
    // What the first hand got is worth nothing from now on either: nobody knows which of the two it was.
    let token = tokens.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", token.as_str())];
    assert_eq!(app.post("/auth/token", &form).await.error(), "invalid_grant");
}

#[tokio::test]
async fn however_late_it_comes() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
    app.advance(30 * 24 * 60 * 60);
    assert_eq!(device.poll().await.error(), "invalid_grant");
    assert!(sessions(&app).await[0].is_some());
}

/// The login was deleted, and the device refreshes still.
#[tokio::test]
async fn after_its_login_was_deleted() {
    const DAY: i64 = 24 * 60 * 60;
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let mut token = device.poll().await.text("refresh_token");
    for days in [20, 20] {
        app.advance(days * DAY);
        let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", token.as_str())];
        token = app.post("/auth/token", &form).await.text("refresh_token");
    }
    app.tidy_up().await;
    let grants: i64 =
        sqlx::query_scalar("SELECT count(*) FROM device_grant").fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!((grants, sessions(&app).await), (0, vec![None]));
    for _ in 0..2 {
        assert_eq!(device.poll().await.error(), "invalid_grant");
    }
    assert!(sessions(&app).await[0].is_some());
    assert_eq!(audited(&app, "replayed").await, 1);
}
