//! A server is lost in the middle of a transaction, and what it locked stays locked until PostgreSQL notices.

use std::time::Duration;

use axum::http::StatusCode;
use sqlx::{PgPool, Postgres, Transaction};

use crate::support::app::{ADA_PASSWORD, Answer, form_request};
use crate::support::{App, Browser, Device};

const ADA: &str = "ada@acme.example";

/// What a lost server has locked.
async fn lost(owner: &PgPool, lock: &'static str) -> Transaction<'static, Postgres> {
    let mut tx = owner.begin().await.unwrap();
    sqlx::query(lock).fetch_all(&mut *tx).await.unwrap();
    tx
}

/// Checks that somebody is told to come again, rather than kept waiting.
#[track_caller]
fn is_told_to_come_again(answer: Result<Answer, tokio::time::error::Elapsed>) {
    let answer = answer.expect("an answer although the row is locked");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert!(answer.header("retry-after").is_some(), "{}", answer.body);
}

async fn soon<T>(answer: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(Duration::from_mins(1), answer).await
}

#[tokio::test]
async fn who_enters_a_code_is_told_to_come_again() {
    let app = App::acme().await;
    let owner = app.owner();
    let device = Device::ask(&app, "read").await;
    assert_eq!(Browser::new(&app).enter("BBBB-BBBB").await.status, StatusCode::BAD_REQUEST);
    let mut exhausted = Browser::new(&app);
    for _ in 0..10 {
        assert_eq!(exhausted.enter("BBBB-BBBB").await.status, StatusCode::BAD_REQUEST);
    }
    let held = lost(&owner, "SELECT pg_advisory_xact_lock(hashtext('countersign user codes'))").await;
    // Whoever is refused anyway waits for nobody, and nobody for them.
    assert_eq!(exhausted.enter(&device.user_code).await.status, StatusCode::TOO_MANY_REQUESTS);
    let mut browser = Browser::new(&app);
    is_told_to_come_again(soon(async { browser.enter(&device.user_code).await.answer }).await);
    let verify = form_request("/auth/device/verify", &[("user_code", &device.user_code)]);
    is_told_to_come_again(soon(app.send(verify)).await);
    held.rollback().await.unwrap();
    assert_eq!(browser.enter(&device.user_code).await.path, "/activate/sign-in");
}

#[tokio::test]
async fn who_types_a_password_is_told_to_come_again() {
    let app = App::acme().await;
    let owner = app.owner();
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    assert_eq!(browser.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    let held = lost(&owner, "SELECT 1 FROM attempt FOR UPDATE").await;
    is_told_to_come_again(soon(async { browser.sign_in(&page, ADA, ADA_PASSWORD).await.answer }).await);
    held.rollback().await.unwrap();
    assert_eq!(browser.sign_in(&page, ADA, ADA_PASSWORD).await.path, "/activate/confirm");
}

#[tokio::test]
async fn postgresql_ends_what_a_lost_server_began_and_who_waited_for_it_goes_on() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut lost = app.installation.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM device_grant FOR UPDATE").fetch_all(&mut *lost).await.unwrap();
    let entering = soon(async { Browser::new(&app).enter(&device.user_code).await.path }).await;
    assert_eq!(entering.unwrap(), "/activate/sign-in");
    assert!(lost.commit().await.is_err(), "the lost server goes on");
}
