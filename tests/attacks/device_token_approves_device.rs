//! **A device's token approves the next device**: one approval, and from then on the attacker's own machine says yes.
//!
//! The attacker has: access token, refresh token and ID token that one device got by a person's approval.
//!
//! What must happen: the pages know a browser by its cookie and a person by signing in. A token is nothing to them, wherever
//! it stands; nor is there a grant that makes more logins of it.

use axum::http::StatusCode;

use super::{ADA, PAGES, audited, get, tokens, with_header};
use crate::support::app::form_request;
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_token_opens_no_page_and_decides_nothing() {
    let app = App::acme().await;
    let won = tokens(&app, "openid email read offline_access").await;
    let device = Device::ask(&app, "read").await;
    let mut machine = Browser::new(&app);
    assert_eq!(machine.enter(&device.user_code).await.path, "/activate/sign-in", "a code can be entered by anybody");
    for token in ["access_token", "refresh_token", "id_token"].map(|kind| won.text(kind)) {
        for scheme in ["Bearer", "DPoP", "Basic", "Token"] {
            let authorization = format!("{scheme} {token}");
            for path in &PAGES[1..] {
                let answer = machine.send(with_header(get(path), "authorization", &authorization)).await;
                let led_to = answer.header("location").unwrap_or(path).to_owned();
                assert_eq!(led_to, "/activate/sign-in", "{path} with {scheme}");
            }
            let account = machine.send(with_header(get("/account/acme"), "authorization", &authorization)).await;
            assert_eq!(account.header("location"), Some("/account/acme/sign-in"), "{scheme}");
            let form = [("mine", "yes"), ("decision", "approve"), ("access_token", &token), ("csrf_token", &token)];
            let decide = with_header(form_request("/activate/confirm", &form), "authorization", &authorization);
            assert_eq!(machine.send(decide).await.header("location"), Some("/activate/sign-in"), "{scheme}");
        }
        let page = machine.open(&format!("/activate/confirm?access_token={token}&id_token_hint={token}")).await;
        assert_eq!(page.path, "/activate/sign-in");
        let page = machine.sign_in(&page, ADA, &token).await;
        assert_eq!((page.path.as_str(), page.status), ("/activate/sign-in", StatusCode::BAD_REQUEST), "as a password");
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
    assert_eq!((audited(&app, "approved").await, audited(&app, "signed_in").await), (1, 1), "the person's own");
}

#[tokio::test]
async fn a_token_is_no_cookie() {
    let app = App::acme().await;
    let won = tokens(&app, "openid email read offline_access").await;
    for token in ["access_token", "refresh_token", "id_token"].map(|kind| won.text(kind)) {
        let mut machine = Browser::new(&app);
        machine.cookie = Some(format!("__Host-countersign={token}"));
        assert_eq!(machine.open("/activate/confirm").await.path, "/activate");
        assert_eq!(machine.open("/account/acme").await.path, "/account/acme/sign-in");
    }
}

#[tokio::test]
async fn no_grant_makes_a_login_of_a_token() {
    let app = App::acme().await;
    let won = tokens(&app, "openid email read offline_access").await;
    let access_token = won.text("access_token");
    for grant_type in ["urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
    {
        let form = [
            ("grant_type", grant_type),
            ("client_id", "acme-cli"),
            ("subject_token", &access_token),
            ("assertion", &access_token),
        ];
        assert_eq!(app.post("/auth/token", &form).await.error(), "unsupported_grant_type");
    }
    for token in [won.text("access_token"), won.text("id_token")] {
        let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", &token)];
        assert_eq!(app.post("/auth/token", &form).await.error(), "invalid_grant");
    }
    assert_eq!(audited(&app, "redeemed").await, 1);
}
