//! **Stale proof**: somebody else's sign-in, used again.
//!
//! *The attacker has* a browser that was left signed in, at Countersign and at its owner's identity provider, in which a
//! second factor was proven a moment ago; and a device of their own that asks for what needs fresh proof. They have
//! neither the password nor the authenticator.
//!
//! *What must happen*: by no page, form, order, tab or choice of scopes is the device approved. It stays pending, and its
//! owner can still deny it.

use axum::http::StatusCode;
use serde_json::json;

use crate::flows::fresh_proof::{MFA_NOW, asking};
use crate::flows::{github, oidc};
use crate::support::app::{ADA_PASSWORD, TOTP_SECRET};
use crate::support::{App, Browser, Device, Page};

const ADA: &str = "ada@acme.example";

/// Ada signs in, proves her second factor for a device of hers, approves it and goes away.
async fn left_behind(app: &App) -> Browser<'_> {
    app.enrol(ADA).await;
    let mut browser = Browser::new(app);
    let device = Device::ask(app, "read").await;
    let page = browser.enter_and_sign_in(&device.user_code).await;
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done", "{}", confirm.text());
    browser
}

/// Tries every page and form from a page that the browser shows, and none leads to an approval.
async fn all_in_vain(app: &App, browser: &mut Browser<'_>, device: &Device<'_>, page: &Page) {
    for path in ["/activate/mfa", "/activate/confirm", "/activate/done", "/activate/confirm?decision=approve&mine=yes"]
    {
        let led_to = browser.open(path).await.path;
        assert!(matches!(led_to.as_str(), "/activate/sign-in" | "/activate/mfa"), "{path} leads to {led_to}");
    }
    for scopes in [vec!["read"], vec!["read", "deploy"], vec![]] {
        let mut fields: Vec<(&str, &str)> = scopes.into_iter().map(|scope| ("scope", scope)).collect();
        fields.extend([("mine", "yes"), ("decision", "approve")]);
        let led_to = browser.submit(page, "/activate/confirm", &fields).await;
        assert!(matches!(led_to.path.as_str(), "/activate/sign-in" | "/activate/mfa"), "{}", led_to.text());
    }
    for (email, password) in [(ADA, ""), (ADA, "wrong"), ("", "")] {
        let page = browser.open("/activate/sign-in").await;
        if page.path == "/activate/sign-in" {
            assert_eq!(browser.sign_in(&page, email, password).await.status, StatusCode::BAD_REQUEST);
        }
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
    assert!(app.audit().await["approved"] == 1, "what Ada approved herself");
}

#[tokio::test]
async fn a_browser_left_signed_in_approves_nothing_that_needs_proof_now() {
    let service = "mfa = \"required\"\nmfa_max_age = \"12h\"";
    let app = App::with(&asking(service, MFA_NOW)).await;
    let mut browser = left_behind(&app).await;
    let device = Device::ask(&app, "read deploy").await;
    let page = browser.enter(&device.user_code).await;
    all_in_vain(&app, &mut browser, &device, &page).await;
    // With the old proof a device that asks for less is approved: that is what `mfa_max_age` says.
    let reader = Device::ask(&app, "read").await;
    assert_eq!(browser.enter(&reader.user_code).await.path, "/activate/confirm");
    let page = browser.enter(&device.user_code).await;
    all_in_vain(&app, &mut browser, &device, &page).await;
    assert_eq!(browser.submit(&page, "/activate/confirm", &[("decision", "deny")]).await.path, "/activate/done");
    assert_eq!(device.poll().await.error(), "access_denied");
}

/// The attacker enters their code first, and waits for Ada to sign in for a device of her own in the same browser.
#[tokio::test]
async fn a_sign_in_for_another_device_is_not_stolen() {
    let app = App::with(&asking("mfa = \"required\"", MFA_NOW)).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let planted = Device::ask(&app, "read deploy").await;
    browser.enter(&planted.user_code).await;

    let hers = Device::ask(&app, "read deploy").await;
    let page = browser.enter(&hers.user_code).await;
    let page = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    browser.approve(&confirm).await;
    assert_eq!(hers.poll().await.status, StatusCode::OK);

    let page = browser.enter(&planted.user_code).await;
    assert_eq!(page.path, "/activate/sign-in");
    all_in_vain(&app, &mut browser, &planted, &page).await;
}

/// The browser is signed in to the provider too, which sends everybody back without asking anything, and says nothing of
/// when they signed in.
#[tokio::test]
async fn a_round_trip_to_a_provider_that_asks_nothing_proves_nothing_fresh() {
    let (app, _github) = github::scene("").await;
    app.enrol(ADA).await;
    app.execute("UPDATE service SET max_age_seconds = 0").await;
    let mut browser = Browser::new(&app);
    let hers = Device::ask(&app, "read").await;
    browser.enter(&hers.user_code).await;
    let page = github::sign_in(&mut browser).await;
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    browser.approve(&confirm).await;

    let device = Device::ask(&app, "read deploy").await;
    let page = browser.enter(&device.user_code).await;
    all_in_vain(&app, &mut browser, &device, &page).await;
    let page = browser.sign_out(&page).await;
    assert_eq!(page.path, "/activate/sign-in");
    let page = github::sign_in(&mut browser).await;
    assert_eq!(page.path, "/activate/mfa", "GitHub let the browser through");
    all_in_vain(&app, &mut browser, &device, &page).await;
    assert_eq!(
        browser.prove(&page, &app.totp(TOTP_SECRET)).await.status,
        StatusCode::BAD_REQUEST,
        "a code seen before"
    );
}

/// The attacker hurries: their code is claimed before the policy becomes stricter.
#[tokio::test]
async fn a_code_claimed_before_the_policy_is_no_way_around_it() {
    let app = App::with(&asking("mfa = \"required\"\nmfa_max_age = \"12h\"", "")).await;
    let mut browser = left_behind(&app).await;
    let device = Device::ask(&app, "read deploy").await;
    let page = browser.enter(&device.user_code).await;
    assert_eq!(page.path, "/activate/confirm", "it would have been enough");
    app.apply(&asking("mfa = \"required\"\nmfa_max_age = \"12h\"", MFA_NOW)).await;
    all_in_vain(&app, &mut browser, &device, &page).await;
}

/// An address without what it says of how fresh the sign-in is to be: whoever holds the browser can take that out.
fn stripped(url: &url::Url) -> url::Url {
    let mut stripped = url.clone();
    let kept = url.query_pairs().filter(|(name, _)| name != "max_age" && name != "prompt");
    stripped.query_pairs_mut().clear().extend_pairs(kept);
    stripped
}

/// Grace has no authenticator; the attacker has one, and takes what is asked of the provider out of the address.
#[tokio::test]
async fn an_authenticator_of_the_attackers_makes_no_sign_in_fresh() {
    let asking = |toml: String| toml.replace("client_id = \"acme-cli\"", "client_id = \"acme-cli\"\nmax_age = \"0s\"");
    let scene = oidc::scene_with("", asking).await;
    scene.issuer.control(json!({ "claims": { "auth_time": null } })).await;
    let device = Device::ask(&scene.app, "read deploy").await;
    let mut browser = Browser::new(&scene.app);
    let url = scene.leave(&mut browser, &device).await;
    let page = scene.come_back(&mut browser, &stripped(&url), "grace").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    assert_eq!(page.says("h1"), ["Acme SSO did not say when you signed in"]);
    for path in ["/activate/mfa", "/activate/confirm", "/activate/done"] {
        assert_eq!(browser.open(path).await.path, "/activate/sign-in", "{path}");
    }
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

/// The same with a provider that never says when somebody signed in there.
#[tokio::test]
async fn who_has_no_authenticator_sets_none_up_to_make_up_for_a_sign_in_of_nobody_knows_when() {
    let (app, _github) = github::scene("").await;
    app.execute("UPDATE service SET max_age_seconds = 0").await;
    let mut browser = Browser::new(&app);
    let device = Device::ask(&app, "read deploy").await;
    browser.enter(&device.user_code).await;
    let page = github::sign_in(&mut browser).await;
    assert_eq!((page.status, page.path.as_str()), (StatusCode::FORBIDDEN, "/activate/mfa"), "{}", page.text());
    assert_eq!(page.says("h1"), ["This device needs an authenticator"]);
    assert!(page.says("main img, main svg.qr").is_empty() && page.field("code").is_none(), "{}", page.html);
    let submitted = browser.submit(&page, "/activate/mfa", &[("code", "123456")]).await;
    assert_eq!(submitted.status, StatusCode::FORBIDDEN, "{}", submitted.text());
    // They set it up at the account pages, and come back.
    app.advance(60);
    app.enrol(ADA).await;
    let code = app.totp(TOTP_SECRET);
    let submitted = browser.submit(&page, "/activate/mfa", &[("code", &code)]).await;
    assert_eq!(submitted.status, StatusCode::FORBIDDEN, "{}", submitted.text());
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/mfa");
    // Whatever the pages do, the database says the same.
    app.execute(
        "UPDATE device_grant SET mfa_user_id = (SELECT user_id FROM browser_sign_in), mfa_at = claimed_at, mfa_amr = '{otp}'",
    )
    .await;
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/mfa");
    let is_proven = async || -> bool {
        let proven = "SELECT proven_as_asked(g, s, o.mfa, b.user_id, b.proven_at, b.grant_id, g.claimed_at)
                      FROM device_grant g JOIN service s ON s.id = g.service_id
                           JOIN organization o ON o.id = g.organization_id, browser_sign_in b";
        sqlx::query_scalar(proven).fetch_one(&app.installation.pool).await.unwrap()
    };
    assert!(!is_proven().await);
    app.execute("UPDATE totp_factor SET created_at = created_at - interval '1 hour'").await;
    assert!(is_proven().await, "one that was there before the code was claimed would do");
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

/// At the account pages, where a first authenticator is set up after a recent sign-in.
#[tokio::test]
async fn a_silent_round_trip_sets_up_no_authenticator_at_the_account_pages() {
    let scene = oidc::scene_with("", |toml| toml).await;
    scene.issuer.control(json!({ "claims": { "auth_time": null } })).await;
    let mut browser = Browser::new(&scene.app);
    let leave = async |browser: &mut Browser<'_>| {
        let page = browser.open("/account/acme/sign-in").await;
        let href = page.attribute("a[href^='/account/acme/sign-in/sso']", "href").unwrap();
        browser.open(&href).await.leads_to()
    };
    let url = leave(&mut browser).await;
    let home = scene.come_back(&mut browser, &stripped(&url), "grace").await;
    assert_eq!(home.path, "/account/acme", "{}", home.text());
    assert_eq!(browser.open("/account/acme/authenticator").await.path, "/account/acme/sign-in");
    let url = leave(&mut browser).await;
    let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!((asked("max_age").as_deref(), asked("prompt").as_deref()), (Some("900"), Some("login")));
    let page = scene.come_back(&mut browser, &stripped(&url), "grace").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    assert_eq!(page.says("h1"), ["Acme SSO did not say when you signed in"]);
    assert_eq!(browser.open("/account/acme/authenticator").await.path, "/account/acme/sign-in");
    let now = scene.app.installation.clock.now().timestamp();
    for (ago, led_to) in [(901, "/account/acme/sign-in"), (30, "/account/acme/authenticator")] {
        let url = leave(&mut browser).await;
        scene.issuer.control(json!({ "claims": { "auth_time": now - ago } })).await;
        scene.come_back(&mut browser, &url, "grace").await;
        assert_eq!(browser.open("/account/acme/authenticator").await.path, led_to);
    }
}

/// The same where the issuer's second factor is trusted, and she has an authenticator: nobody says how old that factor is.
#[tokio::test]
async fn a_silent_round_trip_replaces_no_authenticator() {
    let required = |toml: String| toml.replace("mfa = \"off\"", "mfa = \"required\"");
    let scene = oidc::scene_with("trust_mfa = true", required).await;
    scene.app.enrol("grace@acme.example").await;
    let now = scene.app.installation.clock.now().timestamp();
    for (auth_time, led_to) in [(json!(null), "/account/acme/mfa"), (json!(now - 30), "/account/acme/authenticator")] {
        scene.issuer.control(json!({ "amr": ["pwd", "otp"], "claims": { "auth_time": auth_time } })).await;
        let mut browser = Browser::new(&scene.app);
        let page = browser.open("/account/acme/sign-in").await;
        let href = page.attribute("a[href^='/account/acme/sign-in/sso']", "href").unwrap();
        let url = browser.open(&href).await.leads_to();
        let home = scene.come_back(&mut browser, &stripped(&url), "grace").await;
        assert_eq!(home.path, "/account/acme", "it opens the door: {}", home.text());
        assert_eq!(browser.open("/account/acme/authenticator").await.path, led_to);
    }
}
