//! How somebody comes to administer, and how long.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::{Admin, app, problem, request, token_of};
use crate::support::Browser;
use crate::support::app::{ADA_PASSWORD, form_request};
use crate::support::dpop::{DeviceKey, ath, with_proof};

#[tokio::test]
async fn an_owner_logs_in_to_their_own_organization_and_sees_it_alone() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let seen = owner.get("/api/v1/organizations").await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    let slugs = |answer: &crate::support::app::Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(slugs(&seen), ["acme"]);
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    assert_eq!(slugs(&platform.get("/api/v1/organizations").await), ["acme", "other", "platform"]);
    let admin = Admin::log_in(&app, "admin@platform.example").await;
    assert_eq!(slugs(&admin.get("/api/v1/organizations").await), ["platform"]);
}

#[tokio::test]
async fn what_somebody_may_is_what_they_are_now() {
    let app = app().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    assert_eq!(admin.get("/api/v1/organizations/acme").await.status, StatusCode::OK);
    let id = platform.id_of("admin@acme.example").await;
    let path = format!("/api/v1/organizations/acme/users/{id}");
    assert_eq!(platform.patch(&path, "*", json!({ "role": "member" })).await.status, StatusCode::OK);
    let after = admin.get("/api/v1/organizations/acme").await;
    assert_eq!((after.status, problem(&after)), (StatusCode::FORBIDDEN, "forbidden".into()));
    platform.act(&format!("{path}/lock")).await;
    let locked = admin.get("/api/v1/organizations/acme").await;
    assert_eq!((locked.status, problem(&locked)), (StatusCode::UNAUTHORIZED, "invalid-token".into()));
    assert!(locked.header("www-authenticate").unwrap().starts_with("Bearer "));
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_needs_its_proof() {
    let app = app().await;
    let key = DeviceKey::new();
    let form = [("client_id", "acme-admin-cli"), ("scope", "admin:read")];
    let asked =
        app.send(with_proof(form_request("/auth/device/code", &form), &key.proof(&app, "/auth/device/code"))).await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&asked.text("user_code")).await;
    let confirm = browser.sign_in(&page, "owner@acme.example", ADA_PASSWORD).await;
    browser.approve(&confirm).await;
    let (device_code, grant_type) = (asked.text("device_code"), "urn:ietf:params:oauth:grant-type:device_code");
    let form = [("grant_type", grant_type), ("device_code", device_code.as_str()), ("client_id", "acme-admin-cli")];
    let tokens = app.send(with_proof(form_request("/auth/token", &form), &key.proof(&app, "/auth/token"))).await;
    let token = tokens.text("access_token");
    let path = "/api/v1/organizations/acme";
    let bearer = app.send(request(Method::GET, path, Some(&token), None, None)).await;
    assert_eq!((bearer.status, problem(&bearer)), (StatusCode::UNAUTHORIZED, "invalid-token".into()));
    let proof = |key: &DeviceKey| key.proof_with(&app, path, json!({}), json!({ "htm": "GET", "ath": ath(&token) }));
    let with = |proof: &str| {
        let mut request = request(Method::GET, path, None, None, None);
        request.headers_mut().insert("authorization", format!("DPoP {token}").parse().unwrap());
        with_proof(request, proof)
    };
    let good = proof(&key);
    let answer = app.send(with(&good)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(answer.header("dpop-nonce").is_some());
    assert_eq!(app.send(with(&good)).await.status, StatusCode::UNAUTHORIZED, "a proof is good once");
    assert_eq!(app.send(with(&proof(&DeviceKey::new()))).await.status, StatusCode::UNAUTHORIZED, "another key");
}

#[tokio::test]
async fn a_token_made_for_an_api_administers_nothing() {
    let app = app().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let path = "/api/v1/organizations/acme/services/admin-cli";
    let changed = platform.patch(path, "*", json!({ "resources": ["https://api.acme.example"] })).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let form = [("client_id", "acme-admin-cli"), ("scope", "admin:read"), ("resource", "https://api.acme.example")];
    let asked = app.post("/auth/device/code", &form).await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&asked.text("user_code")).await;
    let confirm = browser.sign_in(&page, "owner@acme.example", ADA_PASSWORD).await;
    browser.approve(&confirm).await;
    let (device_code, grant_type) = (asked.text("device_code"), "urn:ietf:params:oauth:grant-type:device_code");
    let form = [("grant_type", grant_type), ("device_code", device_code.as_str()), ("client_id", "acme-admin-cli")];
    let token = app.post("/auth/token", &form).await.text("access_token");
    let answer = app.send(request(Method::GET, "/api/v1/organizations", Some(&token), None, None)).await;
    assert_eq!((answer.status, problem(&answer)), (StatusCode::UNAUTHORIZED, "invalid-token".into()));
}

#[tokio::test]
async fn reading_needs_one_scope_and_changing_the_other() {
    let app = app().await;
    let token = token_of(&app, "owner@acme.example", "admin-cli", "admin:read").await;
    let reader = Admin { app: &app, token };
    assert_eq!(reader.get("/api/v1/organizations/acme").await.status, StatusCode::OK);
    let refused = reader.patch("/api/v1/organizations/acme", "*", json!({ "name": "Acme" })).await;
    assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "insufficient-scope".into()));
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"admin:write\""));
}

#[tokio::test]
async fn scopes_that_were_asked_for_in_other_words_administer_nothing() {
    let app = app().await;
    // As a service may have been that had the name before organizations were given theirs.
    app.execute(
        r#"UPDATE service SET scopes = '[["admin:read", "See your name"], ["admin:write", "See your name"]]'
           WHERE client_id = 'acme-admin-cli'"#,
    )
    .await;
    let token = token_of(&app, "owner@acme.example", "admin-cli", "admin:read admin:write").await;
    let answer = app.send(request(Method::GET, "/api/v1/organizations", Some(&token), None, None)).await;
    assert_eq!((answer.status, problem(&answer)), (StatusCode::UNAUTHORIZED, "invalid-token".into()));
}

#[tokio::test]
async fn another_service_with_scopes_of_the_same_names_administers_nothing() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let scopes = json!([{ "name": "admin:read", "text": "Run" }, { "name": "admin:write", "text": "Walk" }]);
    let body = json!({ "slug": "bait", "device_login": true, "scopes": scopes, "resources": ["urn:acme-admin-cli"] });
    let made = admin.post("/api/v1/organizations/acme/services", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let token = token_of(&app, "owner@acme.example", "bait", "admin:read admin:write").await;
    let answer = app.send(request(Method::GET, "/api/v1/organizations", Some(&token), None, None)).await;
    assert_eq!((answer.status, problem(&answer)), (StatusCode::UNAUTHORIZED, "invalid-token".into()));
}
