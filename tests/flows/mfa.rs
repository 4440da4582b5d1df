//! Second factors: who is asked for one, what proves it, and how one is set up.

use std::fmt::Write as _;

use axum::http::StatusCode;
use futures_util::future::join_all;

use crate::support::app::{ACME, ADA_PASSWORD, BOB_PASSWORD, TOTP_SECRET, with_bob};
use crate::support::{App, Browser, Device, Page};

const ADA: &str = "ada@acme.example";

/// [`ACME`] with a second factor asked of everybody, and Bob.
fn required() -> String {
    with_bob().replace("mfa = \"off\"", "mfa = \"required\"")
}

/// The key that an enrolment page shows, in base32.
fn key(page: &Page) -> String {
    page.says(".secret").join("").replace(' ', "")
}

/// A login of Ada's up to the page after her sign-in.
async fn after_sign_in(app: &App) -> (Device<'_>, Browser<'_>, Page) {
    let device = Device::ask(app, "read").await;
    let mut browser = Browser::new(app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    (device, browser, page)
}

/// Every policy of an organization beside every policy of a service.
fn every_policy() -> (String, Vec<(String, &'static str, &'static str)>) {
    let policies = ["required", "if_enrolled", "off"];
    let (mut toml, mut clients) = (String::new(), Vec::new());
    for organization in policies {
        let slug = organization.replace('_', "-");
        write!(toml, "[[organization]]\nslug = \"{slug}\"\nmfa = \"{organization}\"\n").unwrap();
        for service in policies.into_iter().chain([""]) {
            let client = format!("{slug}-and-{}", if service.is_empty() { "nothing" } else { service });
            let name = client.replace('_', "-");
            let mfa = if service.is_empty() { String::new() } else { format!("mfa = \"{service}\"\n") };
            write!(toml, "[[organization.service]]\nslug = \"{name}\"\nclient_id = \"{client}\"\n").unwrap();
            write!(toml, "device_login = true\nscopes = {{ read = \"Read\" }}\n{mfa}").unwrap();
            clients.push((client, organization, service));
        }
        toml += "[[organization.provider]]\nslug = \"password\"\nkind = \"password\"\n";
        for (name, secret) in [("ada", "ADA_PASSWORD"), ("bob", "BOB_PASSWORD")] {
            let password = format!("password = {{ env = \"{secret}\" }}");
            write!(toml, "[[organization.user]]\nemail = \"{name}@acme.example\"\n{password}\n").unwrap();
        }
    }
    (toml, clients)
}

#[tokio::test]
async fn of_two_policies_the_stricter_counts() {
    let (toml, clients) = every_policy();
    let app = App::with(&toml).await;
    app.enrol("bob@acme.example").await;
    for (email, password, enrolled) in [(ADA, ADA_PASSWORD, false), ("bob@acme.example", BOB_PASSWORD, true)] {
        let mut browser = Browser::new(&app);
        for (client, organization, service) in &clients {
            let policies = [*organization, *service];
            let asked = policies.contains(&"required") || (policies.contains(&"if_enrolled") && enrolled);
            let device = Device::ask_as(&app, client, "read").await;
            let mut page = browser.enter(&device.user_code).await;
            if page.path == "/activate/sign-in" {
                page = browser.sign_in(&page, email, password).await;
            }
            let expected = if asked { "/activate/mfa" } else { "/activate/confirm" };
            assert_eq!(page.path, expected, "{email} with {client}: {}", page.text());
            assert_eq!(asked && !enrolled, !key(&page).is_empty(), "{email} with {client}");
            // Nor is there a way around the page.
            let fields = [("mine", "yes"), ("decision", "approve")];
            let end = browser.submit(&page, "/activate/confirm", &fields).await;
            assert_eq!(end.path, if asked { "/activate/mfa" } else { "/activate/done" }, "{email} with {client}");
            assert_eq!(device.poll().await.status == StatusCode::OK, !asked, "{email} with {client}");
        }
    }
}

#[tokio::test]
async fn a_code_of_the_authenticator_proves_it() {
    let app = App::with(&required()).await;
    app.enrol(ADA).await;
    let (device, mut browser, page) = after_sign_in(&app).await;
    for wrong in ["000000", "", "12345", "١٢٣٤٥٦"] {
        let again = browser.prove(&page, wrong).await;
        assert_eq!((again.path.as_str(), again.status), ("/activate/mfa", StatusCode::BAD_REQUEST), "{wrong}");
        assert_eq!(again.says("#code-error").len(), 1, "{}", again.html);
    }
    assert_eq!(app.audit().await["mfa_failed"], 3, "an empty field is no try");
    let code = app.totp(TOTP_SECRET);
    let confirm = browser.prove(&page, &format!("{} {}", code.split_at(3).0, code.split_at(3).1)).await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    browser.approve(&confirm).await;
    let claims = device.poll().await.claims("access_token");
    assert_eq!(claims["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
}

#[tokio::test]
async fn another_device_asks_again_and_a_used_code_is_refused() {
    let app = App::with(&required()).await;
    app.enrol(ADA).await;
    let (_device, mut browser, page) = after_sign_in(&app).await;
    let code = app.totp(TOTP_SECRET);
    let confirm = browser.prove(&page, &code).await;
    browser.approve(&confirm).await;

    let second = Device::ask(&app, "read").await;
    let page = browser.enter(&second.user_code).await;
    assert_eq!(page.path, "/activate/mfa", "signed in already, and asked again");
    assert_eq!(browser.prove(&page, &code).await.status, StatusCode::BAD_REQUEST);
    app.advance(30);
    assert_eq!(
        browser.prove(&page, &code).await.status,
        StatusCode::BAD_REQUEST,
        "still within the tolerance, but used"
    );
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(second.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_code_of_the_authenticator_serves_one_of_many_at_once() {
    let app = App::with(&required()).await;
    app.enrol(ADA).await;
    let mut walks = Vec::new();
    for _ in 0..4 {
        walks.push(after_sign_in(&app).await);
    }
    assert_eq!(winners(&app, &walks, &app.totp(TOTP_SECRET)).await, 1);
    assert_eq!(app.audit().await["mfa_passed"], 1);
}

/// Sends one code from every walk at once, and says how many walks came further.
async fn winners(app: &App, walks: &[(Device<'_>, Browser<'_>, Page)], code: &str) -> usize {
    let tries = walks.iter().map(|(_, browser, page)| (browser.clone(), page));
    join_all(tries.map(async |(mut browser, page): (Browser<'_>, &Page)| browser.prove(page, code).await)).await;
    let mut further = 0;
    for (device, browser, _) in walks {
        let page = browser.clone().open("/activate/confirm").await;
        further += usize::from(page.path == "/activate/confirm");
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
    let passed = "SELECT count(*) FROM device_grant WHERE mfa_user_id IS NOT NULL";
    let passed: i64 = sqlx::query_scalar(passed).fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(usize::try_from(passed).unwrap(), further);
    further
}

#[tokio::test]
async fn a_factor_is_set_up_with_a_first_code_and_recovery_codes_are_shown_once() {
    let app = App::with(&required()).await;
    let (device, mut browser, page) = after_sign_in(&app).await;
    assert_eq!((page.path.as_str(), page.says("h1")), ("/activate/mfa", vec!["Set up an authenticator".to_owned()]));
    assert!(page.attribute(".qr svg", "viewBox").is_some() || page.attribute(".qr svg", "viewbox").is_some());
    let secret = key(&page);
    let uri = page.attribute("a[href^='otpauth:']", "href").unwrap();
    assert!(secret.len() >= 32 && uri.starts_with("otpauth://totp/Acme:") && uri.contains(&secret), "{uri}");

    let again = browser.prove(&page, "000000").await;
    assert_eq!((again.status, key(&again)), (StatusCode::BAD_REQUEST, secret.clone()), "the same key, still");
    let shown = browser.prove(&again, &app.totp(&secret)).await;
    assert_eq!((shown.status, shown.says("h1")), (StatusCode::OK, vec!["Save your recovery codes".to_owned()]));
    let codes = shown.says(".codes code");
    assert_eq!(codes.len(), 10);
    assert_eq!(shown.answer.header("cache-control"), Some("no-store"));
    let reloaded = browser.open("/activate/mfa").await;
    assert_eq!(reloaded.path, "/activate/confirm", "the factor is proven by setting it up");
    assert!(codes.iter().all(|code| !reloaded.html.contains(code)));
    assert_eq!(browser.approve(&reloaded).await.path, "/activate/done");
    assert_eq!(device.poll().await.claims("access_token")["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    let audit = app.audit().await;
    assert_eq!((audit["enrolled"], audit["mfa_passed"]), (1, 1));

    // Next time it is asked for, and a recovery code takes its place: once.
    let (_device, mut browser, page) = after_sign_in(&app).await;
    assert_eq!(page.says("h1"), ["Verify that it is you"]);
    let typed = codes[3].to_uppercase().replace('-', " ");
    assert_eq!(browser.prove(&page, &typed).await.path, "/activate/confirm");
    let (_device, mut browser, page) = after_sign_in(&app).await;
    let again = browser.prove(&page, &codes[3]).await;
    assert_eq!((again.status, again.says("#recovery-code-error").len()), (StatusCode::BAD_REQUEST, 1));
    assert_eq!(browser.prove(&page, &codes[4]).await.path, "/activate/confirm");
}

#[tokio::test]
async fn a_recent_proof_serves_another_device_where_the_service_allows_it() {
    let client = "client_id = \"acme-cli\"";
    let app = App::with(&required().replace(client, &format!("{client}\nmfa_max_age = \"10m\""))).await;
    app.enrol(ADA).await;
    let (_device, mut browser, page) = after_sign_in(&app).await;
    assert_eq!(browser.prove(&page, &app.totp(TOTP_SECRET)).await.path, "/activate/confirm");
    app.advance(599);
    let second = Device::ask(&app, "read").await;
    let confirm = browser.enter(&second.user_code).await;
    assert_eq!(confirm.path, "/activate/confirm");
    browser.approve(&confirm).await;
    assert_eq!(second.poll().await.claims("access_token")["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    assert_eq!(app.audit().await["mfa_passed"], 2);

    let other = Device::ask(&app, "read").await;
    let mut elsewhere = Browser::new(&app);
    assert_eq!(elsewhere.enter_and_sign_in(&other.user_code).await.path, "/activate/mfa", "in this browser only");
    app.advance(2);
    let third = Device::ask(&app, "read").await;
    assert_eq!(browser.enter(&third.user_code).await.path, "/activate/mfa", "for ten minutes only");
}

#[tokio::test]
async fn a_proof_is_of_the_person_who_gave_it() {
    let app = App::with(&required()).await;
    app.enrol(ADA).await;
    app.enrol("bob@acme.example").await;
    let (device, mut browser, page) = after_sign_in(&app).await;
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    let page = browser.sign_out(&confirm).await;
    let page = browser.sign_in(&page, "bob@acme.example", BOB_PASSWORD).await;
    assert_eq!(page.path, "/activate/mfa", "Ada's proof is not Bob's");
    let fields = [("mine", "yes"), ("decision", "approve")];
    assert_eq!(browser.submit(&page, "/activate/confirm", &fields).await.path, "/activate/mfa");
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn a_key_is_for_the_browser_that_is_shown_it() {
    let app = App::with(&required()).await;
    let (_first, mut browser, page) = after_sign_in(&app).await;
    let (second, mut elsewhere, other_page) = after_sign_in(&app).await;
    assert_ne!(key(&page), key(&other_page), "another browser is shown another");
    let wrong = elsewhere.prove(&other_page, &app.totp(&key(&page))).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);

    // One sets it up while the other still looks at a key, which is worth nothing from then on.
    let shown = browser.prove(&page, &app.totp(&key(&page))).await;
    assert_eq!(shown.says(".codes code").len(), 10);
    let late = elsewhere.prove(&other_page, &app.totp(&key(&other_page))).await;
    assert_eq!((late.path.as_str(), late.says("h1")), ("/activate/mfa", vec!["Verify that it is you".to_owned()]));
    assert_eq!(second.poll().await.error(), "authorization_pending");
    app.advance(30);
    assert_eq!(elsewhere.prove(&late, &app.totp(&key(&page))).await.path, "/activate/confirm");
    assert_eq!(app.audit().await["enrolled"], 1);
}

#[tokio::test]
async fn two_who_set_it_up_at_once_leave_one_factor() {
    let app = App::with(&required()).await;
    let (_first, browser, page) = after_sign_in(&app).await;
    let (_second, elsewhere, other_page) = after_sign_in(&app).await;
    let tries = [(browser, page), (elsewhere, other_page)];
    let prove = async |(mut browser, page): (Browser<'_>, Page)| {
        let code = app.totp(&key(&page));
        browser.prove(&page, &code).await
    };
    let pages = join_all(tries.map(prove)).await;
    let shown = pages.iter().filter(|page| page.says(".codes code").len() == 10).count();
    assert_eq!((shown, app.audit().await["enrolled"]), (1, 1));
    let codes = "SELECT count(*) FROM recovery_code";
    assert_eq!(sqlx::query_scalar::<_, i64>(codes).fetch_one(&app.installation.pool).await.unwrap(), 10);
}

#[tokio::test]
async fn a_policy_that_becomes_stricter_holds_for_logins_under_way() {
    let app = App::acme().await;
    let (device, mut browser, confirm) = after_sign_in(&app).await;
    assert_eq!(confirm.path, "/activate/confirm");
    app.apply(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/mfa");
    app.apply(ACME).await;
    let again = browser.approve(&confirm).await;
    assert_eq!((again.path.as_str(), again.status), ("/activate/confirm", StatusCode::CONFLICT), "it was changed");
    assert_eq!(browser.approve(&again).await.path, "/activate/done");
    app.apply(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    assert_ne!(device.poll().await.status, StatusCode::OK, "checked again when the tokens are fetched");
}
