//! What holds of every request: the form of what is wrong, of the document and of its page.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use countersign::installation::Parts;
use countersign::server::Settings;

use super::{Admin, app, problem, request};
use crate::support::App;
use crate::support::proxy::{Proxy, Weather};

const SERVICES: &str = "/api/v1/organizations/acme/services";

fn with_body(token: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(SERVICES).header(header::AUTHORIZATION, format!("Bearer {token}"));
    request.header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_is_told_in_one_form() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let nowhere = owner.get("/api/v1/nowhere").await;
    assert_eq!((nowhere.status, problem(&nowhere)), (StatusCode::NOT_FOUND, "not-found".into()));
    let method = owner.send(Method::PUT, SERVICES, None, None).await;
    assert_eq!((method.status, problem(&method)), (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed".into()));
    assert!(method.header("allow").unwrap().contains("POST"));
    let sent = async |content_type: &str, body: String| {
        let answer = app.send(with_body(&owner.token, content_type, body)).await;
        (answer.status.as_u16(), problem(&answer))
    };
    assert_eq!(sent("text/plain", "{}".into()).await, (415, "unsupported-media-type".into()));
    assert_eq!(sent("application/json", "{".into()).await, (400, "malformed".into()));
    assert_eq!(sent("application/json", "[]".into()).await, (400, "malformed".into()));
    assert_eq!(sent("application/json", " ".repeat(100_000)).await, (413, "too-large".into()));
    let nul = "{\"slug\": \"x\", \"name\": \"a\\u0000b\"}".to_owned();
    assert_eq!(sent("application/json", nul).await, (422, "invalid".into()));
    let deep = format!("{{\"slug\": \"x\", \"resources\": {}{}}}", "[".repeat(100), "]".repeat(100));
    assert_eq!(sent("application/json", deep).await, (422, "invalid".into()));
    let path = owner.get("/api/v1/organizations/%FF").await;
    assert_eq!((path.status, problem(&path)), (StatusCode::BAD_REQUEST, "malformed".into()));
    for odd in ["%00", "ACME", "acme%2F", "..%2Facme"] {
        let answer = owner.get(&format!("/api/v1/organizations/{odd}")).await;
        assert_eq!((answer.status, problem(&answer)), (StatusCode::NOT_FOUND, "not-found".into()), "{odd}");
    }
    let slash = owner.get(&format!("{SERVICES}/")).await;
    assert_eq!(slash.status, StatusCode::OK, "a trailing slash makes no difference");
}

#[tokio::test]
async fn the_document_and_its_page_are_for_everybody() {
    let app = app().await;
    let document = app.get("/api/v1/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    let page = app.get("/api/v1").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(!page.body.contains("<script"));
    for (path, item) in document.json()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(page.body.contains(&format!("{} {path}", method.to_uppercase())), "{method} {path}");
            assert_eq!(operation["description"], serde_json::Value::Null);
        }
    }
    // Where a problem's type leads.
    assert!(page.body.contains("id=\"stale\""));
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_again() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let mut answer = owner.get("/api/v1/organizations/acme").await;
    for _ in 0..1300 {
        if answer.status != StatusCode::OK {
            break;
        }
        answer = owner.get("/api/v1/organizations/acme").await;
    }
    assert_eq!((answer.status, problem(&answer)), (StatusCode::TOO_MANY_REQUESTS, "too-many-requests".into()));
    assert!(answer.header("retry-after").is_some());
    app.advance(120);
    assert_eq!(owner.get("/api/v1/organizations/acme").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_its_database_it_says_so() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let proxy = Proxy::to(&app.installation.pool).await;
    let pool = proxy.pool(&app.installation.pool, 4);
    let parts = Parts { clock: app.installation.clock.clone(), ..App::parts(pool, app.issuer()) };
    let node = App::of_parts_and_settings(parts, Settings::default()).await;
    let ask = async || node.send(request(Method::GET, SERVICES, Some(&owner.token), None, None)).await;
    assert_eq!(ask().await.status, StatusCode::OK);
    proxy.set(Weather::Cut);
    let answer = tokio::time::timeout(Duration::from_secs(30), ask()).await.unwrap();
    assert_eq!((answer.status, problem(&answer)), (StatusCode::SERVICE_UNAVAILABLE, "unavailable".into()));
    assert_eq!(answer.header("retry-after"), Some("5"));
}
