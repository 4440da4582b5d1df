//! **A code in a link** (RFC 8628 §5.4, RFC 10027 §4.1.1): a mail with a friendly text and `verification_uri_complete`.
//!
//! The attacker has: a device login of their own, and the victim's attention.
//!
//! What must happen: the link alone gets nowhere. It asks whether the person's own device shows the code, without a tick for
//! "this is my device" nothing is approved, and the decision page shows code, device and distance once more. A service whose
//! codes must be typed takes none from a link at all.

use axum::http::StatusCode;

use super::{ADA, states};
use crate::support::app::{ACME, ADA_PASSWORD};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_link_asks_and_approves_nothing() {
    let app = App::acme().await;
    let device = Device::ask_from(&app, "203.0.113.66").await;
    let mut victim = Browser::behind_proxy(&app, "192.0.2.7");
    let page = victim.open(&format!("/activate?user_code={}", device.user_code)).await;
    assert_eq!(page.says("h1"), ["Does your device show this code?"]);
    assert!(page.text().contains("Did somebody send you a link to this page? Then close it"), "{}", page.text());
    assert_eq!(states(&app).await, ["pending"]);
    let page = victim.submit(&page, "/activate", &[("user_code", &device.user_code), ("prefilled", "yes")]).await;
    let confirm = victim.sign_in(&page, ADA, ADA_PASSWORD).await;
    let text = confirm.text();
    for said in
        [device.user_code.as_str(), "203.0.113.66", "On another network than you", "Nobody from support will ever ask"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let unticked = victim.submit(&confirm, "/activate/confirm", &[("scope", "read"), ("decision", "approve")]).await;
    assert_eq!(unticked.status, StatusCode::BAD_REQUEST);
    assert_eq!(confirm.attribute("input[name=mine]", "checked"), None, "nobody ticks it for them");
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn a_service_whose_codes_are_typed_takes_none_from_a_link() {
    let app = App::with(&ACME.replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\nprefill = false")).await;
    let codes = app.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
    assert!(codes.json()["verification_uri_complete"].is_null(), "there is no such link: {}", codes.body);
    let code = codes.text("user_code");
    let mut victim = Browser::new(&app);
    let page = victim.open(&format!("/activate?user_code={code}")).await;
    let page = victim.submit(&page, "/activate", &[("user_code", &code), ("prefilled", "yes")]).await;
    assert_eq!((page.path.as_str(), page.status), ("/activate", StatusCode::BAD_REQUEST));
    assert!(page.says("#user_code-error")[0].contains("type the code"), "{}", page.text());
    assert_eq!(page.field("user_code").unwrap_or_default(), "", "and the field is empty");
    assert_eq!(victim.open(&format!("/auth/password?org=acme&service=cli&user_code={code}")).await.path, "/activate");
    assert_eq!(states(&app).await, ["pending"]);
    assert_eq!(victim.enter(&code).await.path, "/activate/sign-in");
}

#[tokio::test]
async fn a_link_says_nothing_in_the_attackers_words() {
    let app = App::acme().await;
    let mut victim = Browser::new(&app);
    for words in ["Call+support+now", "%3Cb%3EHELP%3C/b%3E", "EVIL-CODE"] {
        let page = victim.open(&format!("/activate?user_code={words}&message={words}&error={words}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.text().contains("support now") && !page.html.contains("<b>") && !page.text().contains("EVIL"));
    }
}
