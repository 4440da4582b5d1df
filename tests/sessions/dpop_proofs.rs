//! Which proofs are taken (RFC 9449 §4.3), asked of the device request, which takes them as every endpoint does.

use axum::http::StatusCode;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::App;
use crate::support::app::{ACME, Answer, form_request};
use crate::support::dpop::{DeviceKey, with_proof};

const PATH: &str = "/auth/device/code";

/// A device request with these proofs.
async fn ask(app: &App, proofs: &[&str]) -> Answer {
    let request = form_request(PATH, &[("client_id", "acme-cli")]);
    app.send(proofs.iter().fold(request, |request, proof| with_proof(request, proof))).await
}

#[track_caller]
fn refused(answer: &Answer, why: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_dpop_proof"), "{why}");
    assert!(answer.text("error_description").contains(why), "{}", answer.body);
}

#[tokio::test]
async fn every_algorithm_that_the_metadata_names_is_taken() {
    let app = App::acme().await;
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA", "RS256", "PS256"]));
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256] {
        let key = DeviceKey::of(algorithm);
        let answer = ask(&app, &[&key.proof(&app, PATH)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{algorithm:?} {}", answer.body);
        let bound: Vec<String> = sqlx::query_scalar("SELECT dpop_jkt FROM device_grant WHERE dpop_jkt IS NOT NULL")
            .fetch_all(&app.installation.pool)
            .await
            .unwrap();
        assert!(bound.contains(&key.thumbprint()));
    }
}

#[tokio::test]
async fn a_proof_that_is_not_for_this_request_is_refused() {
    let app = App::acme().await;
    let (key, other) = (DeviceKey::new(), DeviceKey::new());
    let mut with_private = key.jwk.clone();
    with_private["d"] = "AAAA".into();
    let now = app.installation.clock.now().timestamp();
    let none = || json!({});
    let cases: Vec<(Value, Value, &str)> = vec![
        (json!({"typ": "JWT"}), none(), "typ"),
        (json!({"typ": null}), none(), "typ"),
        (json!({"alg": "none"}), none(), "alg"),
        (json!({"alg": "HS256"}), none(), "alg"),
        (json!({"alg": "ES384"}), none(), "alg"),
        (json!({"alg": "EdDSA"}), none(), "signature"),
        (json!({"alg": null}), none(), "no JWT"),
        (json!({"crit": ["b64"], "b64": false}), none(), "crit"),
        (json!({"jwk": null}), none(), "jwk"),
        (json!({"jwk": with_private}), none(), "private key"),
        (json!({"jwk": {"kty": "oct", "k": "AAAA"}}), none(), "private key"),
        (json!({"jwk": other.jwk}), none(), "signature"),
        (none(), json!({"htm": "GET"}), "htm"),
        (none(), json!({"htm": "post"}), "htm"),
        (none(), json!({"htu": "https://auth.acme.example/auth/token"}), "htu"),
        (none(), json!({"htu": "https://evil.example/auth/device/code"}), "htu"),
        (none(), json!({"htu": "/auth/device/code"}), "htu"),
        (none(), json!({"iat": now - 301}), "iat"),
        (none(), json!({"iat": now + 62}), "iat"),
        (none(), json!({"iat": (now - 301).to_string()}), "no JWT"),
        (none(), json!({"iat": null}), "no JWT"),
        (none(), json!({"jti": null}), "no JWT"),
        (none(), json!({"jti": ""}), "jti"),
        (none(), json!({"jti": "x".repeat(129)}), "jti"),
    ];
    for (header, claims, why) in cases {
        refused(&ask(&app, &[&key.proof_with(&app, PATH, header, claims)]).await, why);
    }
    let good = key.proof(&app, PATH);
    refused(&ask(&app, &[&good, &key.proof(&app, PATH)]).await, "exactly one");
    refused(&ask(&app, &[&format!("{good}A")]).await, "");
    refused(&ask(&app, &[&good.replace('.', "")]).await, "no JWT");
    refused(&ask(&app, &["\u{a0}"]).await, "no JWT");
    refused(&ask(&app, &[&key.proof_with(&app, PATH, json!({"kid": "x".repeat(9000)}), none())]).await, "no JWT");
    // Nothing of all that has used the good one up.
    assert_eq!(ask(&app, &[&good]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_at_the_edge_is_taken() {
    let app = App::acme().await;
    let key = DeviceKey::new();
    let now = app.installation.clock.now().timestamp();
    for claims in [
        json!({"iat": now - 299}),
        json!({"iat": now + 59}),
        json!({"iat": serde_json::from_str::<Value>(&format!("{now}.25")).unwrap()}),
        json!({"htu": "HTTPS://AUTH.ACME.EXAMPLE:443/auth/./device/code/?a=b#c"}),
        json!({"jti": "ü".repeat(128)}),
        json!({"nonce": "somebody else's", "more": {"of": "it"}}),
    ] {
        let answer = ask(&app, &[&key.proof_with(&app, PATH, json!({}), claims)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_proof_is_good_once_and_its_trace_is_swept() {
    let app = App::acme().await;
    let (key, other) = (DeviceKey::new(), DeviceKey::new());
    let id = json!({"jti": "one and the same"});
    let proof = key.proof_with(&app, PATH, json!({}), id.clone());
    assert_eq!(ask(&app, &[&proof]).await.status, StatusCode::OK);
    refused(&ask(&app, &[&proof]).await, "used before");
    refused(&ask(&app, &[&key.proof_with(&app, PATH, json!({}), id.clone())]).await, "used before");
    // Another device may have the same idea.
    assert_eq!(ask(&app, &[&other.proof_with(&app, PATH, json!({}), id)]).await.status, StatusCode::OK);
    let proofs = async || -> i64 {
        app.tidy_up().await;
        sqlx::query_scalar("SELECT count(*) FROM dpop_proof").fetch_one(&app.installation.pool).await.unwrap()
    };
    assert_eq!(proofs().await, 2);
    app.advance(600);
    assert_eq!(proofs().await, 0);
    refused(&ask(&app, &[&proof]).await, "iat");
}

#[tokio::test]
async fn of_16_uses_at_once_one_counts() {
    let app = App::acme().await;
    let proof = DeviceKey::new().proof(&app, PATH);
    let proofs = [proof.as_str()];
    let answers = futures_util::future::join_all((0..16).map(|_| ask(&app, &proofs))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
}

#[tokio::test]
async fn a_nonce_is_given_with_every_answer_to_a_proof_and_to_every_origin() {
    let app = App::acme().await;
    let key = DeviceKey::new();
    let good = ask(&app, &[&key.proof(&app, PATH)]).await;
    let bad = ask(&app, &["nonsense"]).await;
    assert!(good.header("dpop-nonce").is_some() && good.header("dpop-nonce") == bad.header("dpop-nonce"));
    assert!(good.header("access-control-expose-headers").unwrap().contains("dpop-nonce"));
    assert_eq!(ask(&app, &[]).await.header("dpop-nonce"), None);
}

#[tokio::test]
async fn a_device_whose_clock_is_behind_gets_through_with_the_nonce() {
    let app = App::acme().await;
    let key = DeviceKey::new();
    let since_1970 = |nonce: Option<&str>| key.proof_with(&app, PATH, json!({}), json!({"iat": 7, "nonce": nonce}));
    let answer = ask(&app, &[&since_1970(None)]).await;
    refused(&answer, "iat");
    let proof = since_1970(answer.header("dpop-nonce"));
    assert_eq!(ask(&app, &[&proof]).await.status, StatusCode::OK);
    refused(&ask(&app, &[&proof]).await, "used before");
    app.advance(600);
    app.tidy_up().await;
    refused(&ask(&app, &[&proof]).await, "iat");
}

#[tokio::test]
async fn a_service_that_requires_keys_asks_for_a_proof_and_a_nonce() {
    let required = ACME.replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\ndpop = \"required\"");
    let app = App::with(&required).await;
    let key = DeviceKey::new();
    // A device may come with its key as late as the first poll; and then it must.
    let codes = ask(&app, &[]).await;
    let code = codes.text("device_code");
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let form = [grant_type, ("device_code", code.as_str()), ("client_id", "acme-cli")];
    refused(&app.post("/auth/token", &form).await, "send a proof");
    let first = ask(&app, &[&key.proof(&app, PATH)]).await;
    assert_eq!((first.status, first.error().as_str()), (StatusCode::BAD_REQUEST, "use_dpop_nonce"));
    let nonce = json!({"nonce": first.header("dpop-nonce").unwrap()});
    assert_eq!(ask(&app, &[&key.proof_with(&app, PATH, json!({}), nonce.clone())]).await.status, StatusCode::OK);
    app.advance(360);
    let stale = ask(&app, &[&key.proof_with(&app, PATH, json!({}), nonce)]).await;
    assert_eq!(stale.error(), "use_dpop_nonce");
    assert_ne!(stale.header("dpop-nonce"), first.header("dpop-nonce"));
}
