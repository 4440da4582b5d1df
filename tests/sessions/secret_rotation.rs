//! The installation's secret is rotated to its end: under the new one alone, everything that was made before still works.

use std::time::Duration;

use countersign::directory::kept_secret::{self, Renewal};
use countersign::directory::{provider, service, webhook};
use countersign::installation::Parts;
use countersign::mfa::totp;
use countersign::secrets::resealing::Resealed;
use countersign::secrets::{InstallationSecret, Keyring, Random};
use countersign::session::signing_keys::{self, SigningKeys};
use futures_util::future::join_all;

use super::refresh;
use crate::support::app::{ACME, AGENT_SECRET, Answer, TOTP_SECRET, secret_of_all};
use crate::support::{App, Browser, Device};

/// A second factor, a provider with a secret, and a webhook, beside what everybody has.
fn directory() -> String {
    let sealed = "\n[[organization.provider]]\nslug = \"sso\"\nkind = \"google\"\nclient_id = \"acme\"\n\
                  client_secret = { env = \"SSO_SECRET\" }\n\n[[organization.webhook]]\n\
                  url = \"https://hooks.acme.example/countersign\"\nsecret = { env = \"HOOK_SECRET\" }\n";
    ACME.replace("mfa = \"off\"", "mfa = \"required\"") + sealed
}

/// The same installation with these secrets.
async fn under(app: &App, secrets: &[InstallationSecret]) -> App {
    let Parts { pool, clock, .. } = &*app.installation;
    let parts = Parts {
        clock: clock.clone(),
        keyring: Keyring::new(secrets).unwrap(),
        ..App::parts(pool.clone(), app.issuer())
    };
    App::of(parts).await
}

async fn log_in(app: &App) -> Answer {
    // A code of an authenticator is good once.
    app.advance(60);
    let device = Device::ask(app, "read offline_access").await;
    let mut browser = Browser::new(app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(page.path, "/activate/mfa", "{}", page.html);
    let confirm = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    browser.approve(&confirm).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    tokens
}

async fn reseal(app: &App) -> [Resealed; 4] {
    let (mut conn, keyring) = (app.installation.pool.acquire().await.unwrap(), &app.installation.keyring);
    [
        totp::reseal(&mut conn, keyring).await.unwrap(),
        signing_keys::reseal(&mut conn, keyring).await.unwrap(),
        provider::reseal(&mut conn, keyring).await.unwrap(),
        webhook::reseal(&mut conn, keyring).await.unwrap(),
    ]
}

#[tokio::test]
async fn what_was_sealed_and_who_is_signed_in_outlive_the_secret_that_they_began_with() {
    let old = App::with(&directory()).await;
    old.enrol("ada@acme.example").await;
    let tokens = log_in(&old).await;
    let waiting = Device::ask(&old, "read").await;

    let secret = InstallationSecret::generate(&Random::system());
    let both = under(&old, &[secret.clone(), secret_of_all()]).await;
    assert_eq!(both.send(waiting.poll_request()).await.error(), "authorization_pending");
    let newer = refresh(&both, &tokens.text("refresh_token")).await;
    assert_eq!(newer.status, 200, "{}", newer.body);

    // Too early: the new one alone opens nothing, and changes nothing.
    let alone = Keyring::new(std::slice::from_ref(&secret)).unwrap();
    let mut conn = old.installation.pool.acquire().await.unwrap();
    let lost = Resealed { resealed: 0, unopenable: 1 };
    assert_eq!(totp::reseal(&mut conn, &alone).await.unwrap(), lost);
    drop(conn);

    let kinds = reseal(&both).await;
    assert_eq!(kinds.map(|kind| (kind.resealed, kind.unopenable)), [(1, 0), (3, 0), (1, 0), (1, 0)]);
    assert_eq!(reseal(&both).await, [Resealed::default(); 4], "nothing is left");

    let new = under(&old, &[secret]).await;
    SigningKeys::load(&new.installation).await.unwrap();
    assert_eq!(refresh(&new, &newer.text("refresh_token")).await.status, 200);
    log_in(&new).await;
    let mut conn = new.installation.pool.acquire().await.unwrap();
    let keyring = &new.installation.keyring;
    assert_eq!(totp::reseal(&mut conn, keyring).await.unwrap(), Resealed::default());
}

/// Three confidential clients: the agent, an API that only introspects, and one that nobody uses at the moment. No file is applied again:
/// so it is for those whose secrets the server drew.
fn with_confidential_clients() -> String {
    let another = |slug: &str, what: &str| {
        format!(
            "[[organization.service]]\nslug = \"{slug}\"\nname = \"{slug}\"\n\
             client_secret = {{ env = \"AGENT_SECRET\" }}\n{what} = true\n\n"
        )
    };
    let more = another("api", "resource_server") + &another("batch", "device_login") + "[[organization.provider]]";
    ACME.replace("[[organization.provider]]", &more)
}

async fn ask_for_codes(app: &App, client_id: &str) -> Answer {
    app.post("/auth/device/code", &[("client_id", client_id), ("client_secret", AGENT_SECRET)]).await
}

async fn introspect_nothing(app: &App) -> Answer {
    let form = [("client_id", "acme-api"), ("client_secret", AGENT_SECRET), ("token", "none")];
    app.post("/auth/introspect", &form).await
}

/// The clients of whom `rekey` says that they may need an older secret.
async fn in_need_of_an_older_secret(app: &App) -> Vec<String> {
    let mut conn = app.installation.pool.acquire().await.unwrap();
    let clients = kept_secret::maybe_of_an_older_secret(&mut conn, &app.installation.keyring).await.unwrap();
    clients.into_iter().map(|client| client.client_id).collect()
}

/// Returns when `rekey` names these clients only: no request waits until what is kept of its secret is renewed.
async fn until_in_need_are(app: &App, expected: &[&str]) {
    let renewed = async {
        while in_need_of_an_older_secret(app).await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), renewed).await;
    assert!(in_time.is_ok(), "{:?} and not {expected:?}", in_need_of_an_older_secret(app).await);
}

/// Whether the agent's next request would have what is kept of its secret written anew.
async fn would_be_renewed(app: &App) -> bool {
    let mut conn = app.installation.pool.acquire().await.unwrap();
    let agent = service::by_client_id(&mut conn, "acme-agent").await.unwrap().unwrap();
    Renewal::of(&agent, &app.installation.keyring, &AGENT_SECRET.into()).is_some()
}

#[tokio::test]
async fn a_client_that_was_heard_from_while_both_were_listed_does_without_the_secret_that_its_own_was_kept_under() {
    let old = App::with(&with_confidential_clients()).await;
    assert_eq!(in_need_of_an_older_secret(&old).await, [""; 0]);
    assert!(!would_be_renewed(&old).await);

    let secret = InstallationSecret::generate(&Random::system());
    let secrets = [secret.clone(), secret_of_all()];
    let (both, another) = (under(&old, &secrets).await, under(&old, &secrets).await);
    assert_eq!(in_need_of_an_older_secret(&both).await, ["acme-agent", "acme-api", "acme-batch"]);
    // Many at once, on two nodes; none of them fails by it.
    let asked = join_all([&both, &another].repeat(4).into_iter().map(|node| ask_for_codes(node, "acme-agent"))).await;
    for answer in asked {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(introspect_nothing(&both).await.status, 200);
    until_in_need_are(&both, &["acme-batch"]).await;
    assert!(!would_be_renewed(&another).await, "once is enough");

    reseal(&both).await;
    let new = under(&old, &[secret]).await;
    for answer in [ask_for_codes(&new, "acme-agent").await, introspect_nothing(&new).await] {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let refused = ask_for_codes(&new, "acme-batch").await;
    assert_eq!((refused.status.as_u16(), refused.error().as_str()), (400, "invalid_client"));
    assert_eq!(in_need_of_an_older_secret(&new).await, ["acme-batch"]);
}

#[tokio::test]
async fn of_a_client_that_was_there_before_it_was_written_down_it_is_known_as_soon_as_it_is_heard_from() {
    let app = App::acme().await;
    app.execute("UPDATE service SET client_secret_key = NULL").await;
    assert_eq!(in_need_of_an_older_secret(&app).await, ["acme-agent"]);
    let wrong = [("client_id", "acme-agent"), ("client_secret", "another")];
    assert_eq!(app.post("/auth/device/code", &wrong).await.error(), "invalid_client");
    assert!(would_be_renewed(&app).await);
    assert_eq!(ask_for_codes(&app, "acme-agent").await.status, 200);
    until_in_need_are(&app, &[]).await;
    assert!(!would_be_renewed(&app).await);
}
