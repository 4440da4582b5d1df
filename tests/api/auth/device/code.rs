//! `POST /auth/device/code`: what a device gets, and when it gets nothing (SPEC §2.2).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use countersign::device::codes::{ALPHABET, Length, UserCode};
use countersign::ids::GrantId;
use countersign::secrets::{Random, from_base64url};
use insta::assert_json_snapshot;

use crate::api::{acme_cli_with, is_refused};
use crate::support::app::{ACME, Answer};
use crate::support::{App, Device, database};

async fn ask(app: &App, form: &[(&str, &str)]) -> Answer {
    let mut form = form.to_vec();
    form.push(("client_id", "acme-cli"));
    app.post("/auth/device/code", &form).await
}

async fn ask_with(settings: &str) -> Answer {
    ask(&App::with(&acme_cli_with(settings)).await, &[]).await
}

/// Hides a user code that is one, grouped and in the right letters.
fn hide(text: &str) -> String {
    let is_letter = |sign: char| u8::try_from(sign).is_ok_and(|byte| ALPHABET.contains(&byte));
    let (before, code) = text.split_at(text.len() - 9);
    let (first, second) = code.split_once('-').unwrap();
    assert!(first.len() == 4 && second.len() == 4 && first.chars().chain(second.chars()).all(is_letter), "{text}");
    format!("{before}[code]")
}

#[tokio::test]
async fn a_device_gets_its_codes() {
    let app = App::acme().await;
    let answer = ask(&app, &[("scope", "read")]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let code = answer.text("device_code");
    let secret = from_base64url(code.strip_prefix("csd_").unwrap()).unwrap();
    assert!(secret.len() - 16 >= 32, "256 bits that nobody can guess");
    assert!(answer.text("verification_uri_complete").ends_with(&answer.text("user_code")));
    let hide = || insta::dynamic_redaction(|value, _path| hide(value.as_str().unwrap()));
    assert_json_snapshot!(answer.json(), {
        ".device_code" => "[device code]",
        ".user_code" => hide(),
        ".verification_uri_complete" => hide(),
    }, @r#"
    {
      "device_code": "[device code]",
      "expires_in": 900,
      "interval": 5,
      "user_code": "[code]",
      "verification_uri": "https://auth.acme.example/activate",
      "verification_uri_complete": "https://auth.acme.example/activate?user_code=[code]"
    }
    "#);
    assert_eq!(app.audit().await["requested"], 1);
}

#[tokio::test]
async fn lifetime_and_interval_are_the_services() {
    let answer = ask_with("code_lifetime = \"5m\"\ninterval = 2").await.json();
    assert_eq!((answer["expires_in"].as_u64(), answer["interval"].as_u64()), (Some(300), Some(2)));
}

#[tokio::test]
async fn the_code_stands_in_a_link_only_where_the_service_allows_it() {
    let answer = ask_with("prefill = false").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.json().as_object().unwrap().contains_key("verification_uri_complete"), "{}", answer.body);
}

#[tokio::test]
async fn an_organizations_own_page_is_where_people_are_sent() {
    for (page, complete) in [
        ("https://console.acme.example/device", "https://console.acme.example/device?user_code="),
        ("https://console.acme.example/?go=device", "https://console.acme.example/?go=device&user_code="),
    ] {
        let answer = ask_with(&format!("activation_uri = \"{page}\"")).await;
        assert_eq!(answer.text("verification_uri"), page);
        assert_eq!(answer.text("verification_uri_complete"), format!("{complete}{}", answer.text("user_code")));
    }
}

#[tokio::test]
async fn org_and_service_are_the_clients_own_when_they_are_given() {
    let app = App::acme().await;
    for right in [&[("org", "acme")][..], &[("service", "cli")], &[("org", "acme"), ("service", "cli")]] {
        assert_eq!(ask(&app, right).await.status, StatusCode::OK);
    }
    for wrong in [&[("org", "platform")][..], &[("service", "agent")], &[("org", "acme"), ("service", "nothing")]] {
        is_refused(&ask(&app, wrong).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn scopes_are_those_of_the_service_and_the_default_ones_when_none_is_asked() {
    let app = App::acme().await;
    for scope in ["admin", "read admin", "run", "read,deploy", "READ"] {
        is_refused(&ask(&app, &[("scope", scope)]).await, 400, "invalid_scope");
    }
    for scope in ["", " ", "read  deploy read", "openid profile email offline_access"] {
        let answer = ask(&app, &[("scope", scope)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{scope} {}", answer.body);
    }
    let asked: Vec<String> =
        sqlx::query_scalar("SELECT array_to_string(scopes, ' ') FROM device_grant ORDER BY created_at, id")
            .fetch_all(&app.installation.pool)
            .await
            .unwrap();
    let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["openid profile email offline_access", "read", "read", "read deploy"]);
}

#[tokio::test]
async fn a_device_name_has_64_characters_at_most() {
    let app = App::acme().await;
    assert_eq!(ask(&app, &[("device_name", &"ü".repeat(64))]).await.status, StatusCode::OK);
    is_refused(&ask(&app, &[("device_name", &"ü".repeat(65))]).await, 400, "invalid_request");
    let name: String =
        sqlx::query_scalar("SELECT device_name FROM device_grant").fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(name, "ü".repeat(64));
}

#[tokio::test]
async fn nobody_logs_in_where_device_login_is_off_or_the_organization_is_suspended() {
    let off = App::with(&ACME.replacen("device_login = true", "device_login = false", 1)).await;
    let answer = ask(&off, &[]).await;
    is_refused(&answer, 400, "unauthorized_client");
    assert!(answer.text("error_description").contains("device_login = true"), "where to change it: {}", answer.body);

    let suspended = App::acme().await;
    suspended.execute("UPDATE organization SET status = 'suspended' WHERE slug = 'acme'").await;
    let answer = ask(&suspended, &[]).await;
    is_refused(&answer, 400, "unauthorized_client");
    assert!(answer.text("error_description").contains("suspended"), "{}", answer.body);
}

#[tokio::test]
async fn a_user_code_that_somebody_has_is_drawn_again() {
    let foreseen = Arc::new(Mutex::new(VecDeque::<[u8; 10]>::new()));
    let (source, system) = (Arc::clone(&foreseen), Random::system());
    // Ten bytes are drawn for ids.
    let random = Random::from_fn(move |bytes| {
        let next = if bytes.len() == 10 { source.lock().unwrap().pop_front() } else { None };
        match next {
            Some(next) => bytes.copy_from_slice(&next),
            None => bytes.copy_from_slice(&system.bytes::<256>()[..bytes.len()]),
        }
    });
    let parts = App::parts(database::database().await, "https://auth.acme.example");
    let app = App::of(countersign::installation::Parts { random, ..parts }).await;
    app.apply(ACME).await;

    let keyring = &app.installation.keyring;
    let [first, second] = [[1; 10], [2; 10]];
    let draw = |bytes| UserCode::draw(keyring, GrantId::new(app.installation.clock.now(), &bytes), Length::Eight);
    let somebody = Device::ask(&app, "read").await;
    sqlx::query("UPDATE device_grant SET user_code_mac = $1")
        .bind(draw(first).mac(keyring))
        .execute(&app.installation.pool)
        .await
        .unwrap();

    // Each draw takes one for the grant and one for its event.
    foreseen.lock().unwrap().extend([first, [3; 10], second, [4; 10]]);
    let device = Device::ask(&app, "read").await;
    assert!(foreseen.lock().unwrap().is_empty());
    assert_eq!(device.user_code, draw(second).to_string());
    assert_eq!(somebody.poll().await.error(), "authorization_pending");
    assert_eq!(device.poll().await.error(), "authorization_pending");

    // Always somebody's: no codes, and nothing half done.
    foreseen.lock().unwrap().extend([first; 16]);
    is_refused(&ask(&app, &[]).await, 503, "temporarily_unavailable");
    assert_eq!(app.audit().await["requested"], 2);
}

#[tokio::test]
async fn neither_code_can_be_read_out_of_the_database() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut dump = String::new();
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            .fetch_all(&app.installation.pool)
            .await
            .unwrap();
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{table}\" t"));
        dump += &sqlx::query_scalar::<_, String>(rows).fetch_one(&app.installation.pool).await.unwrap();
    }
    assert!(dump.contains("acme-cli") && dump.contains("requested"), "everything was read");
    let letters = device.user_code.replace('-', "");
    let device_code = device.device_code.strip_prefix("csd_").unwrap();
    // As PostgreSQL writes bytes.
    let hex = |bytes: &[u8]| bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).map(char::from).collect();
    let mac = &from_base64url(device_code).unwrap()[16..];
    let secrets =
        [device.user_code.clone(), letters.clone(), device_code.to_owned(), hex(letters.as_bytes()), hex(mac)];
    for secret in secrets {
        assert!(!dump.contains(&secret) && !dump.contains(&secret.to_lowercase()), "{secret} is stored");
    }
}

#[tokio::test]
async fn while_the_database_is_away_a_device_is_told_to_come_again() {
    let app = App::acme().await;
    app.installation.pool.close().await;
    let answer = ask(&app, &[]).await;
    is_refused(&answer, 503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
}
