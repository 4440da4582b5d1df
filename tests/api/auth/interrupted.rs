//! `POST /auth/token` when the database goes away in the middle: nothing is half done, and nothing is done twice.

use axum::http::StatusCode;
use futures_util::future::join;

use crate::api::is_refused;
use crate::support::{App, Browser, Device, Held};

/// Cuts the connection of the statement that begins so, while it waits.
async fn cut_while_waiting(held: Held, statement: &str) {
    held.until_waits(statement).await;
    held.cut().await;
    held.release().await;
}

#[tokio::test]
async fn a_redemption_that_is_cut_off_leaves_the_grant_to_the_next_poll() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    for lock in [
        "SELECT FROM device_grant FOR UPDATE",
        // Now the grant is redeemed already, but for the rest of its statement.
        "LOCK session IN SHARE MODE",
        "LOCK audit_event IN SHARE MODE",
    ] {
        let held = Held::by(&app, lock).await;
        let (answer, ()) = join(device.poll(), cut_while_waiting(held, "WITH redeemed AS")).await;
        is_refused(&answer, 400, "authorization_pending");
        let state: String =
            sqlx::query_scalar("SELECT state FROM device_grant").fetch_one(&app.installation.pool).await.unwrap();
        assert_eq!((state.as_str(), app.audit().await.get("redeemed")), ("approved", None), "{lock}");
        app.advance(5);
    }
    assert_eq!(device.poll().await.status, StatusCode::OK);
    assert_eq!(app.audit().await["redeemed"], 1);
    let sessions = "SELECT count(*) FROM session s JOIN device_grant g ON g.session_id = s.id AND g.id = s.grant_id
                    WHERE s.scopes = g.granted_scopes AND s.amr = g.amr AND s.auth_time = g.auth_time
                      AND s.user_id = g.user_id AND s.created_at = g.redeemed_at";
    let sessions: i64 = sqlx::query_scalar(sessions).fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(sessions, 1);
}

#[tokio::test]
async fn a_refresh_that_is_cut_off_leaves_the_token_current() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let token = device.poll().await.text("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*token), ("client_id", "acme-cli")];
    for lock in ["SELECT FROM session FOR UPDATE", "LOCK audit_event IN SHARE MODE"] {
        let held = Held::by(&app, lock).await;
        let (answer, ()) = join(app.post("/auth/token", &refresh), cut_while_waiting(held, "WITH rotated AS")).await;
        is_refused(&answer, 503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(app.audit().await.get("refreshed"), None, "{lock}");
    }
    let next = app.post("/auth/token", &refresh).await;
    assert_ne!(next.text("refresh_token"), token);
    assert_eq!(app.audit().await["refreshed"], 1);
}

#[tokio::test]
async fn a_session_that_is_ended_at_the_moment_of_its_refresh_is_ended() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let token = device.poll().await.text("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*token), ("client_id", "acme-cli")];
    let held = Held::by(&app, "UPDATE session SET revoked_at = now(), revoked_because = 'it was lost'").await;
    let release = async {
        held.until_waiting(1).await;
        held.release().await;
    };
    let (answer, ()) = join(app.post("/auth/token", &refresh), release).await;
    is_refused(&answer, 400, "invalid_grant");
    assert!(answer.text("error_description").contains("it was lost"), "{}", answer.body);
    assert_eq!(app.audit().await.get("refreshed"), None);
}
