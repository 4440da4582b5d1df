//! An organization's own OpenID Connect issuer: the real npm `oidc-provider`.

use axum::http::StatusCode;
use reqwest::Client;
use serde_json::json;
use url::Url;

use crate::support::app::{ACME, TOTP_SECRET};
use crate::support::oidc_provider::{self, OidcProvider, browser, cancel, sign_in};
use crate::support::{App, Browser, Device, Page, free_port};

const REDIRECT_URI: &str = "https://auth.acme.example/auth/sso/callback";

/// [`ACME`] with an issuer beside the passwords, and Grace, who is invited. `settings` are the provider's other keys.
pub fn with_issuer(issuer: &str, settings: &str) -> String {
    format!(
        "{ACME}\n[[organization.provider]]\nslug = \"sso\"\nkind = \"oidc\"\nname = \"Acme SSO\"\nissuer = \"{issuer}\"\n\
         client_id = \"{}\"\nclient_secret = {{ env = \"SSO_SECRET\" }}\n{settings}\n\
         [[organization.user]]\nemail = \"grace@acme.example\"\n",
        oidc_provider::CLIENT_ID,
    )
}

/// An installation and the issuer of its organization.
pub struct Scene {
    pub app: App,
    pub issuer: OidcProvider,
    client: Client,
}

async fn scene(settings: &str) -> Scene {
    scene_with(settings, |toml| toml).await
}

pub async fn scene_with(settings: &str, change: impl FnOnce(String) -> String) -> Scene {
    let issuer = oidc_provider::start(REDIRECT_URI).await;
    let app = App::with(&change(with_issuer(issuer.issuer(), settings))).await;
    Scene { app, issuer, client: browser() }
}

impl Scene {
    /// Enters a code and leaves for the issuer.
    pub async fn leave(&self, browser: &mut Browser<'_>, device: &Device<'_>) -> Url {
        let page = browser.enter(&device.user_code).await;
        assert_eq!(page.path, "/activate/sign-in");
        self.follow(browser, &page).await
    }

    /// Follows a page's link to the issuer.
    pub async fn follow(&self, browser: &mut Browser<'_>, page: &Page) -> Url {
        let href = page.attribute("a[href^='/auth/sso?']", "href").unwrap_or_else(|| panic!("no link: {}", page.html));
        let url = browser.open(&href).await.leads_to();
        assert_eq!(url.origin().ascii_serialization(), self.issuer.issuer());
        url
    }

    /// Signs in at the issuer and comes back.
    pub async fn come_back(&self, browser: &mut Browser<'_>, url: &Url, account: &str) -> Page {
        let back = sign_in(&self.client, url, account).await;
        browser.visit(&back).await
    }

    /// The whole of step 2.
    pub async fn sign_in(&self, browser: &mut Browser<'_>, device: &Device<'_>, account: &str) -> Page {
        let url = self.leave(browser, device).await;
        self.come_back(browser, &url, account).await
    }
}

/// `url` with one parameter of its query replaced.
fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let mut changed = url.clone();
    let others = url.query_pairs().filter(|(other, _)| other != name);
    changed.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    changed
}

#[tokio::test]
async fn a_login_with_the_organizations_own_issuer() {
    let scene = scene("admit = { domains = [\"acme.example\"] }").await;
    let device = Device::ask(&scene.app, "openid email").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    let asked: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(asked["redirect_uri"], REDIRECT_URI);
    assert_eq!((asked["code_challenge_method"].as_str(), asked["response_type"].as_str()), ("S256", "code"));
    assert!(asked.contains_key("state") && asked.contains_key("nonce"));
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    assert!(confirm.text().contains("grace@acme.example"));
    browser.approve(&confirm).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.claims("access_token")["email"], "grace@acme.example");

    // The second time it is the same person.
    let again = Device::ask(&scene.app, "openid").await;
    let mut elsewhere = Browser::new(&scene.app);
    let confirm = scene.sign_in(&mut elsewhere, &again, "grace").await;
    elsewhere.approve(&confirm).await;
    assert_eq!(again.poll().await.claims("id_token")["sub"], tokens.claims("id_token")["sub"]);
}

#[tokio::test]
async fn a_provider_without_a_secret_is_a_public_client_of_the_issuer() {
    let secret = "client_secret = { env = \"SSO_SECRET\" }\n";
    let public =
        |toml: String| toml.replace(secret, "").replace(oidc_provider::CLIENT_ID, oidc_provider::PUBLIC_CLIENT_ID);
    let scene = scene_with("", public).await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let confirm = scene.sign_in(&mut browser, &device, "grace").await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
}

#[tokio::test]
async fn a_second_factor_at_the_issuer_counts_where_it_is_trusted() {
    let mfa = |toml: String| toml.replace("mfa = \"off\"", "mfa = \"required\"");
    for (trusted, amr, expected) in [
        (true, json!(["pwd", "otp"]), "/activate/confirm"),
        (true, json!(["pwd"]), "/activate/mfa"),
        (false, json!(["pwd", "otp"]), "/activate/mfa"),
    ] {
        let scene = scene_with(&format!("trust_mfa = {trusted}"), mfa).await;
        scene.app.enrol("grace@acme.example").await;
        scene.issuer.control(json!({ "amr": amr })).await;
        let device = Device::ask(&scene.app, "read").await;
        let mut browser = Browser::new(&scene.app);
        let mut page = scene.sign_in(&mut browser, &device, "grace").await;
        assert_eq!(page.path, expected, "trusted: {trusted}, amr: {amr}");
        if page.path == "/activate/mfa" {
            page = browser.prove(&page, &scene.app.totp(TOTP_SECRET)).await;
        }
        browser.approve(&page).await;
        let claims = device.poll().await.claims("access_token");
        assert!(claims["amr"].as_array().unwrap().contains(&json!("mfa")), "{claims}");
        // The next device asks again: the issuer's word was about the last one.
        let next = Device::ask(&scene.app, "read").await;
        assert_eq!(browser.enter(&next.user_code).await.path, "/activate/mfa");
    }
}

#[tokio::test]
async fn who_cancels_at_the_issuer_can_choose_another_way() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    let back = cancel(&scene.client, &url).await;
    let page = browser.visit(&back).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.says("[role=alert]"), ["You did not sign in at Acme SSO. Try again, or choose another way."]);
    assert_eq!(device.poll().await.error(), "authorization_pending");
    assert_eq!(scene.app.audit().await["refused"], 1);
    let confirm = browser.sign_in(&page, "ada@acme.example", crate::support::app::ADA_PASSWORD).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_error_or_an_answer_of_somebody_else_is_a_page_that_lets_one_try_again() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let mut url = scene.leave(&mut browser, &device).await;
    for (name, value) in [("iss", "https://evil.example"), ("error", "server_error"), ("code", "of-nobody")] {
        let back = with_parameter(&sign_in(&scene.client, &url, "grace").await, name, value);
        let page = browser.visit(&back).await;
        assert!(matches!(page.status, StatusCode::BAD_GATEWAY | StatusCode::BAD_REQUEST), "{name}: {}", page.status);
        assert_eq!(page.says("h1").len(), 1);
        assert!(!page.html.contains("evil.example") && !page.html.contains("of-nobody"), "{}", page.html);
        assert_eq!(device.poll().await.error(), "authorization_pending");
        url = scene.follow(&mut browser, &page).await;
    }
    assert_eq!(scene.app.audit().await["refused"], 3);
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(confirm.path, "/activate/confirm");
}

#[tokio::test]
async fn a_callback_is_used_once() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    let back = sign_in(&scene.client, &url, "grace").await;
    let confirm = browser.visit(&back).await;
    assert_eq!(confirm.path, "/activate/confirm");
    // Reloaded, or after the "back" button: the person is where they were.
    assert_eq!(browser.visit(&back).await.path, "/activate/confirm");
    assert_eq!(scene.app.audit().await["signed_in"], 1);
    let page = browser.sign_out(&confirm).await;
    assert_eq!(page.path, "/activate/sign-in");
    let replayed = browser.visit(&back).await;
    assert_eq!((replayed.status, replayed.path.as_str()), (StatusCode::BAD_REQUEST, "/auth/sso/callback"));
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in");
}

#[tokio::test]
async fn a_callback_belongs_to_the_browser_that_left() {
    let scene = scene("").await;
    let (own, others) = (Device::ask(&scene.app, "read").await, Device::ask(&scene.app, "read").await);
    let (mut attacker, mut victim) = (Browser::new(&scene.app), Browser::new(&scene.app));
    let url = scene.leave(&mut attacker, &own).await;
    let back = sign_in(&scene.client, &url, "mallory").await;
    // A browser that never entered a code, and one that is at signing in for a code of its own.
    assert_eq!(Browser::new(&scene.app).visit(&back).await.path, "/activate");
    scene.leave(&mut victim, &others).await;
    let page = victim.visit(&back).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(victim.open("/activate/confirm").await.path, "/activate/sign-in", "nobody is signed in by it");
    assert!(!scene.app.audit().await.contains_key("signed_in"));
    let url = scene.follow(&mut victim, &page).await;
    assert_eq!(scene.come_back(&mut victim, &url, "grace").await.path, "/activate/confirm");
}

#[tokio::test]
async fn a_callback_is_about_the_device_that_it_was_begun_for() {
    let scene = scene("").await;
    let (first, second) = (Device::ask(&scene.app, "read").await, Device::ask(&scene.app, "read").await);
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &first).await;
    browser.enter(&second.user_code).await;
    let page = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let url = scene.follow(&mut browser, &page).await;
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert!(confirm.text().contains(&second.user_code), "{}", confirm.text());
}

#[tokio::test]
async fn a_callback_comes_too_late() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    let back = sign_in(&scene.client, &url, "grace").await;
    scene.app.advance(601);
    assert_eq!(browser.visit(&back).await.status, StatusCode::BAD_REQUEST);
    scene.app.advance(300);
    let page = browser.visit(&back).await;
    assert_eq!((page.status, page.says("h1")), (StatusCode::GONE, vec!["This code has expired".to_owned()]));
}

#[tokio::test]
async fn an_issuer_that_is_away_can_be_tried_again_until_it_is_back() {
    let port = free_port();
    let app = App::with(&with_issuer(&format!("http://127.0.0.1:{port}"), "")).await;
    let user_code = Device::ask(&app, "read").await.user_code;
    let mut browser = Browser::new(&app);
    browser.enter(&user_code).await;
    let page = browser.open("/auth/sso?org=acme&service=cli").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.says("h1")[0].contains("can’t be reached"), "{}", page.text());

    let issuer = oidc_provider::start_on(port, REDIRECT_URI).await;
    let cookie = browser.cookie;
    let scene = Scene { app, issuer, client: oidc_provider::browser() };
    let mut browser = Browser::new(&scene.app);
    browser.cookie = cookie;
    let url = scene.follow(&mut browser, &page).await;
    assert_eq!(scene.come_back(&mut browser, &url, "grace").await.path, "/activate/confirm");
}

#[tokio::test]
async fn who_is_not_admitted_is_told_and_changes_nothing() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let page = scene.sign_in(&mut browser, &device, "mallory").await;
    assert_eq!((page.status, page.says("h1")), (StatusCode::FORBIDDEN, vec!["This account has no access here".into()]));
    assert!(page.text().contains("mallory@acme.example"));
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let events = scene.app.events().await;
    let refused = events.iter().find(|event| event.kind == "refused").unwrap();
    assert!(refused.grant_id.is_some() && refused.detail["provider"] == "sso", "{refused:?}");
    let sign_in = browser.open(&page.attribute("main a.button", "href").unwrap()).await;
    assert_eq!(sign_in.path, "/activate/sign-in", "another way can be chosen");
    let url = scene.follow(&mut browser, &sign_in).await;
    assert_eq!(scene.come_back(&mut browser, &url, "grace").await.path, "/activate/confirm");
}

#[tokio::test]
async fn an_address_alone_takes_nobodys_account_over() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    // Ada signs in with a password of her own, and nobody said that the issuer decides who she is.
    assert_eq!(scene.sign_in(&mut browser, &device, "ada").await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in");
    assert_eq!(scene.app.audit().await["refused"], 1);
}

#[tokio::test]
async fn only_a_verified_address_matches_an_invited_person() {
    let scene = scene("").await;
    let device = Device::ask(&scene.app, "email").await;
    let mut browser = Browser::new(&scene.app);
    let claim =
        |verified| json!({ "account": { "sub": "g", "email": "grace@acme.example", "email_verified": verified } });
    scene.issuer.control(claim(false)).await;
    let page = scene.sign_in(&mut browser, &device, "g").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    scene.issuer.control(claim(true)).await;
    let page = browser.open("/activate/sign-in").await;
    let url = scene.follow(&mut browser, &page).await;
    let confirm = scene.come_back(&mut browser, &url, "g").await;
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.claims("access_token")["email"], "grace@acme.example");
    let status: String = sqlx::query_scalar("SELECT status FROM app_user WHERE email = 'grace@acme.example'")
        .fetch_one(&scene.app.installation.pool)
        .await
        .unwrap();
    assert_eq!(status, "active");
}
