//! Getting in, and no further than one may.

use axum::http::StatusCode;

use crate::support::app::{ACME, ADA_PASSWORD};
use crate::support::github::{self, CLIENT_ID, Fault};
use crate::support::oidc_provider::browser as http_client;
use crate::support::{App, Browser, Device, Page};

use super::{ADA, ada, audited, device, sign_in};

#[tokio::test]
async fn the_way_in_asks_for_the_organization_first() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    let page = browser.open("/account").await;
    assert_eq!(page.says("h1"), ["Which organization?"]);
    assert_eq!(browser.open("/account?organization=%20Acme%20").await.path, "/account/acme/sign-in");
    let unknown = browser.open("/account?organization=%3Cb%3E").await;
    assert_eq!((unknown.status, unknown.says("#organization-error").len()), (StatusCode::NOT_FOUND, 1));
    assert!(!unknown.html.contains("<b>"));
    let mut browser = ada(&app).await;
    assert_eq!(browser.open("/account").await.attribute(".providers a", "href").as_deref(), Some("/account/acme"));
    // What can be no name is nobody's, and no fault of ours.
    for nobody in ["nobody", "a%00b"] {
        assert_eq!(browser.open(&format!("/account/{nobody}")).await.status, StatusCode::NOT_FOUND, "{nobody}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_audited() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    let refused = sign_in(&mut browser, ADA, "not hers").await;
    assert_eq!((refused.status, refused.says("#password-error").len()), (StatusCode::BAD_REQUEST, 1));
    let empty = browser.submit(&refused, "/account/acme/sign-in", &[]).await;
    assert_eq!(empty.says("#email-error").len(), 1);
    assert_eq!(app.audit().await["refused"], 1);
    assert_eq!(browser.open("/account/acme").await.path, "/account/acme/sign-in");
}

#[tokio::test]
async fn not_you_signs_out_here_and_nowhere_else() {
    let app = App::acme().await;
    let (mut browser, mut other) = (ada(&app).await, ada(&app).await);
    let page = browser.open("/account/acme").await;
    let page = browser.submit(&page, "/account/acme/sign-out", &[]).await;
    assert_eq!(page.path, "/account/acme/sign-in");
    assert_eq!(browser.open("/account/acme/security").await.path, "/account/acme/sign-in");
    assert_eq!(other.open("/account/acme").await.path, "/account/acme");
}

#[tokio::test]
async fn a_locked_person_and_a_suspended_organization_are_shut_out() {
    let app = App::acme().await;
    device(&app, "laptop").await;
    let mut browser = ada(&app).await;
    app.execute("UPDATE app_user SET status = 'locked'").await;
    assert_eq!(browser.open("/account/acme").await.path, "/account/acme/sign-in");
    assert_eq!(sign_in(&mut browser, ADA, ADA_PASSWORD).await.status, StatusCode::BAD_REQUEST);
    app.execute("UPDATE app_user SET status = 'active'").await;
    let mut browser = ada(&app).await;
    app.execute("UPDATE organization SET status = 'suspended'").await;
    let page = browser.open("/account/acme").await;
    assert_eq!(
        (page.status, page.says("h1").join("")),
        (StatusCode::FORBIDDEN, "Nobody can sign in here at the moment".to_owned())
    );
}

#[tokio::test]
async fn an_unapproved_device_waits_for_its_own_page() {
    // A browser that is in the middle of a device login looks at its account, and goes on afterwards.
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    browser.enter(&device.user_code).await;
    assert_eq!(sign_in(&mut browser, ADA, ADA_PASSWORD).await.path, "/account/acme");
    assert_eq!(browser.open("/activate/sign-in").await.path, "/activate/confirm");
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

fn with_github(base: &str) -> String {
    format!(
        "{ACME}\n[[organization.provider]]\nslug = \"hub\"\nkind = \"github\"\nname = \"GitHub\"\nissuer = \"{base}\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = {{ env = \"GITHUB_SECRET\" }}\nadmit = {{ domains = [\"acme.example\"] }}\n"
    )
}

/// Leaves for GitHub from the account pages, authorizes, and says where one is sent back to.
async fn leave(browser: &mut Browser<'_>) -> url::Url {
    let page = browser.open("/account/acme/sign-in").await;
    let href = page.attribute(".providers a", "href").unwrap();
    assert_eq!(href, "/account/acme/sign-in/hub");
    let away = browser.open(&href).await.leads_to();
    let answer = http_client().get(away).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().parse().unwrap()
}

async fn sign_in_at_github(browser: &mut Browser<'_>) -> Page {
    let back = leave(browser).await;
    browser.visit(&back).await
}

#[tokio::test]
async fn people_sign_in_at_their_provider_and_come_back_to_their_account() {
    let github = github::start().await;
    let app = App::with(&with_github(github.base())).await;
    let mut browser = Browser::new(&app);
    let back = leave(&mut browser).await;
    // Another browser that is shown the link is nobody.
    let stranger = Browser::new(&app).visit(&back).await;
    assert_eq!(stranger.path, "/activate");
    let page = browser.visit(&back).await;
    assert_eq!((page.path.as_str(), page.says(".account strong").join("")), ("/account/acme", ADA.to_owned()));
    // The link a second time leads on.
    assert_eq!(browser.visit(&back).await.path, "/account/acme");
    assert_eq!(audited(&app, "signed_in").await[0].1["provider"], "hub");
}

#[tokio::test]
async fn what_goes_wrong_at_a_provider_can_be_tried_again() {
    let github = github::start().await;
    let app = App::with(&with_github(github.base())).await;
    let mut browser = Browser::new(&app);
    for (fault, status) in [
        (Fault::Cancelled, StatusCode::OK),
        (Fault::TokenError("bad_verification_code"), StatusCode::BAD_GATEWAY),
        (Fault::Api(500), StatusCode::BAD_GATEWAY),
    ] {
        github.world().fault = Some(fault);
        let page = sign_in_at_github(&mut browser).await;
        assert_eq!(page.status, status, "{}", page.text());
        assert!(page.attribute("a[href='/account/acme/sign-in/hub']", "href").is_some(), "{}", page.html);
        assert!(!page.text().contains("your device"), "no device waits: {}", page.text());
    }
    github.world().fault = None;
    {
        let mut world = github.world();
        world.account = serde_json::json!({ "id": 42, "login": "grace", "name": "Grace" });
        world.emails = serde_json::json!([{ "email": "grace@home.example", "primary": true, "verified": true }]);
    }
    let refused = sign_in_at_github(&mut browser).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.attribute("a[href='/account/acme/sign-in']", "href").is_some(), "{}", refused.html);
    assert_eq!(browser.open("/account/acme").await.path, "/account/acme/sign-in");
    assert_eq!(app.audit().await["refused"], 4);
}

#[tokio::test]
async fn an_installation_below_a_path_has_its_account_pages_there() {
    let app = App::at("https://acme.example/login", ACME).await;
    let mut browser = Browser::new(&app);
    let page = browser.open("/login/account/acme/").await;
    assert_eq!(page.path, "/login/account/acme/sign-in");
    let form = [("email", ADA), ("password", ADA_PASSWORD)];
    let page = browser.submit(&page, "/login/account/acme/sign-in", &form).await;
    assert_eq!(page.path, "/login/account/acme");
    assert_eq!(page.attribute(".tabs a[aria-current]", "href").as_deref(), Some("/login/account/acme"));
    let missing = browser.open("/login/account/nobody").await;
    assert_eq!(missing.attribute(".card a", "href").as_deref(), Some("/login/account"), "{}", missing.html);
}

#[tokio::test]
async fn a_second_click_on_sign_in_does_not_shut_out() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    let page = browser.open("/account/acme/sign-in").await;
    let before = browser.cookie.clone();
    let form = [("email", ADA), ("password", ADA_PASSWORD)];
    browser.submit(&page, "/account/acme/sign-in", &form).await;
    // The browser dropped the first answer, and with it the new cookie.
    browser.cookie.clone_from(&before);
    let again = browser.submit(&page, "/account/acme/sign-in", &form).await;
    assert_eq!(again.path, "/account/acme", "{}", again.text());
    let mut thief = Browser::new(&app);
    thief.cookie = before;
    let wrong = thief.submit(&page, "/account/acme/sign-in", &[("email", ADA), ("password", "not hers")]).await;
    assert_eq!(wrong.path, "/account/acme/sign-in");
    assert_eq!(thief.open("/account/acme").await.path, "/account/acme/sign-in");
}
