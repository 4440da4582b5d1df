//! The headers of pages, their cookie, and the pages for what is not there.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::{PAGES, before_the_decision, get};
use crate::api::{body_request, with_header};
use crate::support::App;
use crate::support::app::{ACME, Answer};

#[track_caller]
fn is_kept_to_itself(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for (name, _) in &answer.headers {
        assert!(!name.as_str().starts_with("access-control"), "{name}");
    }
    if answer.status.is_redirection() {
        assert!(answer.header("location").unwrap().starts_with("/activate"));
    } else {
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        for forbidden in ["<script", " style=", "<style", "javascript:", " onclick="] {
            assert!(!answer.body.contains(forbidden), "{forbidden}");
        }
    }
}

/// Addresses at which there is nothing to see, or that nobody can read.
const NOWHERE: [&str; 6] = [
    "/nothing",
    "/activate/nothing",
    "/auth/nobody?org=acme",
    "/auth/nobody?org=acme&org=acme",
    "/auth/nobody/callback?state=a&state=b",
    "/auth/%FF",
];

#[tokio::test]
async fn every_page_is_kept_to_itself() {
    let app = App::acme().await;
    for path in PAGES.into_iter().chain(NOWHERE) {
        is_kept_to_itself(&app.send(with_header(get(path), "origin", "https://evil.example")).await);
    }
    let (_, mut browser, confirm) = before_the_decision(&app).await;
    is_kept_to_itself(&confirm.answer);
    for path in PAGES {
        is_kept_to_itself(&browser.send(get(path)).await);
    }
    let done = browser.approve(&confirm).await;
    is_kept_to_itself(&done.answer);
}

#[tokio::test]
async fn the_cookie_is_bound_to_this_host_and_to_https() {
    let app = App::acme().await;
    let answer = app.get("/activate").await;
    let cookie = answer.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-countersign=") && pair.len() >= 19 + 43, "{cookie}");
    let mut attributes: Vec<&str> = attributes.split("; ").collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    // Who has one keeps it.
    let again = app.send(with_header(get("/activate"), "cookie", pair)).await;
    assert_eq!(again.header("set-cookie"), None);

    let local = App::at("http://localhost:8080", ACME).await;
    let answer = local.get("/activate").await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("countersign=") && !cookie.contains("Secure"), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn what_is_not_there_is_a_page_that_says_so() {
    let app = App::acme().await;
    for path in ["/nothing", "/activate/nothing", "/activate/confirm/more", "/static/nothing.css"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.contains("<h1"), "{path}");
    }
    for (method, path) in
        [(Method::PUT, "/activate"), (Method::DELETE, "/activate/confirm"), (Method::POST, "/activate/done")]
    {
        let answer = app.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{path} {:?}", answer.headers);
        assert!(answer.body.contains("<h1"), "{path}");
        is_kept_to_itself(&answer);
    }
}

#[tokio::test]
async fn a_trailing_slash_makes_no_difference_to_pages() {
    let app = App::acme().await;
    assert_eq!(app.get("/activate/").await.status, StatusCode::OK);
    let home = app.get("/").await;
    assert_eq!((home.status, home.header("location")), (StatusCode::SEE_OTHER, Some("/activate")));
}

#[tokio::test]
async fn bodies_that_are_no_forms_get_a_page() {
    let app = App::acme().await;
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, status) in [
        (form, "x".repeat(64 * 1024 + 1), StatusCode::PAYLOAD_TOO_LARGE),
        ("text/plain", "user_code=x".to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/json", "{".to_owned(), StatusCode::BAD_REQUEST),
        (form, "user_code=%00".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let answer = app.send(body_request("/activate", Some(content_type), body)).await;
        assert_eq!(answer.status, status);
        is_kept_to_itself(&answer);
    }
}

#[tokio::test]
async fn while_the_database_is_away_pages_say_so_and_what_to_do() {
    let app = App::acme().await;
    let (_, mut browser, _) = before_the_decision(&app).await;
    app.installation.pool.close().await;
    // Nothing is known of a new browser, and nothing needs to be.
    assert_eq!(app.get("/activate").await.status, StatusCode::OK);
    for path in PAGES {
        let answer = browser.send(get(path)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.header("retry-after"), Some("5"), "{path}");
        assert!(answer.body.contains("<h1"), "{path}");
        is_kept_to_itself(&answer);
    }
}
