//! `POST /auth/revoke` (RFC 7009), `POST /auth/introspect` (RFC 7662) and `GET /auth/userinfo`.

use axum::http::StatusCode;
use serde_json::json;

use super::{API_SECRET, app, introspect, log_in, refresh, userinfo};

#[tokio::test]
async fn giving_either_token_back_ends_the_session() {
    for kind in ["refresh_token", "access_token"] {
        let app = app().await;
        let tokens = log_in(&app, "openid read offline_access").await;
        let form = [("token", tokens.text(kind)), ("client_id", "acme-cli".to_owned())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        for _ in 0..2 {
            let answer = app.post("/auth/revoke", &form).await;
            assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})));
        }
        assert_eq!(refresh(&app, &tokens.text("refresh_token")).await.error(), "invalid_grant");
        assert_eq!(userinfo(&app, &tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(introspect(&app, &tokens.text("access_token")).await.json(), json!({"active": false}));
        assert_eq!(app.audit().await["revoked"], 1);
    }
}

#[tokio::test]
async fn unknown_tokens_are_as_good_as_revoked_and_foreign_ones_are_refused() {
    let app = app().await;
    let unknown = app.post("/auth/revoke", &[("token", "csr_unknown"), ("client_id", "acme-cli")]).await;
    assert_eq!(unknown.status, StatusCode::OK);
    let token = log_in(&app, "read offline_access").await.text("refresh_token");
    let form = [("token", token.as_str()), ("client_id", "acme-agent"), ("client_secret", API_SECRET)];
    assert_eq!(app.post("/auth/revoke", &form).await.error(), "invalid_grant");
    assert_eq!(refresh(&app, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_resource_server_learns_what_a_token_is_worth() {
    let app = app().await;
    let tokens = log_in(&app, "openid email read offline_access").await;
    let answer = introspect(&app, &tokens.text("access_token")).await.json();
    assert_eq!(answer["active"], true);
    assert_eq!(answer["client_id"], "acme-cli");
    assert_eq!(answer["username"], "ada@acme.example");
    assert_eq!(answer["scope"], "openid email read offline_access");
    assert_eq!(introspect(&app, &tokens.text("refresh_token")).await.json()["active"], true);
    for none in ["", "x", "csr_x", "a.b.c", &tokens.text("id_token")] {
        let answer = introspect(&app, none).await;
        assert!(answer.error() == "invalid_request" || answer.json() == json!({"active": false}), "{}", answer.body);
    }
    app.advance(15 * 60);
    assert_eq!(introspect(&app, &tokens.text("access_token")).await.json(), json!({"active": false}));
}

#[tokio::test]
async fn others_may_not_introspect() {
    let app = app().await;
    let token = log_in(&app, "read").await.text("access_token");
    let public = app.post("/auth/introspect", &[("token", &token), ("client_id", "acme-cli")]).await;
    assert_eq!(public.error(), "unauthorized_client");
    let form = [("token", token.as_str()), ("client_id", "acme-agent"), ("client_secret", API_SECRET)];
    assert_eq!(app.post("/auth/introspect", &form).await.error(), "unauthorized_client");
    let form = [("token", token.as_str()), ("client_id", "acme-api"), ("client_secret", "wrong")];
    assert_eq!(app.post("/auth/introspect", &form).await.error(), "invalid_client");
}

#[tokio::test]
async fn a_resource_server_of_another_organization_learns_nothing() {
    let app = app().await;
    app.apply(&super::API.replace("acme-api", "other-api").replace(
        "[[organization.service]]",
        "[[organization]]\nslug = \"other\"\nname = \"Other\"\n[[organization.service]]",
    ))
    .await;
    let token = log_in(&app, "read offline_access").await;
    for kind in ["access_token", "refresh_token"] {
        let form =
            [("token", token.text(kind)), ("client_id", "other-api".into()), ("client_secret", API_SECRET.to_owned())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(app.post("/auth/introspect", &form).await.json(), json!({"active": false}));
    }
}

#[tokio::test]
async fn userinfo_says_what_the_scopes_allow() {
    let app = app().await;
    let all = log_in(&app, "openid email profile").await.text("access_token");
    let answer = userinfo(&app, &all).await.json();
    assert_eq!((&answer["email"], &answer["name"]), (&json!("ada@acme.example"), &json!("Ada")));
    let little = log_in(&app, "openid").await.text("access_token");
    let little = userinfo(&app, &little).await.json();
    assert_eq!((&little["org"], &little["service"]), (&json!("acme"), &json!("cli")));
    assert_eq!(little.as_object().unwrap().len(), 3, "and the subject, and nothing else: {little}");
    let none = userinfo(&app, &log_in(&app, "read").await.text("access_token")).await;
    assert_eq!((none.status, none.error().as_str()), (StatusCode::FORBIDDEN, "insufficient_scope"));
    let garbage = userinfo(&app, "a.b.c").await;
    assert_eq!(garbage.status, StatusCode::UNAUTHORIZED);
    assert!(garbage.header("www-authenticate").unwrap().starts_with("Bearer"));
}
