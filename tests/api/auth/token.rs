//! `POST /auth/token`, `grant_type=urn:ietf:params:oauth:grant-type:device_code`: what a poll is told (SPEC §2.3).

use axum::http::StatusCode;

use crate::api::{basic, is_refused, with_header};
use crate::support::app::{Answer, form_request};
use crate::support::{App, Browser, Device, Held};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What never may be said to a poll, because clients give up then.
#[track_caller]
fn is_told(answer: &Answer, error: &str) {
    is_refused(answer, 400, error);
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(answer.header("www-authenticate"), None);
}

async fn sessions(app: &App) -> Vec<Option<String>> {
    sqlx::query_scalar("SELECT revoked_because FROM session").fetch_all(&app.installation.pool).await.unwrap()
}

#[tokio::test]
async fn pending_until_approved_and_then_tokens_once() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let pending = device.poll().await;
    is_told(&pending, "authorization_pending");
    assert_eq!(pending.header("preference-applied"), None);
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    app.advance(5);
    is_told(&device.poll().await, "authorization_pending");
    browser.approve(&confirm).await;
    // However early the poll.
    let tokens = device.poll().await;
    assert_eq!((tokens.status, tokens.header("cache-control")), (StatusCode::OK, Some("no-store")), "{}", tokens.body);
    is_told(&device.poll().await, "invalid_grant");
}

#[tokio::test]
async fn a_denied_login_is_told_so() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    browser.decide(&confirm, "deny").await;
    for _ in 0..2 {
        is_told(&device.poll().await, "access_denied");
    }
    assert!(sessions(&app).await.is_empty());
}

#[tokio::test]
async fn an_expired_code_is_called_so_for_an_hour_and_then_unknown() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    app.advance(899);
    is_told(&device.poll().await, "authorization_pending");
    app.advance(1);
    is_told(&device.poll().await, "expired_token");
    app.advance(59 * 60);
    is_told(&device.poll().await, "expired_token");
    app.advance(60);
    is_told(&device.poll().await, "invalid_grant");
    app.advance(30 * 24 * 3600);
    is_told(&device.poll().await, "invalid_grant");
}

#[tokio::test]
async fn an_approval_gives_the_device_three_intervals_to_come() {
    for (seconds, expected) in [(14, ""), (15, "expired_token")] {
        let app = App::acme().await;
        let device = Device::ask(&app, "read").await;
        let mut browser = Browser::new(&app);
        let confirm = browser.enter_and_sign_in(&device.user_code).await;
        app.advance(899);
        browser.approve(&confirm).await;
        app.advance(seconds);
        assert_eq!(device.poll().await.error(), expected);
    }
}

#[tokio::test]
async fn what_is_missing_or_not_offered_is_named() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    for grant_type in ["authorization_code", "client_credentials", "password", "device_code", "x"] {
        let form = [("grant_type", grant_type), ("device_code", &device.device_code), ("client_id", "acme-cli")];
        is_told(&app.post("/auth/token", &form).await, "unsupported_grant_type");
    }
    let missing = |answer: Answer, name: &str| {
        is_told(&answer, "invalid_request");
        assert!(answer.text("error_description").contains(name), "{}", answer.body);
    };
    missing(app.post("/auth/token", &[("client_id", "acme-cli")]).await, "grant_type");
    missing(app.post("/auth/token", &[("grant_type", GRANT), ("client_id", "acme-cli")]).await, "device_code");
    let form = [("grant_type", GRANT), ("device_code", device.device_code.as_str())];
    missing(app.post("/auth/token", &form).await, "client_id");
    missing(
        app.post("/auth/token", &[("grant_type", "refresh_token"), ("client_id", "acme-cli")]).await,
        "refresh_token",
    );
}

#[tokio::test]
async fn only_a_flood_is_slowed_each_style_for_itself_and_nothing_is_postponed() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let by_basic = || {
        let form = form_request("/auth/token", &[("grant_type", GRANT), ("device_code", &device.device_code)]);
        app.send(with_header(form, "authorization", &basic("acme-cli", "")))
    };
    for _ in 0..5 {
        is_told(&device.poll().await, "authorization_pending");
    }
    for _ in 0..50 {
        is_told(&device.poll().await, "slow_down");
    }
    for _ in 0..5 {
        is_told(&by_basic().await, "authorization_pending");
    }
    is_told(&by_basic().await, "slow_down");
    app.advance(5);
    is_told(&device.poll().await, "authorization_pending");
    is_told(&by_basic().await, "authorization_pending");
    is_told(&device.poll().await, "slow_down");
    // A decision beats pacing.
    Browser::new(&app).approve_code(&device.user_code).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
}

#[tokio::test]
async fn a_denial_beats_pacing_too() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    while device.poll().await.error() != "slow_down" {}
    browser.decide(&confirm, "deny").await;
    is_told(&device.poll().await, "access_denied");
}

#[tokio::test]
async fn what_changed_since_the_approval_is_checked_again() {
    for (change, error) in [
        ("UPDATE app_user SET status = 'locked'", "access_denied"),
        ("UPDATE organization SET status = 'suspended' WHERE slug = 'acme'", "unauthorized_client"),
        ("UPDATE service SET device_login = false", "unauthorized_client"),
        ("UPDATE organization SET mfa = 'required' WHERE slug = 'acme'", "access_denied"),
        ("UPDATE service SET mfa = 'required'", "access_denied"),
    ] {
        let app = App::acme().await;
        let device = Device::ask(&app, "read").await;
        Browser::new(&app).approve_code(&device.user_code).await;
        app.execute(change).await;
        is_told(&device.poll().await, error);
        assert!(sessions(&app).await.is_empty(), "{change}");
        assert!(!app.audit().await.contains_key("redeemed"), "{change}");
    }
}

#[tokio::test]
async fn a_pending_login_ends_when_the_service_does() {
    for change in
        ["UPDATE organization SET status = 'suspended' WHERE slug = 'acme'", "UPDATE service SET device_login = false"]
    {
        let app = App::acme().await;
        let device = Device::ask(&app, "read").await;
        app.execute(change).await;
        is_told(&device.poll().await, "unauthorized_client");
    }
}

#[tokio::test]
async fn while_the_database_is_away_a_genuine_code_is_pending() {
    let app = App::acme().await;
    let signed_in = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&signed_in.user_code).await;
    let tokens = signed_in.poll().await;
    let device = Device::ask(&app, "read").await;
    let old = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    app.installation.pool.close().await;
    for _ in 0..10 {
        is_told(&device.poll().await, "authorization_pending");
    }
    // The longest that a code can live is told without the database.
    app.advance(74 * 60);
    is_told(&old.poll().await, "authorization_pending");
    app.advance(2 * 60);
    is_told(&old.poll().await, "expired_token");
    // Nobody's code is told without the database, as always.
    let form = [("grant_type", GRANT), ("device_code", "csd_x"), ("client_id", "acme-cli")];
    let answer = app.post("/auth/token", &form).await;
    is_refused(&answer, 400, "invalid_grant");
    let token = tokens.text("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &token), ("client_id", "acme-cli")];
    let answer = app.post("/auth/token", &refresh).await;
    is_refused(&answer, 503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_as_good_as_away() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let busy = Held::by(&app, "LOCK device_grant IN ACCESS EXCLUSIVE MODE").await;
    is_told(&device.poll().await, "authorization_pending");
    busy.release().await;
    Browser::new(&app).approve_code(&device.user_code).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_database_that_went_over_to_a_standby_is_away_too() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let node = app.another_node().await;
    app.execute(
        "DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
         END $$",
    )
    .await;
    // Only then, and until they are gone: a connection that is made before, or lives on for a moment, can write.
    app.execute(
        "DO $$ BEGIN
             PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
         END $$",
    )
    .await;
    is_told(&node.send(device.poll_request()).await, "authorization_pending");
    let answer = node.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
    is_refused(&answer, 503, "temporarily_unavailable");
    let page = Browser::new(&node).enter("WDJB-MJHT").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
}
