//! **A stolen refresh token** (RFC 9700 §4.14): the attacker goes on with somebody's session.
//!
//! The attacker has: a refresh token, copied from the device's disk. Perhaps they are faster than the device, perhaps not.
//!
//! What must happen: it can't be used from two places for long. Whoever comes second with a token that was replaced ends
//! the session for both. A token that is bound to a key, or is another client's, is worth nothing at all.

use axum::http::StatusCode;

use super::{audited, tokens};
use crate::support::app::{AGENT_SECRET, Answer, form_request};
use crate::support::dpop::{DeviceKey, with_proof};
use crate::support::{App, Browser};

const CLI: (&str, &str) = ("client_id", "acme-cli");

async fn refresh(app: &App, token: &str) -> Answer {
    app.post("/auth/token", &[("grant_type", "refresh_token"), ("refresh_token", token), CLI]).await
}

#[tokio::test]
async fn whoever_comes_second_ends_the_session_for_both() {
    // The order in which the two come, thief and owner, doesn't matter: the server can't tell them apart.
    for rounds in [1, 3] {
        let app = App::acme().await;
        let stolen = tokens(&app, "read offline_access").await.text("refresh_token");
        let mut current = stolen.clone();
        for _ in 0..rounds {
            current = refresh(&app, &current).await.text("refresh_token");
            app.advance(31);
        }
        let late = refresh(&app, &stolen).await;
        assert_eq!((late.status, late.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        let ended = refresh(&app, &current).await;
        assert_eq!(ended.error(), "invalid_grant");
        assert!(ended.text("error_description").contains("signed out"), "the owner is told: {}", ended.body);
        assert_eq!(audited(&app, "reuse_detected").await, 1);
    }
}

#[tokio::test]
async fn within_the_time_of_a_lost_answer_there_is_one_successor_and_no_branch() {
    let app = App::acme().await;
    let stolen = tokens(&app, "read offline_access").await.text("refresh_token");
    let owners = refresh(&app, &stolen).await.text("refresh_token");
    let thiefs = refresh(&app, &stolen).await.text("refresh_token");
    assert_eq!(owners, thiefs, "two hands, one token: the next use by both ends it");
    app.advance(31);
    let next = refresh(&app, &owners).await.text("refresh_token");
    app.advance(31);
    assert_eq!(refresh(&app, &thiefs).await.error(), "invalid_grant");
    assert_eq!(refresh(&app, &next).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_token_is_its_own_clients_and_nobody_elses() {
    let app = App::acme().await;
    let token = tokens(&app, "read offline_access").await.text("refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", "acme-agent"),
        ("client_secret", AGENT_SECRET),
    ];
    assert_eq!(app.post("/auth/token", &form).await.error(), "invalid_grant");
    assert_eq!(refresh(&app, "csr_AAAA").await.error(), "invalid_grant");
    assert_eq!(refresh(&app, &token).await.status, StatusCode::OK, "nothing was used up by it");
}

#[tokio::test]
async fn a_bound_token_needs_its_key() {
    let app = App::acme().await;
    let (key, thiefs) = (DeviceKey::new(), DeviceKey::new());
    let ask = form_request("/auth/device/code", &[CLI, ("scope", "read offline_access")]);
    let codes = app.send(with_proof(ask, &key.proof(&app, "/auth/device/code"))).await;
    Browser::new(&app).approve_code(&codes.text("user_code")).await;
    let device_code = codes.text("device_code");
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let poll = form_request("/auth/token", &[grant_type, ("device_code", &device_code), CLI]);
    let token = app.send(with_proof(poll, &key.proof(&app, "/auth/token"))).await.text("refresh_token");

    let request = || form_request("/auth/token", &[("grant_type", "refresh_token"), ("refresh_token", &token), CLI]);
    assert_eq!(app.send(request()).await.error(), "invalid_dpop_proof");
    let proof = thiefs.proof(&app, "/auth/token");
    assert_eq!(app.send(with_proof(request(), &proof)).await.error(), "invalid_grant");
    let proof = key.proof(&app, "/auth/token");
    assert_eq!(app.send(with_proof(request(), &proof)).await.status, StatusCode::OK);
    assert_eq!(app.send(with_proof(request(), &proof)).await.error(), "invalid_dpop_proof", "a proof is good once");
    assert_eq!(audited(&app, "reuse_detected").await, 0);
}
