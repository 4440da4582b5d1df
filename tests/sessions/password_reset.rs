//! A forgotten password, or one that somebody else knows: another takes its place, and what was proven by the old one ends.

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
    assert_eq!(undecided.poll().await.error(), "access_denied");
    assert_eq!(pending.poll().await.error(), "authorization_pending");
    let mut told: Vec<Event> = app.events().await;
    told.retain(|event| event.detail["because"] == "the password was reset");
    let kinds: Vec<&str> = told.iter().map(|event| &*event.kind).collect();
    assert_eq!(kinds, ["denied", "denied", "revoked"]);

    let page = browser.enter(&pending.user_code).await;
    assert_eq!(page.path, "/activate/sign-in");
    let page = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!((page.status.as_u16(), page.path.as_str()), (400, "/activate/sign-in"));
    let page = browser.sign_in(&page, ADA, NEW).await;
    browser.approve(&page).await;
    assert_eq!(pending.poll().await.text("token_type"), "Bearer");
    assert_eq!(reset(&app).await, 1, "whatever is signed in by then");
}

#[tokio::test]
async fn who_was_invited_is_active_with_a_password_and_who_is_locked_stays_so() {
    let app = App::acme().await;
    for (before, after) in [
        ("UPDATE app_user SET status = 'invited', email_verified = false", "active"),
        ("UPDATE app_user SET status = 'locked', email_verified = false", "locked"),
    ] {
        app.execute(before).await;
        reset(&app).await;
        let as_it_is = sqlx::query_as::<_, (String, bool)>("SELECT status, email_verified FROM app_user");
        assert_eq!(as_it_is.fetch_one(&app.installation.pool).await.unwrap(), (after.to_owned(), true));
    }
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
    assert_eq!((code.status.as_u16(), code.path.as_str()), (200, "/activate/sign-in"), "{}", code.text());
    assert_eq!((home.status.as_u16(), home.path.as_str()), (200, "/account/acme/sign-in"), "{}", home.text());
    let signed_in = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM browser_sign_in");
    assert_eq!(signed_in.fetch_one(&app.installation.pool).await.unwrap(), 0);
}
