//! A real OpenID Connect issuer: npm oidc-provider.

use chrono::TimeDelta;
use countersign::clock::Clock;
use countersign::directory::provider::Provider;
use countersign::upstream::{Identity, UpstreamError, Why};
use reqwest::Client;
use serde_json::json;
use url::Url;

use crate::house::{House, REDIRECT_URI, Settings, house, with_parameter};
use crate::log;
use crate::oidc_provider::{self, OidcProvider, browser, cancel, sign_in};

/// A house, its provider, and the issuer behind it.
struct Scene {
    house: House,
    issuer: OidcProvider,
    sso: Provider,
    client: Client,
}

async fn scene(change: impl FnOnce(&mut Settings<'_>)) -> Scene {
    let (house, issuer) = (house().await, oidc_provider::start(REDIRECT_URI).await);
    let mut settings = Settings::sso(issuer.issuer());
    change(&mut settings);
    let sso = house.add_provider(&settings).await;
    Scene { house, sso, client: browser(), issuer }
}

impl Scene {
    /// Signs `account` in, up to the URL to which the browser is sent back.
    async fn callback_of(&self, account: &str) -> Url {
        let url = self.house.leave(&self.sso).await.unwrap();
        sign_in(&self.client, &url, account).await
    }

    async fn identity_of(&self, account: &str) -> Result<Identity, UpstreamError> {
        let url = self.callback_of(account).await;
        self.house.come_back(&self.sso, &url).await
    }

    async fn after_tampering(&self, with: &str) -> UpstreamError {
        self.issuer.control(json!({ "tamper": with })).await;
        self.identity_of("ada").await.unwrap_err()
    }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_person_signs_in() {
    let scene = scene(|_| {}).await;
    scene.issuer.control(json!({ "amr": ["pwd", "otp"] })).await;
    let url = scene.house.leave(&scene.sso).await.unwrap();
    assert_eq!(parameter(&url, "scope").unwrap(), "openid email profile");
    assert_eq!(parameter(&url, "code_challenge_method").unwrap(), "S256");
    assert_eq!(parameter(&url, "redirect_uri").unwrap(), REDIRECT_URI);
    assert!(parameter(&url, "nonce").is_some() && parameter(&url, "state").is_some());

    let back = sign_in(&scene.client, &url, "ada").await;
    let identity = scene.house.come_back(&scene.sso, &back).await.unwrap();
    assert_eq!(identity.subject, "ada");
    assert_eq!(identity.email.as_deref(), Some("ada@acme.example"));
    assert_eq!(identity.name.as_deref(), Some("ada"));
    assert_eq!((identity.amr, identity.second_factor), (vec!["pwd".to_owned(), "otp".to_owned()], true));
    assert!(identity.groups.is_empty(), "nobody asked for groups");
    assert!(Clock::system().now() - identity.auth_time.unwrap() < TimeDelta::minutes(1));
}

#[tokio::test]
async fn a_public_client_signs_in_and_es256_is_understood() {
    let scene = scene(|settings| {
        (settings.client_id, settings.client_secret) = (oidc_provider::PUBLIC_CLIENT_ID, None);
    })
    .await;
    assert_eq!(scene.identity_of("ada").await.unwrap().subject, "ada");
}

#[tokio::test]
async fn groups_are_asked_for_where_admission_needs_them() {
    let scene = scene(|settings| {
        (settings.admission, settings.admitted, settings.extra_scopes) = ("groups", &["ops"], &["groups", "openid"]);
    })
    .await;
    scene.issuer.control(json!({ "account": { "sub": "ada", "groups": ["everybody", "ops"] } })).await;
    let identity = scene.identity_of("ada").await.unwrap();
    assert_eq!((identity.groups, identity.email), (vec!["everybody".to_owned(), "ops".to_owned()], None));
}

#[tokio::test]
async fn only_a_verified_address_counts_however_it_is_written() {
    let scene = scene(|_| {}).await;
    let told = async |verified: serde_json::Value| {
        let account = json!({ "sub": "ada", "email": "Ada@Acme.example", "email_verified": verified });
        scene.issuer.control(json!({ "account": account })).await;
        scene.identity_of("ada").await.unwrap().email
    };
    assert_eq!(told(json!(false)).await, None);
    assert_eq!(told(json!(null)).await, None);
    assert_eq!(told(json!("false")).await, None);
    assert_eq!(told(json!("true")).await.as_deref(), Some("ada@acme.example"));
    assert_eq!(told(json!(true)).await.as_deref(), Some("ada@acme.example"));
}

#[tokio::test]
async fn an_error_answer_says_whose_turn_it_is() {
    let scene = scene(|_| {}).await;
    let url = scene.house.leave(&scene.sso).await.unwrap();
    let back = cancel(&scene.client, &url).await;
    assert_eq!(scene.house.come_back(&scene.sso, &back).await, Err(UpstreamError::Denied));

    let url = scene.house.leave(&scene.sso).await.unwrap();
    let back = sign_in(&scene.client, &with_parameter(&url, "prompt", Some("none")), "ada").await;
    let error = scene.house.come_back(&scene.sso, &back).await.unwrap_err();
    assert_eq!(error.to_string(), "the provider answered with the error login_required");
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_not_one() {
    let scene = scene(|_| {}).await;
    for iss in [Some("http://127.0.0.1:9"), Some(""), None] {
        let back = with_parameter(&scene.callback_of("ada").await, "iss", iss);
        assert!(matches!(scene.house.come_back(&scene.sso, &back).await, Err(UpstreamError::Untrusted(_))), "{iss:?}");
    }
    // Not even an error is believed of another issuer.
    let url = scene.house.leave(&scene.sso).await.unwrap();
    let back = with_parameter(&cancel(&scene.client, &url).await, "iss", Some("https://evil.example"));
    assert!(matches!(scene.house.come_back(&scene.sso, &back).await, Err(UpstreamError::Untrusted(_))));
}

#[tokio::test]
async fn an_id_token_with_another_nonce_is_of_another_sign_in() {
    let scene = scene(|_| {}).await;
    let url = with_parameter(&scene.house.leave(&scene.sso).await.unwrap(), "nonce", Some("another"));
    let back = sign_in(&scene.client, &url, "ada").await;
    let error = scene.house.come_back(&scene.sso, &back).await.unwrap_err();
    assert_eq!(error, UpstreamError::Untrusted("its id_token is of another sign-in"));
}

#[tokio::test]
async fn a_code_is_worth_nothing_in_another_round_trip() {
    let scene = scene(|_| {}).await;
    let (stolen, own) = (scene.callback_of("mallory").await, scene.callback_of("ada").await);
    let injected = with_parameter(&own, "code", parameter(&stolen, "code").as_deref());
    let error = scene.house.come_back(&scene.sso, &injected).await.unwrap_err();
    assert_eq!(error.to_string(), "the provider answered with the error invalid_grant");
}

#[tokio::test]
async fn a_tampered_token_is_not_trusted() {
    let scene = scene(|_| {}).await;
    let by_nobody = UpstreamError::Untrusted("its id_token's signature is not by one of its keys");
    assert_eq!(scene.after_tampering("signature").await, by_nobody);
    assert_eq!(scene.after_tampering("claims").await, by_nobody);
    let algorithm = scene.after_tampering("algorithm").await;
    assert_eq!(algorithm, UpstreamError::Untrusted("its id_token is signed in a way that doesn't count"));
    scene.issuer.control(json!({ "tamper": null })).await;
    assert!(scene.identity_of("ada").await.is_ok());
}

#[tokio::test]
async fn every_claim_that_binds_the_token_counts() {
    let scene = scene(|_| {}).await;
    let claiming = async |claims: serde_json::Value| {
        scene.issuer.control(json!({ "claims": claims })).await;
        scene.identity_of("ada").await
    };
    let untrusted = |why| Err(UpstreamError::Untrusted(why));
    let other = claiming(json!({ "iss": "https://evil.example" })).await;
    assert_eq!(other, untrusted("its id_token is of another issuer"));
    for audience in [json!("another"), json!(["countersign", "another"])] {
        assert_eq!(claiming(json!({ "aud": audience })).await, untrusted("its id_token is for somebody else"));
    }
    let other = claiming(json!({ "azp": "another" })).await;
    assert_eq!(other, untrusted("its id_token was issued to another client"));
    let other = claiming(json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" })).await;
    assert_eq!(other, untrusted("its access token is not the one that the id_token speaks of"));
    let missing = claiming(json!({ "exp": "soon" })).await;
    assert_eq!(missing, untrusted("its id_token is no signed token with the claims that every one has"));
    assert!(claiming(json!({ "azp": "countersign", "aud": ["countersign"], "at_hash": "right" })).await.is_ok());
}

#[tokio::test]
async fn what_the_id_token_says_of_an_address_is_not_mixed_with_userinfo() {
    let scene = scene(|_| {}).await;
    let told = async |claims: serde_json::Value| {
        scene.issuer.control(json!({ "claims": claims })).await;
        scene.identity_of("ada").await.unwrap().email
    };
    // Userinfo says that ada@acme.example is verified, which proves no other address.
    let own = Some("ada@acme.example");
    assert_eq!(told(json!({ "email": "root@acme.example" })).await.as_deref(), own);
    assert_eq!(told(json!({ "email": "root@acme.example", "email_verified": false })).await, None);
    let told = told(json!({ "email": "ada@new.example", "email_verified": true })).await;
    assert_eq!(told.as_deref(), Some("ada@new.example"));
}

#[tokio::test]
async fn a_callback_is_used_once() {
    let scene = scene(|_| {}).await;
    let back = scene.callback_of("ada").await;
    let state = parameter(&back, "state").unwrap();
    assert!(scene.house.come_back(&scene.sso, &back).await.is_ok());
    assert!(scene.house.finish("sso", &state).await.is_none());
}

#[tokio::test]
async fn keys_may_be_rotated_at_any_time() {
    let scene = scene(|_| {}).await;
    assert!(scene.identity_of("ada").await.is_ok());
    scene.issuer.control(json!({ "rotate_keys": true })).await;
    assert!(scene.identity_of("ada").await.is_ok(), "the metadata is in memory, the new key isn't");
}

#[tokio::test]
async fn what_was_discovered_is_remembered_for_an_hour() {
    let Scene { house, issuer, sso, .. } = scene(|_| {}).await;
    assert!(house.leave(&sso).await.is_ok());
    drop(issuer);
    house.advance(TimeDelta::minutes(59));
    assert!(house.leave(&sso).await.is_ok());
    house.advance(TimeDelta::minutes(1));
    assert!(matches!(house.leave(&sso).await, Err(UpstreamError::Unreachable { .. })));
}

#[tokio::test]
async fn a_sign_in_leaves_no_secret_in_the_log() {
    let scene = scene(|_| {}).await;
    let back = scene.callback_of("ada").await;
    scene.house.come_back(&scene.sso, &back).await.unwrap();
    let broken = with_parameter(&scene.callback_of("ada").await, "code", Some("a-code-of-nobody"));
    tracing::warn!(error = %scene.house.come_back(&scene.sso, &broken).await.unwrap_err(), "refused");

    let log = log::text();
    assert!(log.contains("discovered an issuer") && log.contains("invalid_grant"), "{log}");
    let (code, state) = (parameter(&back, "code").unwrap(), parameter(&back, "state").unwrap());
    for secret in [&code, &state, "a-code-of-nobody", oidc_provider::CLIENT_SECRET, "Bearer", "eyJ"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn an_expired_token_is_not_trusted() {
    let scene = scene(|_| {}).await;
    let back = scene.callback_of("ada").await;
    let state = parameter(&back, "state").unwrap();
    let finished = scene.house.finish("sso", &state).await.unwrap();
    scene.house.advance(TimeDelta::hours(2));
    let callback = crate::house::callback(&back);
    let upstream = &scene.house.upstream;
    let identity = upstream.identity(&scene.house.installation, &scene.sso, &finished.round_trip, &callback).await;
    assert_eq!(identity, Err(UpstreamError::Untrusted("its id_token is expired: are both clocks right?")));
}

#[tokio::test]
async fn wrong_settings_are_told_from_bad_luck() {
    let Scene { house, issuer, .. } = scene(|_| {}).await;
    // Nobody listens on the discard port.
    let away = house.add_provider(&Settings { slug: "away", ..Settings::sso("http://127.0.0.1:9") }).await;
    let unreachable = UpstreamError::Unreachable { host: "127.0.0.1:9".into(), why: Why::NoConnection };
    assert_eq!(house.leave(&away).await, Err(unreachable));

    let slash = format!("{}/", issuer.issuer());
    let slash = house.add_provider(&Settings { slug: "slash", ..Settings::sso(&slash) }).await;
    let error = house.leave(&slash).await.unwrap_err().to_string();
    assert!(error.contains("names another issuer"), "{error}");

    let clear = house.add_provider(&Settings { slug: "clear", ..Settings::sso("http://sso.acme.example") }).await;
    let error = house.leave(&clear).await.unwrap_err().to_string();
    assert!(error.contains("http://, which is for loopback only"), "{error}");

    let common = "https://login.microsoftonline.com/common/v2.0";
    let common = Settings { slug: "common", kind: "microsoft", ..Settings::sso(common) };
    let error = house.leave(&house.add_provider(&common).await).await.unwrap_err().to_string();
    assert!(error.contains("one tenant"), "{error}");
}

#[tokio::test]
async fn a_wrong_client_secret_is_a_fault_of_the_settings() {
    let scene = scene(|settings| settings.client_secret = Some("wrong")).await;
    let error = scene.identity_of("ada").await.unwrap_err();
    assert!(matches!(&error, UpstreamError::Misconfigured(why) if why.contains("invalid_client")), "{error}");
}
