//! **An open redirect** (RFC 9700 §4.11): a link to this server that leads to the attacker's page, with the good name of this one.
//!
//! The attacker has: the address of any page here, and every parameter of it.
//!
//! What must happen: an address in a request leads nowhere. After a decision a person is led to the page that the service's
//! administrators wrote down, and to no other; and a sign-in begins at the organization's provider, whatever the link says.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use super::before_the_decision;
use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

const EVIL: &str = "https://evil.example";

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let app = App::acme().await;
    let (_, mut browser, _) = before_the_decision(&app).await;
    for path in [
        "/activate?redirect_uri=https://evil.example",
        "/activate/done?return_to=//evil.example",
        "/activate/sign-in?next=https://evil.example",
        "//evil.example",
        "//evil.example/",
        "/%2F/evil.example",
        "/\\evil.example",
        "/activate//evil.example/",
        "/auth/password?org=acme&service=cli&redirect_uri=https://evil.example",
        "/auth/password/callback?redirect_uri=https://evil.example",
        "/account?organization=//evil.example",
        "/account/acme/mfa?next=//evil.example",
    ] {
        let Ok(request) = Request::get(path).body(Body::empty()) else { continue };
        let answer = browser.send(request).await;
        if let Some(location) = answer.header("location") {
            assert!(
                location.starts_with("/activate") || location.starts_with("/account/acme"),
                "{path} leads to {location}"
            );
        }
        assert!(!answer.body.contains("href=\"https://evil") && !answer.body.contains("href=\"//evil"), "{path}");
    }
}

#[tokio::test]
async fn after_a_decision_only_the_services_own_page_comes() {
    let own = "https://start.acme.example/device";
    let with_page =
        ACME.replace("client_id = \"acme-cli\"", &format!("client_id = \"acme-cli\"\nactivation_uri = \"{own}\""));
    let app = App::with(&with_page).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let link =
        format!("/auth/password?org=acme&service=cli&user_code={}&activation_uri={EVIL}&next={EVIL}", device.user_code);
    let page = browser.open(&link).await;
    let confirm = browser.sign_in(&page, "ada@acme.example", crate::support::app::ADA_PASSWORD).await;
    let token = confirm.field("csrf_token").unwrap();
    let form = [
        ("mine", "yes"),
        ("decision", "approve"),
        ("csrf_token", token.as_str()),
        ("activation_uri", EVIL),
        ("next", EVIL),
    ];
    let request = crate::support::app::form_request(&format!("/activate/confirm?return_to={EVIL}"), &form);
    let answer = browser.send(request).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), Some(format!("{own}?device_flow_status=success").as_str()));
}

#[tokio::test]
async fn what_a_device_sends_is_no_address_for_a_person() {
    let app = App::acme().await;
    let form = [("client_id", "acme-cli"), ("verification_uri", EVIL), ("redirect_uri", EVIL), ("device_name", EVIL)];
    let codes = app.post("/auth/device/code", &form).await;
    assert_eq!(codes.text("verification_uri"), "https://auth.acme.example/activate");
    let confirm = Browser::new(&app).enter_and_sign_in(&codes.text("user_code")).await;
    assert!(confirm.html.contains("evil.example"), "what it calls itself is shown");
    assert_eq!(confirm.attribute("a[href*='evil']", "href"), None, "and is no link");
}
