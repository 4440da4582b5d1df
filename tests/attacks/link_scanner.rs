//! **A link scanner**: a mail filter, a chat's preview or a browser that fetches ahead opens every link that a person is sent.
//!
//! The attacker has: the person's mail, into which they put links of ours; whatever opens them does so for the attacker.
//!
//! What must happen: opening a link decides nothing. It also takes no code away from its owner: not the code page's link, and
//! not that of an organization's own page when it was not a person who followed it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::{get, states, with_header};
use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn the_code_pages_link_changes_nothing_however_it_is_opened() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let link = format!("/activate?user_code={}&decision=approve&mine=yes", device.user_code);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let request = Request::builder().method(method).uri(&link).body(Body::empty()).unwrap();
        app.send(request).await;
    }
    // A scanner that keeps cookies and follows every link of the page.
    let mut scanner = Browser::new(&app);
    let page = scanner.open(&link).await;
    let links = scraper::Html::parse_document(&page.html);
    let hrefs = scraper::Selector::parse("[href]").unwrap();
    for href in links.select(&hrefs).filter_map(|element| element.value().attr("href")) {
        scanner.open(href).await;
    }
    for path in ["/activate/sign-in", "/activate/mfa", "/activate/confirm?decision=approve", "/activate/done"] {
        assert_eq!(scanner.open(path).await.path, "/activate");
    }
    assert_eq!(states(&app).await, ["pending"]);
    Browser::new(&app).approve_code(&device.user_code).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_of_an_organizations_page_is_for_people_who_follow_it() {
    let own = "client_id = \"acme-cli\"\nactivation_uri = \"https://start.acme.example/device\"";
    let app = App::with(&ACME.replace("client_id = \"acme-cli\"", own)).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let link = format!("/auth/password?org=acme&service=cli&user_code={}", device.user_code);
    let head = Request::head(&link).body(Body::empty()).unwrap();
    assert_eq!(browser.send(head).await.header("location"), Some("/activate"));
    for (name, value) in [
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-mode", "websocket"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-dest", "frame"),
        ("sec-fetch-dest", "embed"),
        ("sec-fetch-dest", "image"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
    ] {
        let answer = browser.send(with_header(get(&link), name, value)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(states(&app).await, ["pending"]);
    let followed = with_header(with_header(get(&link), "sec-fetch-mode", "navigate"), "sec-fetch-dest", "document");
    let answer = browser.send(followed).await;
    assert_eq!(answer.header("location"), Some("/activate/sign-in"));
}
