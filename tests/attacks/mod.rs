//! One file per attack: its name, what the attacker has, and what must happen. `docs/security.md` maps the threats of
//! RFC 8628 §5 and the mitigations of RFC 10027 to these files.

mod another_host;
mod approved_by_deception;
mod callback_from_another_connector;
mod clickjacking;
mod code_bound_to_no_approver;
mod code_in_a_link;
mod denied_then_approved;
mod device_code_of_another_client;
mod device_token_approves_device;
mod endless_headers;
mod expired_user_code;
mod flood_of_sign_ins;
mod forged_decision;
mod guessing_one_time_passwords;
mod guessing_user_codes;
mod inner_network;
mod link_scanner;
mod lying_proxy_headers;
mod mixed_up_account;
mod open_redirect;
mod oversized_requests;
mod panicking_handler;
mod password_spraying;
mod racing;
mod replayed_device_code;
mod rewriting_the_audit;
mod session_fixation;
mod session_spying;
mod slow_client;
mod stale_proof;
mod stolen_device_code;
mod stolen_refresh_token;
mod stripped_tls;

use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};

use crate::support::app::Answer;
use crate::support::{App, Browser, Device, Page};

/// The pages of a walk.
const PAGES: [&str; 5] = ["/activate", "/activate/sign-in", "/activate/mfa", "/activate/confirm", "/activate/done"];

const ADA: &str = "ada@acme.example";
const BOB: &str = "bob@acme.example";

/// A device of Ada's, and her browser before her decision about it.
async fn before_the_decision(app: &App) -> (Device<'_>, Browser<'_>, Page) {
    let device = Device::ask(app, "read email").await;
    let mut browser = Browser::new(app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!((confirm.path.as_str(), confirm.status), ("/activate/confirm", StatusCode::OK), "{}", confirm.html);
    (device, browser, confirm)
}

/// The tokens of a device that Ada signed in.
async fn tokens(app: &App, scope: &str) -> Answer {
    let device = Device::ask(app, scope).await;
    Browser::new(app).approve_code(&device.user_code).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    tokens
}

/// Where every login stands, in the order of the alphabet.
async fn states(app: &App) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM device_grant ORDER BY state").fetch_all(&app.installation.pool).await.unwrap()
}

/// How often the audit has an event of this kind.
async fn audited(app: &App, kind: &str) -> i64 {
    app.audit().await.get(kind).copied().unwrap_or_default()
}

#[test]
fn the_security_document_names_every_attack_and_no_test_that_is_gone() {
    let (document, here) = (include_str!("../../docs/security.md"), Path::new(env!("CARGO_MANIFEST_DIR")));
    let attacks = std::fs::read_dir(here.join("tests/attacks")).unwrap();
    for name in attacks.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name != "mod.rs") {
        assert!(document.contains(&format!("`tests/attacks/{name}`")), "docs/security.md doesn't name {name}");
    }
    for named in document.split('`').filter(|code| code.starts_with("tests/")) {
        assert!(here.join(named).exists(), "docs/security.md names {named}");
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// The same request with one more header.
fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
    request.headers_mut().insert(HeaderName::from_static(name), value);
    request
}
