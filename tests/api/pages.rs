//! What holds of every page there is: the routes are read from the sources, so that none can be forgotten.

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request};
use uuid::Uuid;

use crate::api::with_header;
use crate::support::app::{ADA_PASSWORD, Answer};
use crate::support::{App, Browser};

/// The routes of every router that is served as pages.
fn routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if !text.contains("shared::served(") {
                continue;
            }
            let found: Vec<String> = text
                .split(".route(")
                .skip(1)
                .map(|route| route.trim_start().split('"').nth(1).expect("a route is written out").to_owned())
                .collect();
            assert!(!found.is_empty(), "{} has pages and no route", path.display());
            routes.extend(found);
        }
    }
    routes
}

/// A route as an address: with an organization that is there, and with something for everything else.
fn address(route: &str) -> String {
    let device = Uuid::from_u128(7).to_string();
    let parts = route.split('/').map(|part| match part {
        "{organization}" => "acme",
        "{provider}" => "password",
        _ if part.starts_with('{') => &device,
        _ => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[track_caller]
fn is_kept_to_itself(route: &str, answer: &Answer) {
    let header = |name: &str| answer.header(name).unwrap_or_else(|| panic!("{route} {} has no {name}", answer.status));
    let policy = header("content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(rule), "{route}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src") && !policy.contains('*'), "{route}: {policy}");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert_eq!(header(name), value, "{route}: {name}");
    }
    assert!(header("permissions-policy").contains("camera=()"), "{route}");
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{route}");
    for cookie in answer.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert!(pair.starts_with("__Host-"), "{route}: {cookie}");
        let attributes: BTreeSet<&str> = attributes.split("; ").collect();
        for attribute in ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"] {
            assert!(attributes.contains(attribute), "{route}: {cookie}");
        }
        assert!(!attributes.iter().any(|attribute| attribute.starts_with("Domain")), "{route}: {cookie}");
    }
    // A page, and no redirect that anybody could choose. What is for programs is JSON.
    if let Some(location) = answer.header("location") {
        assert!(location.starts_with('/') && !location.starts_with("//"), "{route}: {location}");
    } else if answer.header("content-type") != Some("application/json") && !answer.body.is_empty() {
        assert_eq!(header("content-type"), "text/html; charset=utf-8", "{route}");
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{route}");
    }
}

#[tokio::test]
async fn every_page_has_every_header_whoever_asks_and_however() {
    let app = App::acme().await;
    let routes = routes();
    for known in ["/activate", "/activate/confirm", "/auth/{provider}/callback", "/account/{organization}/password"] {
        assert!(routes.contains(known), "{known} is not among {routes:?}");
    }
    let mut signed_in = Browser::new(&app);
    let page = signed_in.open("/account/acme").await;
    let fields = [("email", "ada@acme.example"), ("password", ADA_PASSWORD)];
    let page = signed_in.submit(&page, "/account/acme/sign-in", &fields).await;
    assert_eq!(page.path, "/account/acme", "{}", page.text());
    let mut shown = 0;
    for route in &routes {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS] {
            let request = || {
                let request = Request::builder().method(method.clone()).uri(address(route));
                with_header(request.body(Body::empty()).unwrap(), "origin", "https://evil.example")
            };
            let stranger = app.send(request()).await;
            is_kept_to_itself(route, &stranger);
            assert!(!stranger.status.is_server_error(), "{method} {route}");
            // With the cookie that it had before: what signs out must not end the tour.
            let answer = signed_in.clone().send(request()).await;
            is_kept_to_itself(route, &answer);
            assert!(!answer.status.is_server_error(), "{method} {route}");
            shown += usize::from(method == Method::GET && answer.status.is_success());
        }
    }
    assert!(shown >= 5, "only {shown} pages were shown to who is signed in");
}

/// A form from elsewhere changes nothing, at whatever address: it is refused before anything else is looked at.
#[tokio::test]
async fn no_page_takes_a_form_from_another_site() {
    let app = App::acme().await;
    let mut tried = 0;
    for route in routes() {
        let mut browser = Browser::new(&app);
        let start = browser.open("/activate").await;
        let token = start.field("csrf_token").unwrap();
        let form = [("csrf_token", token.as_str()), ("user_code", "WDJB-MJHT"), ("decision", "approve")];
        let request = || crate::support::app::form_request(&address(&route), &form);
        for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
            let answer = browser.send(with_header(request(), name, value)).await;
            // Not a form of that address at all, or not ours.
            assert!(matches!(answer.status.as_u16(), 303 | 403 | 404 | 405), "{route}: {}", answer.status);
            tried += usize::from(answer.status == 403);
        }
    }
    assert!(tried >= 4, "only {tried} forms were refused as another site's");
}
