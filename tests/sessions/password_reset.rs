//! A forgotten password, or one that somebody else knows: another takes its place, and what was proven by the old one ends.

use axum::http::StatusCode;
use countersign::account::password_reset;
use countersign::directory::{organization, user};

use super::refresh;
use crate::support::app::{ADA_PASSWORD, Event};
use crate::support::{App, Browser, Device, Held};

const ADA: &str = "ada@acme.example";
const NEW: &str = "a new one of hers";

/// Gives Ada another password, and says how many of her devices that signed out.
async fn reset(app: &App) -> usize {
    let installation = &app.installation;
    let hash = installation.passwords.hash(&NEW.into()).await;
    let mut tx = installation.pool.begin().await.unwrap();
    let acme = organization::id_by_slug(&mut tx, "acme").await.unwrap().unwrap();
    let ada = user::by_email(&mut tx, acme, ADA).await.unwrap().unwrap();
    let ended = password_reset::reset(&mut tx, installation, &ada, &hash).await.unwrap();
    let ended = ended.expect("she is there");
    tx.commit().await.unwrap();
    ended.len()
}

#[tokio::test]
async fn another_password_ends_what_was_proven_by_the_old_one() {
    let app = App::acme().await;
    let signed_in = Device::ask(&app, "read offline_access").await;
    Browser::new(&app).approve_code(&signed_in.user_code).await;
    let refresh_token = signed_in.poll().await.text("refresh_token");
    // Approved, and no device has come for it; and one at which only the decision is missing.
    let approved = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&approved.user_code).await;
    let undecided = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    assert_eq!(browser.enter_and_sign_in(&undecided.user_code).await.path, "/activate/confirm");
    // Whose code nobody entered.
    let pending = Device::ask(&app, "read").await;

    assert_eq!(reset(&app).await, 1);
    let ended = refresh(&app, &refresh_token).await;
    assert_eq!(ended.error(), "invalid_grant");
    assert!(ended.text("error_description").contains("the password of the account was reset"), "{}", ended.body);
    assert_eq!(approved.poll().await.error(), "access_denied");
    assert_eq!(undecided.poll_held().await.error(), "access_denied");
    assert_eq!(pending.poll().await.error(), "authorization_pending");
    let mut told: Vec<Event> = app.events().await;
    told.retain(|event| event.detail["because"] == "the password was reset");
    let kinds: Vec<&str> = told.iter().map(|event| &*event.kind).collect();
    assert_eq!(kinds, ["denied", "denied", "revoked"]);

    let page = browser.enter(&pending.user_code).await;
    assert_eq!(page.path, "/activate/sign-in");
    let page = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!((page.status, page.path.as_str()), (StatusCode::BAD_REQUEST, "/activate/sign-in"));
    let page = browser.sign_in(&page, ADA, NEW).await;
    browser.approve(&page).await;
    assert_eq!(pending.poll().await.text("token_type"), "Bearer");
    assert_eq!(reset(&app).await, 1, "whatever is signed in by then");
}

#[tokio::test]
async fn who_was_invited_signs_in_with_a_first_password_and_who_is_locked_does_not() {
    let app = App::acme().await;
    app.execute("UPDATE app_user SET status = 'locked', password_hash = NULL, email_verified = false").await;
    reset(&app).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    assert_eq!(browser.sign_in(&page, ADA, NEW).await.status, StatusCode::BAD_REQUEST);
    app.execute("UPDATE app_user SET status = 'invited'").await;
    assert_eq!(browser.sign_in(&page, ADA, NEW).await.path, "/activate/confirm");
    let as_it_is = sqlx::query_as::<_, (String, bool)>("SELECT status, email_verified FROM app_user");
    assert_eq!(as_it_is.fetch_one(&app.installation.pool).await.unwrap(), ("active".to_owned(), true));
}

/// The old password was found right a moment before it was replaced.
#[tokio::test]
async fn a_password_that_is_replaced_meanwhile_signs_nobody_in() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let (mut at_a_code, mut at_home) = (Browser::new(&app), Browser::new(&app));
    let code = at_a_code.enter(&device.user_code).await;
    let home = at_home.open("/account/acme").await;
    let form = [("email", ADA), ("password", ADA_PASSWORD)];
    let held = Held::by(&app, "UPDATE app_user SET password_hash = 'another'").await;
    let replaced = async {
        held.until_waiting(2).await;
        held.release().await;
    };
    let (code, home, ()) = tokio::join!(
        at_a_code.sign_in(&code, ADA, ADA_PASSWORD),
        at_home.submit(&home, "/account/acme/sign-in", &form),
        replaced,
    );
    assert_eq!((code.status, code.path.as_str()), (StatusCode::OK, "/activate/sign-in"), "{}", code.text());
    assert_eq!((home.status, home.path.as_str()), (StatusCode::OK, "/account/acme/sign-in"), "{}", home.text());
    assert_eq!(signed_in(&app).await, 0);
    let because = "the password was replaced, or the account locked, meanwhile";
    let told = app.events().await.into_iter().filter(|event| event.detail["because"] == because);
    assert_eq!(told.map(|event| event.kind).collect::<Vec<_>>(), ["refused", "refused"]);
}

/// The same, but the sign-in holds the person first.
#[tokio::test]
async fn who_signed_in_a_moment_before_is_signed_out() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let held = Held::by(&app, "SELECT FROM browser_session FOR UPDATE").await;
    let replaced = async {
        held.until_waits("browser_sign_in").await;
        let released = async {
            held.until_waits("UPDATE app_user").await;
            held.release().await;
        };
        tokio::join!(reset(&app), released)
    };
    let _ = tokio::join!(browser.sign_in(&page, ADA, ADA_PASSWORD), replaced);
    assert_eq!(app.audit().await["signed_in"], 1);
    assert_eq!(signed_in(&app).await, 0);
    assert_eq!(device.poll_held().await.error(), "access_denied", "that browser held it");
}

/// In how many browsers somebody is signed in.
async fn signed_in(app: &App) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM browser_sign_in");
    count.fetch_one(&app.installation.pool).await.unwrap()
}
