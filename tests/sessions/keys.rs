//! Signing keys: published before they sign, and until the longest token has died.

use countersign::session::signing_keys::life::{self, Policy};

use super::{app, log_in, refresh, userinfo};
use crate::support::App;

const DAY: i64 = 24 * 60 * 60;

async fn published(app: &App) -> Vec<String> {
    let jwks = app.get("/.well-known/jwks.json").await.json();
    let mut kids: Vec<String> =
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    kids.sort();
    kids
}

/// Tests share keys, which were made some seconds ago; in these tests they are made now.
async fn app_with_new_keys() -> App {
    let app = app().await;
    let now = app.installation.clock.now();
    let made = sqlx::query("UPDATE signing_key SET created_at = $1, active_from = $1").bind(now);
    made.execute(&app.installation.pool).await.unwrap();
    app.signing_keys.reload(&app.installation).await.unwrap();
    app
}

/// What each node does every minute.
async fn a_minute_passes(app: &App) {
    life::rotate_by_age(&app.installation, Policy::default()).await.unwrap();
    app.signing_keys.reload(&app.installation).await.unwrap();
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn keys_are_published_before_they_sign_and_until_the_longest_token_has_died() {
    let app = app_with_new_keys().await;
    let old = published(&app).await;
    assert_eq!(old.len(), 3);
    let first = log_in(&app, "read offline_access").await;
    app.advance(20 * DAY);
    let first = refresh(&app, &first.text("refresh_token")).await;
    a_minute_passes(&app).await;
    assert_eq!(published(&app).await, old, "nothing is made before its time");
    app.advance(70 * DAY - 11 * 60);
    a_minute_passes(&app).await;
    assert_eq!(published(&app).await, old);
    app.advance(60);
    a_minute_passes(&app).await;
    a_minute_passes(&app).await;
    assert_eq!(published(&app).await.len(), 6, "successors are published, once");

    let before = log_in(&app, "openid").await;
    assert!(old.contains(&kid(&before.text("access_token"))), "a new key doesn't sign yet");
    app.advance(10 * 60);
    let after = log_in(&app, "openid").await;
    assert!(!old.contains(&kid(&after.text("access_token"))));
    for token in [&before, &after] {
        assert_eq!(userinfo(&app, &token.text("access_token")).await.status, 200);
    }
    app.advance(25 * 60 * 60 - 1);
    a_minute_passes(&app).await;
    assert_eq!(published(&app).await.len(), 6);
    app.advance(2);
    a_minute_passes(&app).await;
    assert_eq!(published(&app).await.len(), 3);
    assert!(published(&app).await.iter().all(|kid| !old.contains(kid)));
    drop(first);
}

#[tokio::test]
async fn nodes_that_rotate_at_once_make_one_successor_each() {
    let app = app_with_new_keys().await;
    app.advance(90 * DAY);
    let rotations = (0..8).map(|_| life::rotate_by_age(&app.installation, Policy::default()));
    for outcome in futures_util::future::join_all(rotations).await {
        outcome.unwrap();
    }
    app.signing_keys.reload(&app.installation).await.unwrap();
    assert_eq!(published(&app).await.len(), 6);
}

#[tokio::test]
async fn a_key_that_another_node_made_is_found_and_a_retired_one_is_refused() {
    let app = app().await;
    let old = log_in(&app, "openid").await.text("access_token");
    let mut conn = app.installation.pool.acquire().await.unwrap();
    // Another node, as it were: this one's memory is not told.
    app.advance(1);
    let now = app.installation.clock.now();
    life::rotate(&mut conn, &app.installation, now).await.unwrap();
    let elsewhere = countersign::session::signing_keys::SigningKeys::load(&app.installation).await.unwrap();
    let claims: serde_json::Value = {
        let payload = old.split('.').nth(1).unwrap();
        serde_json::from_slice(&countersign::secrets::from_base64url(payload).unwrap()).unwrap()
    };
    let new = elsewhere.sign(jsonwebtoken::Algorithm::ES256, "at+jwt", &claims, now).unwrap();
    assert_ne!(kid(&new), kid(&old));
    app.advance(11);
    assert_eq!(userinfo(&app, &new).await.status, 200);

    assert!(life::retire(&mut conn, &app.installation, &kid(&old)).await.unwrap());
    assert!(!life::retire(&mut conn, &app.installation, &kid(&old)).await.unwrap());
    app.signing_keys.reload(&app.installation).await.unwrap();
    assert_eq!(userinfo(&app, &old).await.status, 401);
    let stages = life::list(&mut conn, app.installation.clock.now()).await.unwrap();
    assert_eq!(stages.iter().filter(|key| key.stage == "retired").count(), 1);
    assert_eq!(stages.iter().filter(|key| key.stage == "signing").count(), 3);
}

#[tokio::test]
async fn services_choose_what_signs_their_id_tokens() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let with = format!("client_id = \"acme-cli\"\nid_token_algorithm = \"{algorithm}\"");
        let app = App::with(&crate::support::app::ACME.replace("client_id = \"acme-cli\"", &with)).await;
        let token = log_in(&app, "openid").await.text("id_token");
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(format!("{:?}", header.alg), algorithm);
        let jwk = app.signing_keys.public().find(&header.kid.unwrap()).unwrap().clone();
        let mut validation = jsonwebtoken::Validation::new(header.alg);
        validation.set_audience(&["acme-cli"]);
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
    }
}
