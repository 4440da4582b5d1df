//! Logins that are bound to a device's key (RFC 9449), from the request of a code to the last refresh.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use countersign::directory::service::client_secret_mac;
use countersign::secrets::SecretText;
use serde_json::{Value, json};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::{app, introspect};
use crate::support::app::{ACME, AGENT_SECRET, Answer, form_request};
use crate::support::dpop::{DeviceKey, ath, claims, with_proof};
use crate::support::{App, Browser, Device};

const TOKEN: &str = "/auth/token";
const CODE: &str = "/auth/device/code";

/// A code asked for, as a client and with a key, if any.
struct Login<'a> {
    app: &'a App,
    client: &'static [(&'static str, &'static str)],
    device_code: String,
    user_code: String,
}

const CLI: &[(&str, &str)] = &[("client_id", "acme-cli")];
const AGENT: &[(&str, &str)] = &[("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)];

impl<'a> Login<'a> {
    async fn ask(app: &'a App, client: &'static [(&'static str, &'static str)], key: Option<&DeviceKey>) -> Self {
        let form: Vec<(&str, &str)> = client.iter().copied().chain([("scope", "openid offline_access")]).collect();
        let answer = send(app, form_request(CODE, &form), key.map(|key| key.proof(app, CODE))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        Self { app, client, device_code: answer.text("device_code"), user_code: answer.text("user_code") }
    }

    fn request(&self) -> Request<Body> {
        let mut form = vec![("grant_type", "urn:ietf:params:oauth:grant-type:device_code")];
        form.push(("device_code", &self.device_code));
        form.extend(self.client);
        form_request(TOKEN, &form)
    }

    async fn poll(&self, key: Option<&DeviceKey>) -> Answer {
        send(self.app, self.request(), key.map(|key| key.proof(self.app, TOKEN))).await
    }

    async fn approve(&self) {
        Browser::new(self.app).approve_code(&self.user_code).await;
    }

    async fn refresh(&self, token: &str, key: Option<&DeviceKey>) -> Answer {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        form.extend(self.client);
        send(self.app, form_request(TOKEN, &form), key.map(|key| key.proof(self.app, TOKEN))).await
    }
}

async fn send(app: &App, request: Request<Body>, proof: Option<String>) -> Answer {
    app.send(match proof {
        Some(proof) => with_proof(request, &proof),
        None => request,
    })
    .await
}

/// A whole login, bound to this key.
async fn bound<'a>(app: &'a App, key: &DeviceKey) -> (Login<'a>, Answer) {
    let login = Login::ask(app, CLI, Some(key)).await;
    login.approve().await;
    let tokens = login.poll(Some(key)).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    (login, tokens)
}

async fn userinfo(app: &App, scheme: &str, token: &str, proof: Option<String>) -> Answer {
    let request = Request::get("/auth/userinfo").header("authorization", format!("{scheme} {token}"));
    send(app, request.body(Body::empty()).unwrap(), proof).await
}

fn bound_to(tokens: &Answer) -> (Value, Value) {
    (tokens.json()["token_type"].clone(), claims(&tokens.text("access_token"))["cnf"]["jkt"].clone())
}

#[tokio::test]
async fn a_bound_login_needs_its_key_at_every_step() {
    let app = app().await;
    let (key, other) = (DeviceKey::new(), DeviceKey::new());
    let login = Login::ask(&app, CLI, Some(&key)).await;
    assert_eq!(login.poll(Some(&key)).await.error(), "authorization_pending");
    assert_eq!(login.poll(Some(&other)).await.error(), "invalid_grant");
    assert_eq!(login.poll(None).await.error(), "invalid_dpop_proof");
    login.approve().await;
    assert_eq!(login.poll(Some(&other)).await.error(), "invalid_grant");
    assert_eq!(login.poll(None).await.error(), "invalid_dpop_proof");
    // None of that has used the code up.
    let tokens = login.poll(Some(&key)).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let expected = (json!("DPoP"), json!(key.thumbprint()));
    assert_eq!(bound_to(&tokens), expected);
    assert_eq!(claims(&tokens.text("id_token")).get("cnf"), None);

    let token = tokens.text("refresh_token");
    assert_eq!(login.refresh(&token, None).await.error(), "invalid_dpop_proof");
    assert_eq!(login.refresh(&token, Some(&other)).await.error(), "invalid_grant");
    let next = login.refresh(&token, Some(&key)).await;
    assert_eq!((next.status, bound_to(&next)), (StatusCode::OK, expected.clone()), "{}", next.body);
    app.advance(31);
    // The old one is known to be old only to whoever has the key.
    assert_eq!(login.refresh(&token, Some(&other)).await.error(), "invalid_grant");
    let next = login.refresh(&next.text("refresh_token"), Some(&key)).await;
    assert_eq!((next.status, bound_to(&next)), (StatusCode::OK, expected), "{}", next.body);
    assert_eq!(login.refresh(&token, Some(&key)).await.error(), "invalid_grant");
    assert_eq!(app.audit().await["reuse_detected"], 1);
}

#[tokio::test]
async fn a_proof_is_good_for_one_poll() {
    let app = app().await;
    let key = DeviceKey::new();
    let login = Login::ask(&app, CLI, Some(&key)).await;
    let proof = key.proof(&app, TOKEN);
    assert_eq!(send(&app, login.request(), Some(proof.clone())).await.error(), "authorization_pending");
    assert_eq!(send(&app, login.request(), Some(proof.clone())).await.error(), "invalid_dpop_proof");
    login.approve().await;
    assert_eq!(send(&app, login.request(), Some(proof)).await.error(), "invalid_dpop_proof");
    let for_another_address = key.proof(&app, CODE);
    assert_eq!(send(&app, login.request(), Some(for_another_address)).await.error(), "invalid_dpop_proof");
    let polls = (0..16).map(|_| login.poll(Some(&key)));
    let answers = futures_util::future::join_all(polls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK || answer.error() == "invalid_grant"));
}

#[tokio::test]
async fn a_held_poll_uses_its_proof_once_and_gets_its_tokens() {
    let app = app().await;
    let key = DeviceKey::new();
    let login = Login::ask(&app, CLI, Some(&key)).await;
    let mut request = with_proof(login.request(), &key.proof(&app, TOKEN));
    request.headers_mut().insert("prefer", "wait=20".parse().unwrap());
    let (tokens, ()) = tokio::join!(app.send(request), login.approve());
    assert_eq!((tokens.status, bound_to(&tokens).0), (StatusCode::OK, json!("DPoP")), "{}", tokens.body);
}

#[tokio::test]
async fn while_the_database_is_away_a_poll_is_pending_whatever_its_proof() {
    let app = app().await;
    let key = DeviceKey::new();
    let login = Login::ask(&app, CLI, Some(&key)).await;
    app.installation.pool.close().await;
    for proof in [Some(key.proof(&app, TOKEN)), Some("nonsense".to_owned()), None] {
        let answer = send(&app, login.request(), proof).await;
        assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, "authorization_pending"));
        assert!(answer.header("www-authenticate").is_none() && answer.header("retry-after").is_none());
    }
}

#[tokio::test]
async fn a_login_that_was_bound_to_none_is_bound_to_the_key_that_comes_for_it() {
    let app = app().await;
    let (key, other) = (DeviceKey::new(), DeviceKey::new());
    let login = Login::ask(&app, CLI, None).await;
    login.approve().await;
    let tokens = login.poll(Some(&key)).await;
    assert_eq!(bound_to(&tokens), (json!("DPoP"), json!(key.thumbprint())));
    assert_eq!(login.refresh(&tokens.text("refresh_token"), None).await.error(), "invalid_dpop_proof");
    // And one whose tokens were plain at first, at a refresh.
    let login = Login::ask(&app, CLI, None).await;
    login.approve().await;
    let tokens = login.poll(None).await;
    assert_eq!(bound_to(&tokens), (json!("Bearer"), Value::Null));
    let next = login.refresh(&tokens.text("refresh_token"), Some(&key)).await;
    assert_eq!(bound_to(&next), (json!("DPoP"), json!(key.thumbprint())));
    let token = next.text("refresh_token");
    assert_eq!(login.refresh(&token, Some(&other)).await.error(), "invalid_grant");
    assert_eq!(login.refresh(&token, None).await.error(), "invalid_dpop_proof");
    assert_eq!(login.refresh(&token, Some(&key)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_confidential_client_may_change_keys_but_not_do_without() {
    let app = app().await;
    let (key, other) = (DeviceKey::new(), DeviceKey::new());
    let login = Login::ask(&app, AGENT, Some(&key)).await;
    login.approve().await;
    assert_eq!(login.poll(Some(&other)).await.error(), "invalid_grant");
    let tokens = login.poll(Some(&key)).await;
    assert_eq!(bound_to(&tokens).1, json!(key.thumbprint()), "{}", tokens.body);
    let token = tokens.text("refresh_token");
    assert_eq!(login.refresh(&token, None).await.error(), "invalid_dpop_proof");
    assert_eq!(bound_to(&login.refresh(&token, Some(&other)).await).1, json!(other.thumbprint()));
}

#[tokio::test]
async fn userinfo_takes_a_bound_token_with_its_key_only() {
    let app = app().await;
    let (key, other) = (DeviceKey::new(), DeviceKey::new());
    let token = bound(&app, &key).await.1.text("access_token");
    let path = "/auth/userinfo";
    let proof =
        |key: &DeviceKey, of: &str| Some(key.proof_with(&app, path, json!({}), json!({"htm": "GET", "ath": ath(of)})));
    let good = proof(&key, &token);
    let answer = userinfo(&app, "DPoP", &token, good.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(answer.header("dpop-nonce").is_some());
    let without_hash = Some(key.proof_with(&app, path, json!({}), json!({"htm": "GET"})));
    let posted = Some(key.proof_with(&app, path, json!({}), json!({"ath": ath(&token)})));
    for (scheme, proof, error) in [
        ("DPoP", good, "invalid_dpop_proof"),
        ("DPoP", None, "invalid_dpop_proof"),
        ("DPoP", without_hash, "invalid_dpop_proof"),
        ("DPoP", posted, "invalid_dpop_proof"),
        ("DPoP", proof(&key, "another token"), "invalid_dpop_proof"),
        ("DPoP", proof(&other, &token), "invalid_token"),
        ("Bearer", None, "invalid_token"),
        ("Bearer", proof(&key, &token), "invalid_token"),
    ] {
        let answer = userinfo(&app, scheme, &token, proof).await;
        assert_eq!((answer.status, answer.error().as_str()), (StatusCode::UNAUTHORIZED, error), "{}", answer.body);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("DPoP ") && challenge.contains(error) && challenge.contains("ES256"),
            "{challenge}"
        );
    }
    let plain = Device::ask(&app, "openid").await;
    Browser::new(&app).approve_code(&plain.user_code).await;
    let plain = plain.poll().await.text("access_token");
    assert_eq!(userinfo(&app, "Bearer", &plain, None).await.status, StatusCode::OK);
    let answer = userinfo(&app, "DPoP", &plain, proof(&key, &plain)).await;
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_token"));
}

#[tokio::test]
async fn an_api_learns_to_which_key_a_token_is_bound() {
    let app = app().await;
    let key = DeviceKey::new();
    let tokens = bound(&app, &key).await.1;
    let of_access_token = introspect(&app, &tokens.text("access_token")).await.json();
    assert_eq!(of_access_token["token_type"], "DPoP");
    assert_eq!(of_access_token["cnf"], json!({"jkt": key.thumbprint()}));
    assert_eq!(introspect(&app, &tokens.text("refresh_token")).await.json()["cnf"]["jkt"], json!(key.thumbprint()));
    let plain = super::log_in(&app, "read").await;
    let of_plain = introspect(&app, &plain.text("access_token")).await.json();
    assert_eq!((&of_plain["token_type"], of_plain.get("cnf")), (&json!("Bearer"), None));
}

/// [`ACME`] with a policy for `acme-cli`.
fn with_policy(policy: &str) -> String {
    ACME.replace("client_id = \"acme-cli\"", &format!("client_id = \"acme-cli\"\ndpop = \"{policy}\""))
}

/// Changes a service in a way of which no node ever hears.
async fn unheard(app: &App, change: Query<'_, Postgres, PgArguments>) {
    let owner = app.owner();
    sqlx::query("ALTER TABLE service DISABLE TRIGGER service_notify").execute(&owner).await.unwrap();
    assert_ne!(change.execute(&owner).await.unwrap().rows_affected(), 0);
    owner.close().await;
}

#[tokio::test]
async fn a_refresh_goes_by_what_its_service_is_now() {
    let logged_in = async |app: &App, client| {
        let login = Login::ask(app, client, None).await;
        login.approve().await;
        let tokens = login.poll(None).await;
        app.until_known(client[0].1).await;
        tokens.text("refresh_token")
    };
    let form = |client: &'static [(&'static str, &'static str)], token: &str| {
        let fields = [&[("grant_type", "refresh_token"), ("refresh_token", token)], client].concat();
        form_request(TOKEN, &fields)
    };
    for (client, sql, error) in [
        (CLI, "UPDATE service SET dpop = 'required'", "invalid_dpop_proof"),
        (CLI, "UPDATE service SET refresh = 'never'", "invalid_grant"),
        (AGENT, "UPDATE service SET client_secret_mac = '\\x00' WHERE client_id = 'acme-agent'", "invalid_client"),
    ] {
        let app = App::acme().await;
        let token = logged_in(&app, client).await;
        unheard(&app, sqlx::query(sql)).await;
        assert_eq!(app.send(form(client, &token)).await.error(), error, "{sql}");
        assert_eq!(app.audit().await.get("refreshed"), None);
    }
    let app = App::acme().await;
    let token = logged_in(&app, CLI).await;
    unheard(&app, sqlx::query("UPDATE service SET access_token_lifetime_seconds = 60")).await;
    assert_eq!(app.send(form(CLI, &token)).await.json()["expires_in"], 60);

    // A secret is not refused because it is too new.
    let app = App::acme().await;
    let token = logged_in(&app, AGENT).await;
    let secret = "another-secret-of-the-tests-and-nobody-else";
    let mac = client_secret_mac(&app.installation.keyring, "acme-agent", &SecretText::from(secret));
    let change = sqlx::query("UPDATE service SET client_secret_mac = $1 WHERE client_id = 'acme-agent'").bind(mac);
    unheard(&app, change).await;
    assert_eq!(app.send(form(AGENT, &token)).await.error(), "invalid_client");
    let renewed =
        form(&[("client_id", "acme-agent"), ("client_secret", "another-secret-of-the-tests-and-nobody-else")], &token);
    assert_eq!(app.send(renewed).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_token_comes_by_what_a_service_asked_before_its_change_was_heard_of() {
    for (client, sql, error) in [
        (CLI, "UPDATE service SET dpop = 'required'", "invalid_dpop_proof"),
        (AGENT, "UPDATE service SET client_secret_mac = '\\x00' WHERE client_id = 'acme-agent'", "invalid_client"),
    ] {
        let app = App::acme().await;
        let login = Login::ask(&app, client, None).await;
        login.approve().await;
        app.until_known(client[0].1).await;
        unheard(&app, sqlx::query(sql)).await;
        assert_eq!(login.poll(None).await.error(), "authorization_pending", "{sql}");
        assert_eq!(login.poll(None).await.error(), error, "{sql}");
        assert_eq!(app.audit().await.get("redeemed"), None);
    }
}

#[tokio::test]
async fn a_service_that_requires_keys_wants_a_nonce_at_every_step() {
    let app = App::with(&with_policy("off")).await;
    let key = DeviceKey::new();
    let unbound = Login::ask(&app, CLI, Some(&key)).await;
    unbound.approve().await;
    let tokens = unbound.poll(Some(&key)).await;
    assert_eq!(bound_to(&tokens), (json!("Bearer"), Value::Null));
    assert_eq!(send(&app, unbound.request(), Some("nonsense".into())).await.error(), "invalid_grant");
    let pending = Login::ask(&app, CLI, None).await;
    pending.approve().await;

    app.apply(&with_policy("required")).await;
    assert_eq!(unbound.refresh(&tokens.text("refresh_token"), None).await.error(), "invalid_dpop_proof");
    assert_eq!(pending.poll(None).await.error(), "invalid_dpop_proof");
    let asked = pending.poll(Some(&key)).await;
    assert_eq!((asked.status, asked.error().as_str()), (StatusCode::BAD_REQUEST, "use_dpop_nonce"));
    assert!(asked.header("www-authenticate").is_none());
    let with_nonce = |path: &str, more: Value| {
        let mut claims = json!({"nonce": asked.header("dpop-nonce").unwrap()});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(key.proof_with(&app, path, json!({}), claims))
    };
    let tokens = send(&app, pending.request(), with_nonce(TOKEN, json!({}))).await;
    assert_eq!(bound_to(&tokens), (json!("DPoP"), json!(key.thumbprint())), "{}", tokens.body);
    assert_eq!(pending.refresh(&tokens.text("refresh_token"), Some(&key)).await.error(), "use_dpop_nonce");

    let token = tokens.text("access_token");
    let proof = Some(key.proof_with(&app, "/auth/userinfo", json!({}), json!({"htm": "GET", "ath": ath(&token)})));
    let answer = userinfo(&app, "DPoP", &token, proof).await;
    assert_eq!((answer.status, answer.error().as_str()), (StatusCode::UNAUTHORIZED, "use_dpop_nonce"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("DPoP ") && answer.header("dpop-nonce").is_some());
    let proof = with_nonce("/auth/userinfo", json!({"htm": "GET", "ath": ath(&token)}));
    assert_eq!(userinfo(&app, "DPoP", &token, proof).await.status, StatusCode::OK);

    // Switched off, it binds no more logins; those that are bound stay so.
    app.apply(&with_policy("off")).await;
    let token = tokens.text("refresh_token");
    assert_eq!(pending.refresh(&token, None).await.error(), "invalid_dpop_proof");
    assert_eq!(bound_to(&pending.refresh(&token, Some(&key)).await).0, json!("DPoP"));
}
