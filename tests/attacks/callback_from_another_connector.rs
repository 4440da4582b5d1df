//! **A callback from another connector** (Dex #4928): a sign-in that began with one provider ends with another one's answer.
//!
//! The attacker has: an account at one of the organization's providers, perhaps one that lets anybody in, or at a provider
//! of another organization that has the same name in addresses; and their browser, in which they edit addresses.
//!
//! What must happen: a state is for the provider that it was made for, of the organization that it was made for, and a code
//! is exchanged nowhere else. Nobody is signed in, and the login stays as it is.

use axum::http::StatusCode;
use url::Url;

use super::{ADA, audited, states};
use crate::support::app::ACME;
use crate::support::github::{self, CLIENT_ID, GitHub};
use crate::support::oidc_provider::browser as http_client;
use crate::support::{App, Browser, Device, Page};

/// A provider of that slug, at this stand-in, letting in whom `admit` says.
fn provider(slug: &str, at: &GitHub, admit: &str) -> String {
    format!(
        "[[organization.provider]]\nslug = \"{slug}\"\nkind = \"github\"\nissuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
         client_secret = {{ env = \"GITHUB_SECRET\" }}\nadmit = {admit}\n",
        at.base(),
    )
}

/// Where this link leads, away from here.
async fn leave(browser: &mut Browser<'_>, link: &str) -> Url {
    browser.open(link).await.leads_to()
}

/// Signs in over there, and gives the address to which the browser is sent back.
async fn authorize(away: &Url) -> Url {
    let answer = http_client().get(away.clone()).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().parse().unwrap()
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned()
}

/// Comes back to `provider` with this state and code.
async fn come_back(browser: &mut Browser<'_>, provider: &str, state: &str, code: &str) -> Page {
    browser.open(&format!("/auth/{provider}/callback?state={state}&code={code}")).await
}

/// The organization's staff sign in at `hub`. At `lab` anybody does.
async fn scene() -> (App, GitHub, GitHub) {
    let (hub, lab) = (github::start().await, github::start().await);
    lab.world().account = serde_json::json!({ "id": 583_231, "login": "mallory", "name": "Mallory" });
    lab.world().emails = serde_json::json!([{ "email": ADA, "primary": true, "verified": true }]);
    let invited = ACME.replace("password = { env = \"ADA_PASSWORD\" }", "");
    let providers = [provider("hub", &hub, "\"invited\""), provider("lab", &lab, "\"anyone\"")].concat();
    (App::with(&format!("{invited}\n{providers}")).await, hub, lab)
}

#[tokio::test]
async fn the_answer_of_one_provider_is_none_of_the_other() {
    let (app, _hub, _lab) = scene().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    browser.enter(&device.user_code).await;
    let hub = leave(&mut browser, "/auth/hub?org=acme&service=cli").await;
    let lab = leave(&mut browser, "/auth/lab?org=acme&service=cli").await;
    let (at_hub, at_lab) = (parameter(&hub, "state"), parameter(&lab, "state"));
    let code_of_lab = parameter(&authorize(&lab).await, "code");
    // hub's state, ended at lab's address; and lab's at hub's.
    for (provider, state) in [("lab", &at_hub), ("hub", &at_lab), ("password", &at_hub), ("nobody", &at_hub)] {
        let page = come_back(&mut browser, provider, state, &code_of_lab).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{provider}: {}", page.text());
    }
    // hub's state at hub's address, with a code of lab's: it is exchanged at hub, which never made it.
    let page = come_back(&mut browser, "hub", &at_hub, &code_of_lab).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{}", page.text());
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in", "nobody is signed in");
    assert_eq!((audited(&app, "signed_in").await, states(&app).await), (0, vec!["claimed".to_owned()]));
}

#[tokio::test]
async fn the_same_subject_at_another_provider_is_another_person() {
    let (app, _hub, _lab) = scene().await;
    let device = Device::ask(&app, "read").await;
    let mut ada = Browser::new(&app);
    ada.enter(&device.user_code).await;
    let back = authorize(&leave(&mut ada, "/auth/hub?org=acme&service=cli").await).await;
    assert_eq!(ada.visit(&back).await.path, "/activate/confirm");

    // Mallory has Ada's number at lab, and says that her address is his.
    let device = Device::ask(&app, "read email").await;
    let mut mallory = Browser::new(&app);
    mallory.enter(&device.user_code).await;
    let back = authorize(&leave(&mut mallory, "/auth/lab?org=acme&service=cli").await).await;
    let refused = mallory.visit(&back).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert_eq!(mallory.open("/activate/confirm").await.path, "/activate/sign-in");
}

#[tokio::test]
async fn a_provider_of_the_same_name_in_another_organization_is_another_one() {
    let (hub, others) = (github::start().await, github::start().await);
    let invited = ACME.replace("password = { env = \"ADA_PASSWORD\" }", "");
    let other = "[[organization]]\nslug = \"other\"\nname = \"Other\"\nmfa = \"off\"\n[[organization.service]]\n\
                 slug = \"cli\"\nclient_id = \"other-cli\"\ndevice_login = true\nscopes = { read = \"Read\" }\n";
    let acmes = provider("hub", &hub, "\"invited\"");
    let others = provider("hub", &others, "\"anyone\"");
    let app = App::with(&format!("{invited}\n{acmes}\n{other}\n{others}")).await;

    let (mine, wanted) = (Device::ask_as(&app, "other-cli", "read").await, Device::ask(&app, "read").await);
    let mut browser = Browser::new(&app);
    browser.enter(&mine.user_code).await;
    let back = authorize(&leave(&mut browser, "/auth/hub?org=other&service=cli").await).await;
    // On the way, the pages become about the other organization's login.
    assert_eq!(browser.enter(&wanted.user_code).await.path, "/activate/sign-in");
    assert_eq!(browser.visit(&back).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in");
    assert_eq!((audited(&app, "signed_in").await, wanted.poll().await.error()), (0, "authorization_pending".into()));
}
