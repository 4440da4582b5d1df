//! `POST /auth/device/code`: how a request may be written (SPEC §2.1). What holds here holds at every OAuth endpoint.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use crate::api::{body_request, is_refused, with_header};
use crate::support::App;
use crate::support::app::form_request;

const PATH: &str = "/auth/device/code";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

async fn send(app: &App, content_type: Option<&str>, body: impl Into<Body>) -> crate::support::app::Answer {
    app.send(body_request(PATH, content_type, body)).await
}

#[tokio::test]
async fn forms_and_json_are_read_whatever_the_case_and_the_parameters_of_their_type() {
    let app = App::acme().await;
    for content_type in [
        Some(FORM),
        Some("Application/X-WWW-Form-URLencoded"),
        Some("application/x-www-form-urlencoded; charset=utf-8"),
        Some("application/x-www-form-urlencoded ;charset=\"UTF-8\"; x=y"),
        None,
    ] {
        let answer = send(&app, content_type, "client_id=acme-cli&scope=read+deploy").await;
        assert_eq!(answer.status, StatusCode::OK, "{content_type:?} {}", answer.body);
    }
    for content_type in [JSON, "APPLICATION/JSON", "application/json; charset=utf-8"] {
        let answer = send(&app, Some(content_type), r#"{"client_id":"acme-cli","scope":"read deploy"}"#).await;
        assert_eq!(answer.status, StatusCode::OK, "{content_type:?} {}", answer.body);
    }
    let asked: Vec<Vec<String>> =
        sqlx::query_scalar("SELECT scopes FROM device_grant").fetch_all(&app.installation.pool).await.unwrap();
    assert_eq!(asked, vec![vec!["read", "deploy"]; 8]);
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_blank_ones_absent() {
    let app = App::acme().await;
    let answer = send(&app, Some(FORM), "client_id=acme-cli&nonce=abc&scope=&device_name=&org=&client_secret=").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let json = r#"{"client_id":"acme-cli","scope":"","device_name":null,"extra":"x"}"#;
    assert_eq!(send(&app, Some(JSON), json).await.status, StatusCode::OK);
    is_refused(&send(&app, Some(FORM), "client_id=").await, 400, "invalid_request");
    is_refused(&send(&app, Some(FORM), "").await, 400, "invalid_request");
    is_refused(&send(&app, Some(JSON), "{}").await, 400, "invalid_request");
    // What stands in the address would end in logs: it counts for nothing.
    is_refused(&app.post("/auth/device/code?client_id=acme-cli", &[]).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_parameter_stands_once() {
    let app = App::acme().await;
    for body in ["client_id=acme-cli&client_id=acme-cli", "client_id=acme-cli&scope=read&scope=deploy"] {
        is_refused(&send(&app, Some(FORM), body).await, 400, "invalid_request");
    }
    for body in [r#"{"client_id":"acme-cli","client_id":"acme-cli"}"#, r#"{"client_id":["acme-cli","acme-cli"]}"#] {
        is_refused(&send(&app, Some(JSON), body).await, 400, "invalid_request");
    }
    let blank_and_not = send(&app, Some(FORM), "client_id=acme-cli&scope=&scope=read").await;
    assert_eq!(blank_and_not.status, StatusCode::OK);
    // RFC 8707 §2: these may stand several times.
    let audiences = send(&app, Some(FORM), "client_id=acme-cli&audience=a&audience=b").await;
    assert_eq!(audiences.status, StatusCode::OK, "{}", audiences.body);
    let resources = "client_id=acme-cli&resource=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fb.example";
    is_refused(&send(&app, Some(FORM), resources).await, 400, "invalid_target");
}

#[tokio::test]
async fn a_body_has_64_kib_at_most() {
    let app = App::acme().await;
    let start = "client_id=acme-cli&padding=";
    let body = |length: usize| format!("{start}{}", "x".repeat(length - start.len()));
    assert_eq!(send(&app, Some(FORM), body(64 * 1024)).await.status, StatusCode::OK);
    is_refused(&send(&app, Some(FORM), body(64 * 1024 + 1)).await, 413, "invalid_request");
    is_refused(&send(&app, Some(JSON), " ".repeat(1 << 20)).await, 413, "invalid_request");
}

#[tokio::test]
async fn what_cant_be_read_is_refused_in_oauths_form() {
    let app = App::acme().await;
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/xml", "form", ""] {
        is_refused(&send(&app, Some(content_type), "client_id=acme-cli").await, 415, "invalid_request");
    }
    for json in ["", "{", "[]", "null", "\"acme-cli\"", "{\"client_id\":7}", "{\"client_id\":{\"a\":\"b\"}}", "{}{}"] {
        is_refused(&send(&app, Some(JSON), json).await, 400, "invalid_request");
    }
    for json in ["{\"client_id\":\"acme-cli\",\"device_name\":\"a\\u0000b\"}", "{\"client_id\":\"acme\\u0000-cli\"}"] {
        is_refused(&send(&app, Some(JSON), json).await, 400, "invalid_request");
    }
    is_refused(&send(&app, Some(FORM), "client_id=acme-cli&device_name=a%00b").await, 400, "invalid_request");
    is_refused(&send(&app, Some(FORM), &b"client_id=\xff"[..]).await, 400, "invalid_request");
    is_refused(&send(&app, Some(FORM), "client_id=%FF%FE").await, 400, "invalid_client");
}

#[tokio::test]
async fn other_methods_and_addresses_are_refused_in_oauths_form() {
    let app = App::acme().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Request::builder().method(method).uri(PATH).body(Body::empty()).unwrap();
        let answer = app.send(request).await;
        is_refused(&answer, 405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let answer = app.send(Request::put("/auth/userinfo").body(Body::empty()).unwrap()).await;
    is_refused(&answer, 405, "invalid_request");
    assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));
    for path in ["/auth/device/nothing", "/auth/token/more", "/auth/device/code/more", "/.well-known/nothing"] {
        is_refused(&app.post(path, &[]).await, 404, "invalid_request");
        is_refused(&app.get(path).await, 404, "invalid_request");
    }
    // Where sign-ins begin, and programs have nothing to send.
    let answer = app.post("/auth/tokens", &[]).await;
    is_refused(&answer, 405, "invalid_request");
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_trailing_slash_makes_no_difference_and_leads_nowhere() {
    let app = App::acme().await;
    let answer = app.post("/auth/device/code/", &[("client_id", "acme-cli")]).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::OK, None), "{}", answer.body);
    is_refused(&app.get("/auth/device/code/").await, 405, "invalid_request");
    is_refused(&app.post("/auth/token/", &[]).await, 400, "invalid_request");
    assert_eq!(app.get("/.well-known/jwks.json/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn answers_are_json_and_stored_by_nobody_whatever_is_accepted() {
    let app = App::acme().await;
    let request = form_request(PATH, &[("client_id", "acme-cli")]);
    let answer = app.send(with_header(request, "accept", "text/html")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let refused = app.send(with_header(form_request(PATH, &[]), "accept", "text/html")).await;
    is_refused(&refused, 400, "invalid_request");
}

#[tokio::test]
async fn every_web_origin_may_ask_but_not_with_cookies() {
    let app = App::acme().await;
    for path in [PATH, "/auth/token", "/auth/device/verify", "/.well-known/jwks.json"] {
        let preflight = Request::builder().method(Method::OPTIONS).uri(path);
        let preflight = preflight
            .header("origin", "https://app.acme.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,dpop,prefer");
        let answer = app.send(preflight.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(["authorization", "content-type", "dpop", "prefer"].iter().all(|name| headers.contains(name)));

        let request = with_header(form_request(path, &[]), "origin", "https://app.acme.example");
        let answer = app.send(request).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path} {}", answer.status);
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}
