//! **A forged decision** (CSRF): another site makes the victim's browser approve, without the victim.
//!
//! The attacker has: a site that the victim visits while signed in here; the user code of their own device; the victim's
//! browser sends its cookie with what it is led to. And they may have a token of some other form of this server.
//!
//! What must happen: nothing is decided by GET. A form counts only with the token of this browser, for this login and this
//! account, and not when the browser says that another site sent it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::{before_the_decision, get, states, with_header};
use crate::support::App;
use crate::support::app::form_request;

#[tokio::test]
async fn a_form_that_is_not_of_this_page_and_browser_is_refused() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let (_, _, foreign) = before_the_decision(&app).await;
    let code_page = browser.open("/activate").await;
    let token = confirm.field("csrf_token").unwrap();
    let foreign_token = foreign.field("csrf_token").unwrap();
    let other_page = code_page.field("csrf_token").unwrap();
    for token in ["", "x", &token.to_lowercase(), &format!("{token}A"), &foreign_token, &other_page] {
        let form = [("mine", "yes"), ("decision", "approve"), ("csrf_token", token)];
        let answer = browser.send(form_request("/activate/confirm", &form)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
        assert!(answer.body.contains("<h1"));
    }
    for path in ["/activate", "/activate/sign-in", "/activate/mfa", "/activate/sign-out"] {
        let answer = browser.send(form_request(path, &[("user_code", &device.user_code)])).await;
        let led_back = answer.header("location") == Some("/activate/confirm");
        assert!(answer.status == StatusCode::FORBIDDEN || led_back, "{path} {}", answer.status);
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
}

#[tokio::test]
async fn a_form_that_another_site_sent_is_refused() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let token = confirm.field("csrf_token").unwrap();
    let form = [("mine", "yes"), ("decision", "approve"), ("csrf_token", token.as_str())];
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "https://auth.acme.example.evil.example"),
        ("origin", "http://auth.acme.example"),
    ] {
        let answer = browser.send(with_header(form_request("/activate/confirm", &form), name, value)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let request = with_header(form_request("/activate/confirm", &form), "origin", "https://auth.acme.example");
    let answer = browser.send(with_header(request, "sec-fetch-site", "same-origin")).await;
    assert_eq!(answer.header("location"), Some("/activate/done"));
}

#[tokio::test]
async fn no_other_method_decides_even_with_the_right_token() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let token = confirm.field("csrf_token").unwrap();
    let form = format!("mine=yes&scope=read&csrf_token={token}");
    for decision in ["approve", "deny"] {
        let query = format!("/activate/confirm?{form}&decision={decision}");
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let body = Body::from(format!("{form}&decision={decision}"));
            let request = Request::builder().method(method.clone()).uri(&query);
            let request = request.header("content-type", "application/x-www-form-urlencoded").body(body).unwrap();
            let overridden = with_header(request, "x-http-method-override", "POST");
            let answer = browser.send(overridden).await;
            assert_ne!(answer.header("location"), Some("/activate/done"), "{method}");
        }
        // A POST whose decision stands in the address only.
        let request = form_request(&query, &[("csrf_token", &token), ("mine", "yes")]);
        assert_eq!(browser.send(request).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(
        (states(&app).await, device.poll().await.error()),
        (vec!["claimed".into()], "authorization_pending".into())
    );
    for path in ["/activate/sign-out", "/account/acme/sign-out"] {
        browser.send(get(path)).await;
    }
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/confirm", "nor is anybody signed out");
}
