//! Several nodes of one installation agree on everything, with nothing in common but the database, the secrets and the time.
//!
//! What happens when many come at once to several nodes is in `attacks` (guesses, passwords, one-time passwords) and in
//! `faults`, with real processes; what they tell each other, and when they can't, in `listening`.

use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode, header};
use countersign::config::Limits;
use countersign::server::Settings;
use countersign::session::signing_keys::life;
use serde_json::json;

use crate::support::actors::forwarded;
use crate::support::app::{ACME, ADA_PASSWORD, AGENT_SECRET, Answer, form_request};
use crate::support::dpop::{DeviceKey, with_proof};
use crate::support::{App, Browser, Device};

const CODE: &str = "/auth/device/code";

/// How soon a change of the directory holds at every node.
const SOON: Duration = Duration::from_secs(5);

/// [`ACME`], with refresh tokens and an API that introspects.
fn with_api() -> String {
    let api = "[[organization.service]]\nslug = \"api\"\nname = \"Acme API\"\nclient_id = \"acme-api\"\n\
               client_secret = { env = \"AGENT_SECRET\" }\nresource_server = true\n";
    ACME.replace("[[organization.provider]]", &format!("{api}\n[[organization.provider]]"))
}

/// A node with this directory, and three more of the same installation.
async fn four(toml: &str) -> [App; 4] {
    four_of(App::with(toml).await).await
}

async fn four_of(first: App) -> [App; 4] {
    let another = || Box::pin(first.another_node());
    let (second, third, fourth) = tokio::join!(another(), another(), another());
    [first, second, third, fourth]
}

async fn refresh(node: &App, token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "acme-cli")];
    node.post("/auth/token", &form).await
}

async fn is_active(node: &App, token: &str) -> bool {
    let form = [("token", token), ("client_id", "acme-api"), ("client_secret", AGENT_SECRET)];
    node.post("/auth/introspect", &form).await.json()["active"].as_bool().unwrap()
}

/// The status of the API that tells who somebody is.
async fn who(node: &App, access_token: &str) -> StatusCode {
    let request = Request::get("/auth/userinfo").header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    node.send(request.body(axum::body::Body::empty()).unwrap()).await.status
}

/// How long to let pass until a node is asked again. Each time takes six seconds of a code's fifteen minutes.
const AGAIN: Duration = Duration::from_millis(100);

/// Devices poll when their interval has passed; this one does at once, with its time.
async fn poll_at(node: &App, device: &Device<'_>) -> Answer {
    node.advance(6);
    node.send(device.poll_request()).await
}

/// What a node tells a device that was approved at another: the tokens, as soon as it has heard of it.
async fn approved_at(node: &App, device: &Device<'_>) -> Answer {
    let approved = Instant::now();
    loop {
        let told = poll_at(node, device).await;
        if told.error() != "authorization_pending" {
            assert_eq!(told.status, StatusCode::OK, "{}", told.body);
            return told;
        }
        assert!(approved.elapsed() < SOON, "still pending");
        tokio::time::sleep(AGAIN).await;
    }
}

#[tokio::test]
async fn a_session_that_is_ended_at_one_node_has_ended_at_all() {
    let nodes = four(&with_api()).await;
    let device = Device::ask(&nodes[0], "openid read offline_access").await;
    assert_eq!(poll_at(&nodes[2], &device).await.error(), "authorization_pending");
    Browser::new(&nodes[1]).approve_code(&device.user_code).await;
    let tokens = approved_at(&nodes[2], &device).await;
    let access_token = tokens.text("access_token");
    let mut refresh_token = tokens.text("refresh_token");
    for node in &nodes {
        assert!(is_active(node, &access_token).await && who(node, &access_token).await == StatusCode::OK);
        // Each refreshes what the one before it gave.
        refresh_token = refresh(node, &refresh_token).await.text("refresh_token");
    }

    let form = [("token", refresh_token.as_str()), ("client_id", "acme-cli")];
    assert_eq!(nodes[3].post("/auth/revoke", &form).await.status, StatusCode::OK);
    for node in &nodes {
        assert!(!is_active(node, &access_token).await);
        assert_eq!(who(node, &access_token).await, StatusCode::UNAUTHORIZED);
        assert_eq!(refresh(node, &refresh_token).await.error(), "invalid_grant");
    }
}

#[tokio::test]
async fn a_key_that_one_node_made_is_published_by_the_others_before_it_signs() {
    let nodes = four(ACME).await;
    let published = async |node: &App| node.get("/.well-known/jwks.json").await.body;
    let mut conn = nodes[0].installation.pool.acquire().await.unwrap();
    let from = nodes[0].installation.clock.now() + chrono::TimeDelta::minutes(10);
    let made = life::rotate(&mut conn, &nodes[0].installation, from).await.unwrap();
    // What each does every minute.
    for node in &nodes {
        node.signing_keys.reload(&node.installation).await.unwrap();
    }
    let keys = published(&nodes[0]).await;
    assert!(!made.is_empty() && made.iter().all(|kid| keys.contains(kid)), "{keys}");
    nodes[0].advance(11 * 60);

    let device = Device::ask(&nodes[0], "openid read").await;
    Browser::new(&nodes[1]).approve_code(&device.user_code).await;
    let token = approved_at(&nodes[0], &device).await.text("access_token");
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    assert!(made.contains(&kid), "the new one signs");
    for node in &nodes {
        assert_eq!(published(node).await, keys);
        assert_eq!(who(node, &token).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn guesses_at_one_node_are_spent_at_all() {
    let nodes = four(ACME).await;
    let device = Device::ask(&nodes[0], "read").await;
    let verify = async |node: &App, code: &str| {
        node.send(forwarded("198.51.100.1", form_request("/auth/device/verify", &[("user_code", code)]))).await.status
    };
    for n in 0..30 {
        assert_eq!(verify(&nodes[n % 4], "BCDF-GHJK").await, StatusCode::BAD_REQUEST, "{n}");
    }
    for node in &nodes {
        assert_eq!(verify(node, &device.user_code).await, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test]
async fn tries_at_a_password_are_counted_together() {
    let nodes = four(ACME).await;
    let device = Device::ask(&nodes[0], "read").await;
    let mut browser = Browser::new(&nodes[0]);
    let page = browser.enter(&device.user_code).await;
    for n in 0..5 {
        let again = browser.at_node(&nodes[n % 4]).sign_in(&page, "ada@acme.example", "wrong").await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST, "{n}: {}", again.text());
    }
    for node in &nodes {
        let told = browser.at_node(node).sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
        assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS, "{}", told.text());
    }
}

#[tokio::test]
async fn a_browser_is_signed_in_at_all_nodes_and_out_of_all() {
    let nodes = four(ACME).await;
    let device = Device::ask(&nodes[0], "read").await;
    let mut browser = Browser::new(&nodes[0]);
    // Every form of one walk goes to another node than its page came from.
    let page = browser.enter(&device.user_code).await;
    let mut browser = browser.at_node(&nodes[1]);
    let confirm = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    let mut browser = browser.at_node(&nodes[2]);
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    approved_at(&nodes[3], &device).await;

    let device = Device::ask(&nodes[3], "read").await;
    let mut elsewhere = browser.at_node(&nodes[3]);
    let confirm = elsewhere.enter(&device.user_code).await;
    assert_eq!(confirm.path, "/activate/confirm", "still signed in: {}", confirm.text());
    let before = elsewhere.clone();
    elsewhere.sign_out(&confirm).await;
    for node in &nodes {
        let page = before.at_node(node).open("/activate/confirm").await;
        assert_ne!(page.path, "/activate/confirm", "the old cookie: {}", page.text());
    }
}

#[tokio::test]
async fn open_codes_of_an_address_and_of_a_client_are_counted_together() {
    let limits = Limits { live_codes_per_address: 4, live_codes_per_client: 8, ..Limits::default() };
    let nodes = four_of(App::with_settings(ACME, Settings { limits, ..Settings::default() }).await).await;
    let ask = async |node: &App, address: &str| {
        node.send(forwarded(address, form_request(CODE, &[("client_id", "acme-cli")]))).await
    };
    for node in &nodes {
        assert_eq!(ask(node, "198.51.100.1").await.status, StatusCode::OK);
    }
    // What others made is counted within two seconds, and by whoever asks after a clock has jumped.
    nodes[0].advance(16);
    for node in &nodes {
        let refused = ask(node, "198.51.100.1").await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
    }
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(ask(node, &format!("203.0.113.{n}")).await.status, StatusCode::OK);
        node.advance(16);
    }
    for node in &nodes {
        let refused = ask(node, "203.0.113.9").await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
        assert!(refused.text("error_description").contains("of this client"), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_proof_is_good_once_at_all_nodes_and_a_nonce_of_one_at_the_others() {
    let nodes = four(&ACME.replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\ndpop = \"required\"")).await;
    let key = DeviceKey::new();
    let ask = async |node: &App, proof: &str| {
        node.send(with_proof(form_request(CODE, &[("client_id", "acme-cli")]), proof)).await
    };
    let asked = ask(&nodes[0], &key.proof(&nodes[0], CODE)).await;
    assert_eq!(asked.error(), "use_dpop_nonce", "{}", asked.body);
    let nonce = json!({"nonce": asked.header("dpop-nonce").unwrap()});
    let proof = key.proof_with(&nodes[0], CODE, json!({}), nonce);
    assert_eq!(ask(&nodes[1], &proof).await.status, StatusCode::OK);
    for node in &nodes {
        let refused = ask(node, &proof).await;
        assert_eq!(refused.error(), "invalid_dpop_proof");
        assert!(refused.text("error_description").contains("used before"), "{}", refused.body);
    }
}

/// Applies a directory at the first node: within a second, polls of this device are told so at all of them.
async fn applied_at_one_told_at_all(nodes: &[App; 4], toml: &str, error: &str) {
    let device = Device::ask(&nodes[0], "read").await;
    for node in nodes {
        // The second one is of what it remembers.
        for _ in 0..2 {
            assert_eq!(poll_at(node, &device).await.error(), "authorization_pending");
        }
    }
    nodes[0].apply(toml).await;
    let applied = Instant::now();
    for node in nodes {
        loop {
            let told = poll_at(node, &device).await;
            if told.error() == error {
                break;
            }
            assert!(applied.elapsed() < SOON, "still told: {}", told.body);
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_applied_at_one_node_holds_at_all_within_a_second() {
    let nodes = four(ACME).await;
    let off = ACME.replacen("device_login = true", "device_login = false", 1);
    applied_at_one_told_at_all(&nodes, &off, "unauthorized_client").await;

    let nodes = four(ACME).await;
    applied_at_one_told_at_all(&nodes, &ACME.replace("acme-cli", "acme-tool"), "invalid_client").await;
    for node in &nodes {
        assert_eq!(node.post(CODE, &[("client_id", "acme-tool")]).await.status, StatusCode::OK);
        assert_eq!(node.post(CODE, &[("client_id", "acme-cli")]).await.error(), "invalid_client");
    }
}

#[tokio::test]
async fn an_organization_that_is_suspended_at_one_node_is_shut_at_all_within_a_second() {
    let nodes = four(ACME).await;
    let suspended = ACME.replacen("name = \"Acme\"", "name = \"Acme\"\nstatus = \"suspended\"", 1);
    applied_at_one_told_at_all(&nodes, &suspended, "unauthorized_client").await;
    for node in &nodes {
        assert_eq!(node.post(CODE, &[("client_id", "acme-cli")]).await.error(), "unauthorized_client");
    }
}
