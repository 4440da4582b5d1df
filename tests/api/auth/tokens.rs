//! `POST /auth/token`: the tokens themselves (SPEC §2.3), read as a stranger reads them, with the keys of the JWKS.

use insta::assert_json_snapshot;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::Value;

use crate::api::acme_cli_with;
use crate::support::app::Answer;
use crate::support::{App, Browser, Device};

async fn log_in(app: &App, scope: &str) -> Answer {
    let device = Device::ask(app, scope).await;
    Browser::new(app).approve_code(&device.user_code).await;
    let answer = device.poll().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// Checks signature, issuer, audience and time with the published keys.
async fn read(app: &App, token: &str) -> (Header, Value) {
    let jwks: JwkSet = serde_json::from_str(&app.get("/.well-known/jwks.json").await.body).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = jwks.find(header.kid.as_deref().unwrap()).unwrap();
    assert_eq!(key.common.key_algorithm.map(|it| it.to_string()), Some(format!("{:?}", header.alg)));
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&["https://auth.acme.example"]);
    validation.set_audience(&["acme-cli"]);
    let claims = jsonwebtoken::decode(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims;
    (header, claims)
}

#[tokio::test]
async fn an_access_token_says_all_of_this_and_no_more() {
    let app = App::acme().await;
    let answer = log_in(&app, "read deploy").await;
    assert_json_snapshot!(answer.json(), { ".access_token" => "[jwt]" }, @r#"
    {
      "access_token": "[jwt]",
      "expires_in": 900,
      "scope": "read deploy",
      "token_type": "Bearer"
    }
    "#);
    let (header, claims) = read(&app, &answer.text("access_token")).await;
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), Algorithm::ES256));
    let now = app.installation.clock.now().timestamp();
    for (claim, expected) in [("iat", now), ("exp", now + 900), ("auth_time", now)] {
        assert_eq!(claims[claim].as_i64(), Some(expected), "{claim}");
    }
    let uuid = || {
        insta::dynamic_redaction(|value, _path| {
            value.as_str().unwrap().parse::<uuid::Uuid>().map(|_| "[uuid]").unwrap()
        })
    };
    assert_json_snapshot!(claims, {
        ".iat" => "[now]", ".exp" => "[in 15 minutes]", ".auth_time" => "[now]",
        ".jti" => uuid(), ".sid" => uuid(), ".sub" => uuid(),
    }, @r#"
    {
      "amr": [
        "pwd"
      ],
      "aud": "acme-cli",
      "auth_time": "[now]",
      "client_id": "acme-cli",
      "exp": "[in 15 minutes]",
      "iat": "[now]",
      "iss": "https://auth.acme.example",
      "jti": "[uuid]",
      "org": "acme",
      "scope": "read deploy",
      "service": "cli",
      "sid": "[uuid]",
      "sub": "[uuid]"
    }
    "#);
}

#[tokio::test]
async fn scopes_add_claims() {
    let app = App::acme().await;
    let answer = log_in(&app, "openid profile email read").await;
    let (header, id) = read(&app, &answer.text("id_token")).await;
    assert_eq!((header.typ.as_deref(), header.alg), (Some("JWT"), Algorithm::RS256));
    let access_token = answer.text("access_token");
    let (_, access) = read(&app, &access_token).await;
    assert_eq!(access["email"], "ada@acme.example");
    assert_eq!((&id["sub"], &id["sid"]), (&access["sub"], &access["sid"]));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
    assert_eq!(id["at_hash"], countersign::secrets::base64url(&digest.as_ref()[..16]));
    assert_json_snapshot!(id, {
        ".iat" => "[now]", ".exp" => "[later]", ".auth_time" => "[now]", ".sid" => "[sid]", ".sub" => "[sub]",
        ".at_hash" => "[hash]",
    }, @r#"
    {
      "amr": [
        "pwd"
      ],
      "at_hash": "[hash]",
      "aud": "acme-cli",
      "auth_time": "[now]",
      "email": "ada@acme.example",
      "email_verified": true,
      "exp": "[later]",
      "iat": "[now]",
      "iss": "https://auth.acme.example",
      "name": "Ada",
      "org": "acme",
      "service": "cli",
      "sid": "[sid]",
      "sub": "[sub]"
    }
    "#);
}

#[tokio::test]
async fn claims_that_were_not_asked_for_are_not_given() {
    let app = App::acme().await;
    let answer = log_in(&app, "openid read").await;
    let (_, id) = read(&app, &answer.text("id_token")).await;
    let (_, access) = read(&app, &answer.text("access_token")).await;
    for claim in ["email", "email_verified", "name", "nonce"] {
        assert!(id[claim].is_null() && access[claim].is_null(), "{claim}");
    }
}

#[tokio::test]
async fn the_services_own_lifetime_and_algorithm_hold() {
    let app = App::with(&acme_cli_with("access_token_lifetime = \"1h\"\nid_token_algorithm = \"ES256\"")).await;
    let answer = log_in(&app, "openid read").await;
    assert_eq!(answer.json()["expires_in"], 3600);
    let (header, _) = read(&app, &answer.text("id_token")).await;
    assert_eq!(header.alg, Algorithm::ES256);
    let (_, claims) = read(&app, &answer.text("access_token")).await;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[tokio::test]
async fn a_refresh_token_comes_with_its_scope_always_or_never() {
    for (settings, scope, given) in [
        ("", "read", false),
        ("", "read offline_access", true),
        ("refresh = \"always\"", "read", true),
        ("refresh = \"never\"", "read offline_access", false),
    ] {
        let app = App::with(&acme_cli_with(settings)).await;
        let token = log_in(&app, scope).await.json()["refresh_token"].as_str().map(str::to_owned);
        assert_eq!(token.is_some(), given, "{settings} {scope}");
        assert!(token.is_none_or(|token| token.starts_with("csr_")));
    }
}

#[tokio::test]
async fn tokens_are_of_what_the_person_left_ticked() {
    let app = App::acme().await;
    let device = Device::ask(&app, "openid email read deploy").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    let fields = [("scope", "deploy"), ("scope", "run"), ("mine", "yes"), ("decision", "approve")];
    browser.submit(&confirm, "/activate/confirm", &fields).await;
    let answer = device.poll().await;
    assert_eq!((answer.text("scope"), answer.json()["id_token"].is_null()), ("deploy".to_owned(), true));
    let (_, claims) = read(&app, &answer.text("access_token")).await;
    assert_eq!((&claims["scope"], claims["email"].is_null()), (&Value::from("deploy"), true));
}
