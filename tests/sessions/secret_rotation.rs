//! The installation's secret is rotated to its end: under the new one alone, everything that was made before still works.

use countersign::directory::{provider, webhook};
use countersign::installation::Parts;
use countersign::mfa::totp;
use countersign::secrets::resealing::Resealed;
use countersign::secrets::{InstallationSecret, Keyring, Random};
use countersign::session::signing_keys::{self, SigningKeys};

use super::refresh;
use crate::support::app::{ACME, Answer, TOTP_SECRET, secret_of_all};
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
