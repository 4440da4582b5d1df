//! **Clickjacking**: a page of ours in an invisible frame, beneath the attacker's buttons.
//!
//! The attacker has: a site that the person visits while signed in here, and a code that waits for their approval.
//!
//! What must happen: no page of ours is shown in a frame, whoever frames it; not the pages, not their errors, and not the
//! answers for programs, which a frame could show as well.

use axum::http::StatusCode;

use super::{PAGES, before_the_decision, get, with_header};
use crate::support::App;
use crate::support::app::Answer;

#[track_caller]
fn cannot_be_framed(answer: &Answer, path: &str) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy:?}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}: nor steered from a window");
}

#[tokio::test]
async fn no_page_can_be_framed() {
    let app = App::acme().await;
    let (_device, mut browser, confirm) = before_the_decision(&app).await;
    let more = ["/account", "/account/acme", "/account/acme/security", "/account/nobody", "/nowhere", "/auth/nobody"];
    for path in PAGES.into_iter().chain(more) {
        cannot_be_framed(&browser.send(get(path)).await, path);
        cannot_be_framed(&app.get(path).await, path);
    }
    let refused = browser.send(crate::support::app::form_request("/activate/confirm", &[])).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    cannot_be_framed(&refused, "a refused form");
    cannot_be_framed(&app.send(with_header(get("/activate"), "host", "evil.example")).await, "another host");
    let expired = {
        app.advance(901);
        browser.send(get("/activate/confirm")).await
    };
    assert_eq!(expired.status, StatusCode::GONE);
    cannot_be_framed(&expired, "an expired code");
    cannot_be_framed(&confirm.answer, "the decision");
}

#[tokio::test]
async fn a_framed_browser_sends_no_decision() {
    // A browser that frames all the same says so, and so does one that was made to submit from there.
    let app = App::acme().await;
    let (device, mut browser, confirm) = before_the_decision(&app).await;
    let token = confirm.field("csrf_token").unwrap();
    let form = [("mine", "yes"), ("decision", "approve"), ("csrf_token", token.as_str())];
    let request = crate::support::app::form_request("/activate/confirm", &form);
    let answer = browser.send(with_header(request, "sec-fetch-site", "cross-site")).await;
    assert_eq!((answer.status, device.poll().await.error()), (StatusCode::FORBIDDEN, "authorization_pending".into()));
}
