//! `/account/…`, as a person's browser meets it.

mod devices;
mod factors;
mod forgery;
mod password;
mod sign_in;

use countersign::ids::SessionId;
use uuid::Uuid;

use crate::support::app::{ADA_PASSWORD, TOTP_SECRET, with_bob};
use crate::support::{App, Browser, Device, Page};

const ADA: &str = "ada@acme.example";
const BOB: &str = "bob@acme.example";

/// Signs in at the account pages with a password, and returns the page after it.
async fn sign_in(browser: &mut Browser<'_>, email: &str, password: &str) -> Page {
    let page = browser.open("/account/acme").await;
    assert_eq!(page.path, "/account/acme/sign-in", "{}", page.text());
    browser.submit(&page, "/account/acme/sign-in", &[("email", email), ("password", password)]).await
}

/// Ada in a browser of her own, at her list of devices.
async fn ada(app: &App) -> Browser<'_> {
    let mut browser = Browser::new(app);
    let page = sign_in(&mut browser, ADA, ADA_PASSWORD).await;
    assert_eq!(page.path, "/account/acme", "{}", page.text());
    browser
}

/// Sends the form of a page that goes to `path`: pages about a device hold one for it and one for "Not you?".
async fn send(browser: &mut Browser<'_>, page: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
    let token = page.attribute(&format!("form[action='{path}'] input[name=csrf_token]"), "value");
    let mut fields = fields.to_vec();
    fields.push(("csrf_token", token.as_deref().unwrap_or_default()));
    let answer = browser.send(crate::support::app::form_request(path, &fields)).await;
    match answer.header("location").map(str::to_owned) {
        Some(location) => browser.open(&location).await,
        None => Page { path: path.to_owned(), status: answer.status, html: answer.body.clone(), answer },
    }
}

/// Types the code that the authenticator shows, at a later moment than the one before.
async fn prove(app: &App, browser: &mut Browser<'_>, page: &Page) -> Page {
    assert_eq!(page.path, "/account/acme/mfa", "{}", page.text());
    app.advance(30);
    let next = page.field("next").unwrap_or_default();
    let code = app.totp(TOTP_SECRET);
    browser.submit(page, "/account/acme/mfa", &[("code", &code), ("next", &next)]).await
}

/// Signs a device in as Ada, and returns its session.
async fn device(app: &App, name: &str) -> SessionId {
    device_of(app, &mut Browser::new(app), name).await
}

async fn device_of(app: &App, browser: &mut Browser<'_>, name: &str) -> SessionId {
    let device = Device::ask(app, "read offline_access").await;
    browser.approve_code(&device.user_code).await;
    let mut tokens = device.poll().await;
    // A server that is too busy for its database says that nothing is decided yet.
    while tokens.error() == "authorization_pending" {
        tokens = device.poll().await;
    }
    let session: Uuid = tokens.claims("access_token")["sid"].as_str().unwrap().parse().unwrap();
    let renamed = sqlx::query("UPDATE session SET name = $2 WHERE id = $1").bind(session).bind(name);
    renamed.execute(&app.installation.pool).await.unwrap();
    SessionId(session)
}

/// Why a session ended; `None` while it goes on.
async fn ended(app: &App, session: SessionId) -> Option<String> {
    sqlx::query_scalar("SELECT revoked_because FROM session WHERE id = $1")
        .bind(session.0)
        .fetch_one(&app.installation.pool)
        .await
        .unwrap()
}

/// The audit's events of one kind: session and detail.
async fn audited(app: &App, kind: &str) -> Vec<(Option<Uuid>, serde_json::Value)> {
    sqlx::query_as(
        "SELECT session_id, detail FROM audit_event WHERE kind = $1 AND user_id IS NOT NULL ORDER BY at, session_id, sequence",
    )
    .bind(kind)
    .fetch_all(&app.installation.pool)
    .await
    .unwrap()
}
