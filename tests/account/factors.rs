//! The authenticator and recovery codes.

use axum::http::StatusCode;
use countersign::attempts::{self, Reservation, Subject};
use countersign::ids::UserId;

use crate::support::app::{ACME, ADA_PASSWORD, TOTP_SECRET};
use crate::support::{App, Browser, Held, Page};

use super::{ADA, ada, audited, prove, send, sign_in};

fn required() -> String {
    ACME.replace("mfa = \"off\"", "mfa = \"required\"")
}

/// The key that an enrolment page shows, in base32.
fn key(page: &Page) -> String {
    page.says(".secret").join("").replace(' ', "")
}

/// Ada with a second factor, proven at the door.
async fn proven(app: &App) -> Browser<'_> {
    app.enrol(ADA).await;
    let mut browser = Browser::new(app);
    let page = sign_in(&mut browser, ADA, ADA_PASSWORD).await;
    let page = prove(app, &mut browser, &page).await;
    assert_eq!(page.path, "/account/acme", "{}", page.text());
    browser
}

#[tokio::test]
async fn a_visit_asks_for_the_factor_that_the_organization_asks() {
    let app = App::with(&required()).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let page = sign_in(&mut browser, ADA, ADA_PASSWORD).await;
    for elsewhere in ["", "/security", "/authenticator", "/recovery-codes", "/password", "/end-others"] {
        assert_eq!(browser.open(&format!("/account/acme{elsewhere}")).await.path, "/account/acme/mfa");
    }
    let wrong = browser.submit(&page, "/account/acme/mfa", &[("code", "000000")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(prove(&app, &mut browser, &page).await.path, "/account/acme");
    assert_eq!((audited(&app, "mfa_failed").await.len(), audited(&app, "mfa_passed").await.len()), (1, 1));
}

#[tokio::test]
async fn who_must_have_a_factor_and_has_none_sets_one_up_at_the_door() {
    let app = App::with(&required()).await;
    let mut browser = Browser::new(&app);
    let page = sign_in(&mut browser, ADA, ADA_PASSWORD).await;
    let code = app.totp(&key(&page));
    let codes = browser.submit(&page, "/account/acme/mfa", &[("code", &code)]).await;
    assert_eq!(codes.says(".codes li").len(), 10, "{}", codes.text());
    assert_eq!(codes.attribute("a.button", "href").as_deref(), Some("/account/acme"));
    assert_eq!(browser.open("/account/acme").await.path, "/account/acme");
}

#[tokio::test]
async fn a_first_authenticator_can_be_chosen() {
    let app = App::acme().await;
    let mut browser = ada(&app).await;
    let page = browser.open("/account/acme/authenticator").await;
    let wrong = browser.submit(&page, "/account/acme/authenticator", &[("code", "000000")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(key(&wrong), key(&page), "the key that was scanned stays");
    let code = app.totp(&key(&page));
    let codes = browser.submit(&wrong, "/account/acme/authenticator", &[("code", &code)]).await;
    assert_eq!(codes.says(".codes li").len(), 10);
    let page = browser.open("/account/acme/security").await;
    assert!(page.text().contains("10 are left"), "{}", page.text());
    assert_eq!(audited(&app, "enrolled").await.len(), 1);
}

#[tokio::test]
async fn replacing_the_authenticator_asks_for_a_proof_of_the_last_five_minutes() {
    let app = App::with(&required()).await;
    let mut browser = proven(&app).await;
    let page = browser.open("/account/acme/authenticator").await;
    assert_eq!(page.path, "/account/acme/authenticator");
    let new_key = key(&page);
    app.advance(301);
    // Neither the page nor its form, which was opened in time.
    let late = browser.submit(&page, "/account/acme/authenticator", &[("code", &app.totp(&new_key))]).await;
    assert_eq!(late.path, "/account/acme/mfa");
    let asked = browser.open("/account/acme/authenticator").await;
    let page = prove(&app, &mut browser, &asked).await;
    assert_eq!((page.path.as_str(), key(&page)), ("/account/acme/authenticator", new_key.clone()));
    let done = browser.submit(&page, "/account/acme/authenticator", &[("code", &app.totp(&new_key))]).await;
    assert_eq!(done.path, "/account/acme/security");
    assert_eq!(audited(&app, "enrolled").await[0].1["replaced"], true);
    // From now on the new one counts.
    app.advance(301);
    let asked = browser.open("/account/acme/recovery-codes").await;
    let form = |code| [("code", code), ("next", "recovery-codes".to_owned())];
    let old = form(app.totp(TOTP_SECRET));
    let old = old.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(browser.submit(&asked, "/account/acme/mfa", &old).await.status, StatusCode::BAD_REQUEST);
    let new = form(app.totp(&new_key));
    let new = new.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(browser.submit(&asked, "/account/acme/mfa", &new).await.path, "/account/acme/recovery-codes");
}

#[tokio::test]
async fn new_recovery_codes_take_the_place_of_the_old() {
    let app = App::with(&required()).await;
    let mut browser = proven(&app).await;
    let path = "/account/acme/recovery-codes";
    let page = browser.open(path).await;
    let first = send(&mut browser, &page, path, &[]).await.says(".codes code");
    let second = send(&mut browser, &page, path, &[]).await;
    assert_eq!((first.len(), second.says(".codes code").len()), (10, 10));
    assert_eq!(second.answer.header("cache-control"), Some("no-store"));
    assert!(!browser.open(path).await.html.contains(&second.says(".codes code")[0]), "shown once");
    app.advance(301);
    let asked = browser.open(path).await;
    assert_eq!(asked.path, "/account/acme/mfa");
    let old = [("code", first[0].as_str()), ("next", "recovery-codes")];
    assert_eq!(browser.submit(&asked, "/account/acme/mfa", &old).await.status, StatusCode::BAD_REQUEST);
    let new = second.says(".codes code");
    let new = [("code", new[0].as_str()), ("next", "recovery-codes")];
    assert_eq!(browser.submit(&asked, "/account/acme/mfa", &new).await.path, path);
    assert!(browser.open("/account/acme/security").await.text().contains("9 are left"));
}

#[tokio::test]
async fn one_person_has_few_recovery_codes_in_the_making() {
    let app = App::with(&required()).await;
    let mut browser = proven(&app).await;
    let path = "/account/acme/recovery-codes";
    let page = browser.open(path).await;
    let ada = "SELECT id FROM app_user WHERE email = 'ada@acme.example'";
    let ada: uuid::Uuid = sqlx::query_scalar(ada).fetch_one(&app.installation.pool).await.unwrap();
    // Three clicks that are being answered: who hashes isn't done in a moment.
    let mut making = Vec::new();
    for _ in 0..3 {
        let subject = Subject::NewRecoveryCodes(UserId::from(ada));
        match attempts::reserve(&app.installation, &[subject]).await.unwrap() {
            Reservation::Granted(one) => making.push(one),
            Reservation::Closed(delay) => panic!("{delay:?}"),
        }
    }
    let refused = send(&mut browser, &page, path, &[]).await;
    assert_eq!((refused.status, refused.answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("5")));
    for one in making {
        one.was_right(&mut app.installation.pool.acquire().await.unwrap()).await.unwrap();
    }
    for _ in 0..6 {
        assert_eq!(send(&mut browser, &page, path, &[]).await.says(".codes code").len(), 10, "one after the other");
    }
}

#[tokio::test]
async fn a_link_leads_nowhere_else_after_a_proof() {
    let app = App::with(&required()).await;
    let mut browser = proven(&app).await;
    for next in ["https://evil.example", "//evil.example", "../../activate", "sign-out"] {
        let query = serde_urlencoded::to_string([("next", next)]).unwrap();
        assert_eq!(browser.open(&format!("/account/acme/mfa?{query}")).await.path, "/account/acme");
    }
}

#[tokio::test]
async fn a_browser_that_was_left_signed_in_sets_up_no_first_factor() {
    let app = App::acme().await;
    let mut browser = ada(&app).await;
    let page = browser.open("/account/acme/authenticator").await;
    app.advance(15 * 60 + 1);
    for late in [
        browser.open("/account/acme/authenticator").await,
        browser.submit(&page, "/account/acme/authenticator", &[("code", &app.totp(&key(&page)))]).await,
    ] {
        assert_eq!(late.path, "/account/acme/sign-in", "{}", late.text());
    }
    assert!(audited(&app, "enrolled").await.is_empty());
    assert_eq!(browser.open("/account/acme").await.path, "/account/acme", "the list needs no more than before");
    let page = browser.open("/account/acme/sign-in").await;
    browser.submit(&page, "/account/acme/sign-in", &[("email", ADA), ("password", ADA_PASSWORD)]).await;
    assert_eq!(browser.open("/account/acme/authenticator").await.path, "/account/acme/authenticator");
}

/// A browser that is signed out, by a reset or by a report, while its form is under way.
#[tokio::test]
async fn who_is_signed_out_meanwhile_leaves_no_factor_behind() {
    let app = App::acme().await;
    let mut browser = ada(&app).await;
    let page = browser.open("/account/acme/authenticator").await;
    let code = app.totp(&key(&page));
    let refused = signed_out_meanwhile(&app, &mut browser, &page, &[("code", &code)]).await;
    assert!(!refused.text().contains("recovery codes"), "{}", refused.text());
    assert_eq!(count(&app, "totp_factor").await, 0);
    assert_eq!(count(&app, "recovery_code").await, 0);

    app.enrol(ADA).await;
    let mut browser = ada(&app).await;
    let asked = browser.open("/account/acme/recovery-codes").await;
    let page = prove(&app, &mut browser, &asked).await;
    let refused = signed_out_meanwhile(&app, &mut browser, &page, &[]).await;
    assert!(!refused.text().contains("Save your recovery codes"), "{}", refused.text());
    assert_eq!(count(&app, "recovery_code").await, 0);

    sign_in(&mut browser, ADA, ADA_PASSWORD).await;
    let asked = browser.open("/account/acme/authenticator").await;
    let page = prove(&app, &mut browser, &asked).await;
    let code = app.totp(&key(&page));
    let before = sealed(&app).await;
    signed_out_meanwhile(&app, &mut browser, &page, &[("code", &code)]).await;
    assert_eq!(sealed(&app).await, before, "the authenticator is the one that it was");
}

/// Sends the form of a page, and signs everybody out before it is taken.
async fn signed_out_meanwhile(app: &App, browser: &mut Browser<'_>, page: &Page, fields: &[(&str, &str)]) -> Page {
    let mut held = Held::by(app, "SELECT FROM browser_sign_in FOR UPDATE").await;
    let signed_out = async {
        held.until_waits("FOR NO KEY UPDATE").await;
        held.execute("DELETE FROM browser_sign_in").await;
        held.release().await;
    };
    let path = page.path.clone();
    let (answer, ()) = tokio::join!(browser.submit(page, &path, fields), signed_out);
    assert_eq!(answer.path, "/account/acme/sign-in", "{}", answer.text());
    answer
}

async fn count(app: &App, table: &str) -> i64 {
    let sql = match table {
        "totp_factor" => "SELECT count(*) FROM totp_factor",
        _ => "SELECT count(*) FROM recovery_code",
    };
    sqlx::query_scalar(sql).fetch_one(&app.installation.pool).await.unwrap()
}

async fn sealed(app: &App) -> Vec<u8> {
    let secret = sqlx::query_scalar("SELECT secret_sealed FROM totp_factor");
    secret.fetch_one(&app.installation.pool).await.unwrap()
}
