//! GitHub, by a stand-in that speaks its OAuth and its API.

use axum::http::StatusCode;

use crate::support::app::ACME;
use crate::support::github::{self, CLIENT_ID, Fault, GitHub};
use crate::support::oidc_provider::browser as http_client;
use crate::support::{App, Browser, Device, Page};

/// GitHub is the only way in, and Ada is invited.
pub async fn scene(settings: &str) -> (App, GitHub) {
    let github = github::start().await;
    let invited = ACME.replace("password = { env = \"ADA_PASSWORD\" }", "");
    let toml = format!(
        "{invited}\n[[organization.provider]]\nslug = \"hub\"\nkind = \"github\"\nname = \"GitHub\"\nissuer = \"{}\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = {{ env = \"GITHUB_SECRET\" }}\n{settings}\n",
        github.base(),
    );
    (App::with(&toml).await, github)
}

/// Leaves for GitHub, authorizes, and comes back.
pub async fn sign_in(browser: &mut Browser<'_>) -> Page {
    let away = browser.open("/auth/hub?org=acme&service=cli").await.leads_to();
    let redirect = away.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect, "https://auth.acme.example/auth/hub/callback");
    let answer = http_client().get(away).send().await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    browser.visit(&back).await
}

#[tokio::test]
async fn a_login_with_github() {
    let (app, _github) = scene("").await;
    let device = Device::ask(&app, "email").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    assert!(page.text().contains("Continue with GitHub"), "{}", page.text());
    let confirm = sign_in(&mut browser).await;
    browser.approve(&confirm).await;
    // She was invited by an address that GitHub has verified.
    assert_eq!(device.poll().await.claims("access_token")["email"], "ada@acme.example");
    assert_eq!(app.events().await.iter().find(|event| event.kind == "signed_in").unwrap().detail["provider"], "hub");
}

#[tokio::test]
async fn members_of_an_organization_are_admitted_and_nobody_else() {
    let (app, github) = scene("admit = { groups = [\"acme-inc\"] }").await;
    {
        let mut world = github.world();
        world.account = serde_json::json!({ "id": 42, "login": "grace", "name": "Grace" });
        world.emails = serde_json::json!([{ "email": "grace@home.example", "primary": true, "verified": true }]);
        world.organizations = vec!["Another".into()];
    }
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    browser.enter(&device.user_code).await;
    assert_eq!(sign_in(&mut browser).await.status, StatusCode::FORBIDDEN);
    github.world().organizations.push("Acme-Inc".into());
    let confirm = sign_in(&mut browser).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_goes_wrong_at_github_can_be_tried_again() {
    let (app, github) = scene("").await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    browser.enter(&device.user_code).await;
    for (fault, status) in [
        (Fault::Cancelled, StatusCode::OK),
        (Fault::TokenError("bad_verification_code"), StatusCode::BAD_GATEWAY),
        (Fault::TokenError("incorrect_client_credentials"), StatusCode::BAD_GATEWAY),
        (Fault::Api(500), StatusCode::BAD_GATEWAY),
        (Fault::RateLimited, StatusCode::BAD_GATEWAY),
        (Fault::Flood, StatusCode::BAD_GATEWAY),
    ] {
        github.world().fault = Some(fault);
        let page = sign_in(&mut browser).await;
        assert_eq!(page.status, status, "{}", page.text());
        let retry = page.attribute("a[href^='/auth/hub?']", "href");
        assert_eq!(retry.as_deref(), Some("/auth/hub?org=acme&service=cli"), "{}", page.html);
        assert_eq!(device.poll().await.error(), "authorization_pending");
        app.advance(5);
    }
    assert_eq!(app.audit().await["refused"], 6);
    github.world().fault = None;
    assert_eq!(sign_in(&mut browser).await.path, "/activate/confirm");
}
