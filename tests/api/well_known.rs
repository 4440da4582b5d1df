//! `/.well-known/…`: discovery and keys (SPEC §2.1).

use axum::http::StatusCode;
use insta::assert_json_snapshot;

use crate::support::app::{ACME, form_request};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn the_metadata_is_the_same_at_both_addresses() {
    let app = App::acme().await;
    let (oauth, openid) =
        (app.get("/.well-known/oauth-authorization-server").await, app.get("/.well-known/openid-configuration").await);
    assert_eq!((oauth.status, &oauth.body), (StatusCode::OK, &openid.body));
    for answer in [&oauth, &openid] {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert_json_snapshot!(oauth.json(), { ".claims_supported" => "[claims]" }, @r#"
    {
      "authorization_endpoint": "https://auth.acme.example/activate",
      "claims_supported": "[claims]",
      "code_challenge_methods_supported": [
        "S256"
      ],
      "device_authorization_endpoint": "https://auth.acme.example/auth/device/code",
      "device_poll_wait_max": 30,
      "device_verification_methods_supported": [
        "number"
      ],
      "dpop_signing_alg_values_supported": [
        "ES256",
        "EdDSA",
        "RS256",
        "PS256"
      ],
      "grant_types_supported": [
        "urn:ietf:params:oauth:grant-type:device_code",
        "refresh_token"
      ],
      "id_token_signing_alg_values_supported": [
        "RS256",
        "ES256",
        "EdDSA"
      ],
      "introspection_endpoint": "https://auth.acme.example/auth/introspect",
      "introspection_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post"
      ],
      "issuer": "https://auth.acme.example",
      "jwks_uri": "https://auth.acme.example/.well-known/jwks.json",
      "response_modes_supported": [
        "query"
      ],
      "response_types_supported": [
        "none"
      ],
      "revocation_endpoint": "https://auth.acme.example/auth/revoke",
      "revocation_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post"
      ],
      "scopes_supported": [
        "openid",
        "profile",
        "email",
        "offline_access"
      ],
      "subject_types_supported": [
        "public"
      ],
      "token_endpoint": "https://auth.acme.example/auth/token",
      "token_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post"
      ],
      "userinfo_endpoint": "https://auth.acme.example/auth/userinfo"
    }
    "#);
}

#[tokio::test]
async fn an_issuer_with_a_path_has_everything_under_it() {
    let app = App::at("https://acme.example/login", ACME).await;
    // Behind the path (OpenID Connect Discovery) and before it (RFC 8414 §3.1).
    let documents = [
        "/login/.well-known/openid-configuration",
        "/login/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/login",
        "/.well-known/openid-configuration/login",
    ];
    for document in documents {
        let answer = app.get(document).await;
        assert_eq!(answer.status, StatusCode::OK, "{document}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{document}");
        assert_eq!(answer.text("issuer"), "https://acme.example/login");
        for (member, value) in answer.json().as_object().unwrap() {
            if member.ends_with("_endpoint") || member == "jwks_uri" {
                assert!(value.as_str().unwrap().starts_with("https://acme.example/login/"), "{member}");
            }
        }
    }
    assert_eq!(app.get("/login/.well-known/jwks.json").await.status, StatusCode::OK);
    assert_eq!(app.get("/.well-known/openid-configuration").await.status, StatusCode::NOT_FOUND);

    let asked = app.post("/login/auth/device/code", &[("client_id", "acme-cli")]).await;
    assert_eq!(asked.text("verification_uri"), "https://acme.example/login/activate");
    let missing = app.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);

    let mut browser = Browser::new(&app);
    let page = browser.open("/login/activate").await;
    let page = browser.submit(&page, "/login/activate", &[("user_code", &asked.text("user_code"))]).await;
    assert_eq!((page.path.as_str(), page.status), ("/login/activate/sign-in", StatusCode::OK), "{}", page.html);
    assert!(page.html.contains("action=\"/login/activate/sign-in\""));
    let poll = form_request(
        "/login/auth/token",
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", &asked.text("device_code")),
            ("client_id", "acme-cli"),
        ],
    );
    assert_eq!(app.send(poll).await.error(), "authorization_pending");
}

#[tokio::test]
async fn the_keys_are_public_ones_only() {
    let app = App::acme().await;
    let answer = app.get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let jwks = answer.json();
    let mut algorithms: Vec<&str> = Vec::new();
    for key in jwks["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "sig");
        assert!(key["kid"].as_str().is_some_and(|kid| !kid.is_empty()));
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key[private].is_null(), "{private}");
        }
        algorithms.push(key["alg"].as_str().unwrap());
    }
    algorithms.sort_unstable();
    assert_eq!(algorithms, ["ES256", "EdDSA", "RS256"]);
}

#[tokio::test]
async fn discovery_needs_no_database() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    app.installation.pool.close().await;
    assert_eq!(app.get("/.well-known/openid-configuration").await.status, StatusCode::OK);
    assert_eq!(app.get("/.well-known/jwks.json").await.status, StatusCode::OK);
    assert_eq!(device.poll().await.error(), "authorization_pending");
}
