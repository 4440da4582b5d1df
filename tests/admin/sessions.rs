//! Sessions, and device logins in progress.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::{Admin, app, problem, request, token_of};
use crate::support::app::ADA_PASSWORD;
use crate::support::{Browser, Device};

#[tokio::test]
async fn an_administrator_ends_a_session_and_the_audit_says_who() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let token = token_of(&app, "member@acme.example", "cli", "read openid").await;
    let userinfo = async || app.send(request(Method::GET, "/auth/userinfo", Some(&token), None, None)).await.status;
    assert_eq!(userinfo().await, StatusCode::OK);
    let id = admin.id_of("member@acme.example").await;
    let listed = admin.get(&format!("/api/v1/organizations/acme/sessions?user={id}")).await.json();
    let session = listed["items"][0]["id"].as_str().unwrap();
    assert_eq!(listed["items"][0]["service"], "cli");
    let path = format!("/api/v1/organizations/acme/sessions/{session}");
    assert_eq!(admin.send(Method::DELETE, &path, None, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(userinfo().await, StatusCode::UNAUTHORIZED);
    let again = admin.send(Method::DELETE, &path, None, None).await;
    assert_eq!((again.status, problem(&again)), (StatusCode::NOT_FOUND, "not-found".into()));
    let event = app.events().await.into_iter().find(|event| event.kind == "revoked").unwrap();
    assert_eq!(event.detail["by"]["user"], admin.id_of("admin@acme.example").await.as_str());
}

#[tokio::test]
async fn logins_in_progress_are_listed_without_codes_and_denied() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    Device::ask_as(&app, "other-cli", "read").await;
    let listed = admin.get("/api/v1/organizations/acme/grants").await;
    assert!(!listed.body.contains(&device.user_code) && !listed.body.contains(&device.device_code));
    let items = listed.json()["items"].as_array().unwrap().clone();
    assert_eq!((items.len(), items[0]["state"].as_str()), (1, Some("pending")), "{}", listed.body);
    let path = format!("/api/v1/organizations/acme/grants/{}/deny", items[0]["id"].as_str().unwrap());
    assert_eq!(admin.act(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(device.poll_held().await.error(), "access_denied");
    assert_eq!(admin.act(&path).await.status, StatusCode::NOT_FOUND);
    assert!(admin.get("/api/v1/organizations/acme/grants").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn what_an_owner_has_in_hand_is_denied_by_owners_only() {
    let app = app().await;
    let (owner, admin) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "admin@acme.example").await);
    // The only login in progress.
    let path = async || {
        let listed = admin.get("/api/v1/organizations/acme/grants").await.json();
        format!("/api/v1/organizations/acme/grants/{}/deny", listed["items"][0]["id"].as_str().unwrap())
    };
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, "owner@acme.example", ADA_PASSWORD).await;
    let signed_in_for = admin.act(&path().await).await;
    assert_eq!((signed_in_for.status, problem(&signed_in_for)), (StatusCode::FORBIDDEN, "forbidden".into()));
    browser.approve(&confirm).await;
    let approved = admin.act(&path().await).await;
    assert_eq!((approved.status, problem(&approved)), (StatusCode::FORBIDDEN, "forbidden".into()));
    assert_eq!(device.poll().await.status, 200, "it is as if nobody had tried");
    assert!(app.events().await.iter().all(|event| event.kind != "denied"));

    // Another owner may, be it the same.
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let page = browser.enter(&device.user_code).await;
    browser.approve(&page).await;
    assert_eq!(owner.act(&path().await).await.status, StatusCode::NO_CONTENT);
    assert_eq!(device.poll_held().await.error(), "access_denied");
    // What nobody signed in for is nobody's, and a member's is in an admin's reach.
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let mut browser = Browser::new(&app);
    browser.enter(&device.user_code).await;
    assert_eq!(admin.act(&path().await).await.status, StatusCode::NO_CONTENT);
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, "member@acme.example", ADA_PASSWORD).await;
    browser.approve(&confirm).await;
    assert_eq!(admin.act(&path().await).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn statistics_count_what_the_lists_show() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    Admin::log_in(&app, "owner@other.example").await;
    token_of(&app, "member@acme.example", "cli", "read").await;
    app.enrol("member@acme.example").await;
    Device::ask_as(&app, "acme-cli", "read").await;
    admin.post("/api/v1/organizations/acme/users", json!({ "email": "later@acme.example" })).await;
    let id = admin.id_of("target@acme.example").await;
    admin.act(&format!("/api/v1/organizations/acme/users/{id}/lock")).await;
    let counted = async || admin.get("/api/v1/organizations/acme/statistics").await.json();
    let users = json!({ "invited": 1, "active": 3, "locked": 1, "with_authenticator": 1 });
    assert_eq!(counted().await, json!({ "users": users, "sessions": 2, "grants": 1 }));
    app.advance(20 * 60);
    let later = Admin::log_in(&app, "admin@acme.example").await;
    let now = later.get("/api/v1/organizations/acme/statistics").await.json();
    assert_eq!((&now["sessions"], &now["grants"]), (&json!(1), &json!(0)), "what is over is not counted: {now}");
}
