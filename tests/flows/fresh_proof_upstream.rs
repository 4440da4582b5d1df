//! Fresh proof by a provider: what is asked of it, and what its answer says of how fresh it is.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::app::TOTP_SECRET;
use crate::support::{Browser, Device, Page};

use super::oidc::{Scene, scene_with};
use super::{github, oidc};

const GRACE: &str = "grace@acme.example";

/// An installation whose service asks for this.
async fn asking(service: &'static str, provider: &str) -> Scene {
    let client = "client_id = \"acme-cli\"";
    scene_with(provider, |toml| toml.replace(client, &format!("{client}\n{service}"))).await
}

impl Scene {
    /// From now on the issuer says that people signed in this many seconds ago.
    async fn signed_in_ago(&self, seconds: i64) {
        let at = self.app.installation.clock.now().timestamp() - seconds;
        self.issuer.control(json!({ "claims": { "auth_time": at } })).await;
    }
}

fn parameter(url: &url::Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn prove(scene: &Scene, browser: &mut Browser<'_>, page: &Page) -> Page {
    assert_eq!(page.path, "/activate/mfa", "{}", page.text());
    browser.prove(page, &scene.app.totp(TOTP_SECRET)).await
}

#[tokio::test]
async fn the_issuer_is_asked_for_what_the_login_needs() {
    for (service, max_age, prompt) in [
        ("", None, None),
        ("factor = \"mfa\"", None, None),
        ("max_age = \"5m\"", Some("300"), None),
        ("max_age = \"0s\"", Some("0"), Some("login")),
    ] {
        let scene = asking(service, "").await;
        let device = Device::ask(&scene.app, "read").await;
        let mut browser = Browser::new(&scene.app);
        let url = scene.leave(&mut browser, &device).await;
        let asked = (parameter(&url, "max_age"), parameter(&url, "prompt"));
        assert_eq!(asked, (max_age.map(str::to_owned), prompt.map(str::to_owned)), "{service}");
    }
}

#[tokio::test]
async fn a_fresh_sign_in_at_the_issuer_serves_for_this_login() {
    let scene = asking("max_age = \"0s\"", "").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    // The issuer's clock is a little behind, and it says whole seconds.
    scene.signed_in_ago(3).await;
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    browser.approve(&confirm).await;
    let claims = device.poll().await.claims("access_token");
    assert_eq!(claims["auth_time"], scene.app.installation.clock.now().timestamp() - 3, "as the issuer says");
    let next = Device::ask(&scene.app, "read").await;
    let url = scene.leave(&mut browser, &next).await;
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("login"));
}

#[tokio::test]
async fn an_issuer_that_has_nobody_sign_in_again_is_told_on_a_page_and_asked_once_more() {
    for (service, old) in [("max_age = \"0s\"", 120), ("max_age = \"5m\"", 301)] {
        let scene = asking(service, "").await;
        let device = Device::ask(&scene.app, "read").await;
        let mut browser = Browser::new(&scene.app);
        let mut url = scene.leave(&mut browser, &device).await;
        scene.signed_in_ago(old).await;
        for tries in 1..=2 {
            let page = scene.come_back(&mut browser, &url, "grace").await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
            assert_eq!(page.says("h1"), ["Acme SSO did not ask you to sign in again"]);
            assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in", "nobody is signed in by it");
            assert_eq!(scene.app.audit().await["refused"], tries);
            // The link insists, whatever the age is that was asked.
            url = scene.follow(&mut browser, &page).await;
            assert_eq!(parameter(&url, "prompt").as_deref(), Some("login"));
        }
        let status: String = sqlx::query_scalar("SELECT status FROM app_user WHERE email = 'grace@acme.example'")
            .fetch_one(&scene.app.installation.pool)
            .await
            .unwrap();
        assert_eq!(status, "invited", "nor is an account made");
        scene.signed_in_ago(1).await;
        assert_eq!(scene.come_back(&mut browser, &url, "grace").await.path, "/activate/confirm");
    }
}

#[tokio::test]
async fn a_sign_in_of_earlier_serves_until_it_is_too_old() {
    let scene = asking("max_age = \"5m\"", "").await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    scene.signed_in_ago(200).await;
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    scene.app.advance(101);
    let page = browser.approve(&confirm).await;
    assert_eq!(page.path, "/activate/sign-in", "what counts is when she signed in at the issuer");
    let url = scene.follow(&mut browser, &page).await;
    scene.signed_in_ago(0).await;
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

/// Asked for an age, an issuer has to say when somebody signed in (OpenID Connect Core §2). That it doesn't can be the work
/// of whoever took `max_age` out of the address, and an authenticator makes nothing good.
#[tokio::test]
async fn an_issuer_that_does_not_say_when_signs_nobody_in() {
    let scene = asking("max_age = \"5m\"", "trust_mfa = true").await;
    scene.app.enrol(GRACE).await;
    let silent = json!({ "amr": ["pwd", "otp"], "claims": { "auth_time": null } });
    scene.issuer.control(silent).await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let page = scene.sign_in(&mut browser, &device, "grace").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    assert_eq!(page.says("h1"), ["Acme SSO did not say when you signed in"]);
    assert!(page.text().contains("auth_time"), "{}", page.text());
    assert_eq!(scene.app.audit().await["refused"], 1);
    assert_eq!(browser.open("/activate/mfa").await.path, "/activate/sign-in", "nobody is signed in by it");
    let url = scene.follow(&mut browser, &page).await;
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("login"));
    scene.signed_in_ago(1).await;
    assert_eq!(scene.come_back(&mut browser, &url, "grace").await.path, "/activate/confirm");
}

#[tokio::test]
async fn the_issuers_own_second_factor_is_as_fresh_as_its_sign_in() {
    let (service, trusted) = ("max_age = \"5m\"\nfactor = \"mfa\"", "trust_mfa = true");
    let scene = asking(service, trusted).await;
    scene.app.enrol(GRACE).await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    let at = scene.app.installation.clock.now().timestamp() - 200;
    scene.issuer.control(json!({ "amr": ["pwd", "otp"], "claims": { "auth_time": at } })).await;
    let confirm = scene.come_back(&mut browser, &url, "grace").await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
    // An authenticator of Countersign's own is something else.
    scene
        .app
        .apply(
            &oidc::with_issuer(scene.issuer.issuer(), trusted)
                .replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\nfactor = \"otp\""),
        )
        .await;
    let device = Device::ask(&scene.app, "read").await;
    let mut browser = Browser::new(&scene.app);
    let page = scene.sign_in(&mut browser, &device, "grace").await;
    let confirm = prove(&scene, &mut browser, &page).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
}

#[tokio::test]
async fn github_proves_who_somebody_is_and_not_when() {
    let (app, _github) = github::scene("").await;
    app.enrol("ada@acme.example").await;
    app.execute("UPDATE service SET max_age_seconds = 0").await;
    let mut browser = Browser::new(&app);
    for _ in 0..2 {
        let device = Device::ask(&app, "read").await;
        let mut page = browser.enter(&device.user_code).await;
        if page.path == "/activate/sign-in" {
            page = github::sign_in(&mut browser).await;
        }
        assert_eq!(page.path, "/activate/mfa", "for every device: {}", page.text());
        assert!(page.text().contains("doesn’t say when you signed in"), "{}", page.text());
        app.advance(30);
        let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
        assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
        assert_eq!(device.poll().await.claims("access_token")["amr"], json!(["otp", "mfa"]));
    }
}
