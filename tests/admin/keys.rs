//! The keys that sign tokens.

use axum::http::StatusCode;

use super::{Admin, app, problem};

#[tokio::test]
async fn keys_are_rotated_once_and_a_retired_one_is_refused_at_once() {
    let app = app().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let stages = |answer: &crate::support::app::Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        let mut stages: Vec<String> = items.iter().map(|key| key["stage"].as_str().unwrap().to_owned()).collect();
        stages.sort();
        stages
    };
    let before = platform.get("/api/v1/keys").await;
    assert_eq!(stages(&before), ["signing"; 3]);
    let rotated = platform.act("/api/v1/keys/rotate").await;
    assert_eq!(rotated.status, StatusCode::CREATED, "{}", rotated.body);
    assert_eq!(stages(&rotated), ["published", "published", "published", "signing", "signing", "signing"]);
    let again = platform.act("/api/v1/keys/rotate").await;
    assert_eq!((again.status, problem(&again)), (StatusCode::CONFLICT, "conflict".into()));
    let jwks = async || app.get("/.well-known/jwks.json").await.json()["keys"].as_array().unwrap().clone();
    assert_eq!(jwks().await.len(), 6, "whoever checks tokens knows them before they sign");

    let nothing = platform.act("/api/v1/keys/nothing/retire").await;
    assert_eq!((nothing.status, problem(&nothing)), (StatusCode::NOT_FOUND, "not-found".into()));
    let kid = jsonwebtoken::decode_header(&platform.token).unwrap().kid.unwrap();
    assert_eq!(platform.act(&format!("/api/v1/keys/{kid}/retire")).await.status, StatusCode::NO_CONTENT);
    assert!(jwks().await.iter().all(|key| key["kid"] != kid.as_str()));
    assert_eq!(platform.get("/api/v1/keys").await.status, StatusCode::UNAUTHORIZED, "its own token among the others");
    let back = Admin::log_in(&app, "owner@platform.example").await;
    assert!(stages(&back.get("/api/v1/keys").await).contains(&"retired".to_owned()));
    let by: String =
        sqlx::query_scalar("SELECT detail->'by'->>'user' FROM audit_event WHERE detail->>'keys' = 'retired'")
            .fetch_one(&app.installation.pool)
            .await
            .unwrap();
    assert_eq!(by, back.id_of("owner@platform.example").await);
}
