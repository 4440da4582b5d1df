//! An organization's own activation page: it checks the code, links to a sign-in, and is returned to.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::support::app::{ACME, ADA_PASSWORD};
use crate::support::{App, Browser, Device, oidc_provider};

const CLIENT: &str = "client_id = \"acme-cli\"";

/// [`ACME`] with a page of its own, whose address has a query already.
fn with_own_page() -> String {
    ACME.replace(CLIENT, &format!("{CLIENT}\nactivation_uri = \"https://start.acme.example/device?lang=de\""))
}

/// The link of the organization's page.
fn link(provider: &str, user_code: &str) -> String {
    format!("/auth/{provider}?org=acme&service=cli&user_code={user_code}")
}

fn form_action(answer: &crate::support::app::Answer) -> String {
    let policy = answer.header("content-security-policy").unwrap();
    policy.split(';').find_map(|directive| directive.trim().strip_prefix("form-action ")).unwrap().to_owned()
}

#[tokio::test]
async fn the_code_is_checked_there_and_the_decision_told_there() {
    for (decision, status) in [("approve", "success"), ("deny", "denied")] {
        let app = App::with(&with_own_page()).await;
        let device = Device::ask(&app, "read").await;
        let typed = device.user_code.to_lowercase().replace('-', " ");
        let known = app.post("/auth/device/verify", &[("user_code", &typed)]).await;
        assert_eq!(known.status, StatusCode::OK, "{}", known.body);
        assert_eq!((known.text("org_slug"), known.text("service_slug")), ("acme".into(), "cli".into()));
        assert_eq!(known.json()["available_providers"], serde_json::json!(["password"]));
        assert_eq!(known.json()["expires_in"], 900);

        let mut browser = Browser::new(&app);
        let page = browser.open(&link("password", &device.user_code)).await;
        assert_eq!((page.path.as_str(), form_action(&page.answer)), ("/activate/sign-in", "'self'".into()));
        let confirm = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
        assert_eq!(form_action(&confirm.answer), "'self' https://start.acme.example");
        let end = browser.decide(&confirm, decision).await;
        assert_eq!(end.status, StatusCode::SEE_OTHER);
        let expected = format!("https://start.acme.example/device?lang=de&device_flow_status={status}");
        assert_eq!(end.leads_to().as_str(), expected);
        let done = browser.open("/activate/done").await;
        assert_eq!(done.attribute("a.button", "href"), Some(expected));
        assert_eq!(device.poll().await.status == StatusCode::OK, decision == "approve");
    }
}

#[tokio::test]
async fn the_link_leads_to_the_issuer() {
    let issuer = oidc_provider::start("https://auth.acme.example/auth/sso/callback").await;
    let sso = format!(
        "[[organization.provider]]\nslug = \"sso\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret = {{ env = \"SSO_SECRET\" }}",
        issuer.issuer(),
        oidc_provider::CLIENT_ID,
    );
    let invited = with_own_page().replace("password = { env = \"ADA_PASSWORD\" }", "");
    let app = App::with(&format!("{invited}\n{sso}")).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let away = browser.open(&link("sso", &device.user_code)).await.leads_to();
    assert!(!away.as_str().contains(&device.user_code), "{away}");
    let back = oidc_provider::sign_in(&oidc_provider::browser(), &away, "ada").await;
    let confirm = browser.visit(&back).await;
    let end = browser.approve(&confirm).await.leads_to();
    assert!(end.query().unwrap().ends_with("device_flow_status=success"), "{end}");
    assert_eq!(device.poll().await.status, StatusCode::OK);
    // Who is signed in already is led on at once.
    let next = Device::ask(&app, "read").await;
    assert_eq!(browser.open(&link("sso", &next.user_code)).await.path, "/activate/confirm");
}

#[tokio::test]
async fn a_link_with_a_wrong_organization_service_or_provider_claims_nothing() {
    let app = App::with(&with_own_page()).await;
    let device = Device::ask(&app, "read").await;
    let code = &device.user_code;
    let mut browser = Browser::new(&app);
    for wrong in [
        format!("/auth/password?org=other&service=cli&user_code={code}"),
        format!("/auth/password?org=acme&service=agent&user_code={code}"),
        format!("/auth/nothing?org=acme&service=cli&user_code={code}"),
        format!("/auth/admin/password?user_code={code}"),
    ] {
        let page = browser.open(&wrong).await;
        assert_eq!((page.path.as_str(), page.status), ("/activate", StatusCode::OK), "{wrong}");
    }
    // None of them took the code away from the person.
    let mut elsewhere = Browser::new(&app);
    assert_eq!(elsewhere.open(&link("password", code)).await.path, "/activate/sign-in");
}

#[tokio::test]
async fn a_wrong_code_in_a_link_leads_to_the_code_page() {
    let app = App::with(&with_own_page()).await;
    let mut browser = Browser::new(&app);
    for wrong in ["BCDF-GHJK", "nonsense"] {
        let answer = browser.send(Request::get(link("password", wrong)).body(Body::empty()).unwrap()).await;
        let expected = format!("/activate?user_code={wrong}");
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, Some(expected.as_str())));
        assert_eq!(app.post("/auth/device/verify", &[("user_code", wrong)]).await.status, StatusCode::BAD_REQUEST);
    }
    let refused = app.audit().await["guess_refused"];
    assert!(refused >= 2, "wrong codes are guesses, wherever they are typed: {refused}");
    for without in ["/auth/password?org=acme&service=cli", "/auth/password?org=&service=&user_code="] {
        assert_eq!(browser.open(without).await.path, "/activate", "{without}");
    }
    assert_eq!(app.audit().await["guess_refused"], refused, "without a code nothing is guessed");
}

#[tokio::test]
async fn the_platform_has_a_link_of_its_own() {
    let platform = "[[organization]]\nslug = \"platform\"\nname = \"Platform\"\nmfa = \"off\"\n\
        [[organization.service]]\nslug = \"admin-cli\"\nclient_id = \"platform-admin-cli\"\ndevice_login = true\n\
        [[organization.provider]]\nslug = \"password\"\nkind = \"password\"\n\
        [[organization.user]]\nemail = \"root@acme.example\"\nrole = \"owner\"\npassword = { env = \"BOB_PASSWORD\" }\n";
    let app = App::with(&format!("{ACME}\n{platform}")).await;
    let device = Device::ask_as(&app, "platform-admin-cli", "openid").await;
    let mut browser = Browser::new(&app);
    let page = browser.open(&format!("/auth/admin/password?user_code={}", device.user_code)).await;
    assert_eq!(page.path, "/activate/sign-in", "{}", page.text());
    // People of another organization are nobody here.
    let again = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    let confirm = browser.sign_in(&page, "root@acme.example", crate::support::app::BOB_PASSWORD).await;
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.claims("access_token")["org"], "platform");
}
