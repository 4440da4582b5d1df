//! Guessing one-time passwords.
//!
//! **Has**: somebody's password, as many device logins and browsers as they like, many connections at once to several
//! nodes. Or a code that was seen over a shoulder.
//!
//! **Must happen**: of one account's second factor five tries are looked at, however they are spread; after each further
//! one the next waits twice as long, up to an hour. A right code is not taken meanwhile, and never twice. Whoever owns the
//! account proves it meanwhile, in a browser where they did before.

use axum::http::StatusCode;
use futures_util::future::join_all;

use crate::support::app::{ACME, ADA_PASSWORD, TOTP_SECRET};
use crate::support::{App, Browser, Device, Page};

const ADA: &str = "ada@acme.example";

/// Ada with an authenticator, which is asked for.
async fn app() -> App {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    app.enrol(ADA).await;
    app
}

/// A new browser that has the password and is asked for a code.
async fn asked(app: &App) -> (Browser<'_>, Page) {
    let device = Device::ask(app, "read").await;
    let mut browser = Browser::new(app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(page.path, "/activate/mfa", "{}", page.text());
    (browser, page)
}

fn retry_after(page: &Page) -> i64 {
    page.answer.header("retry-after").map_or(0, |seconds| seconds.parse().unwrap())
}

/// A code that is none of the three which are good now.
fn wrong(app: &App) -> String {
    let mut good = Vec::new();
    app.advance(-30);
    for _ in 0..3 {
        good.push(app.totp(TOTP_SECRET));
        app.advance(30);
    }
    app.advance(-60);
    ["111111", "222222", "333333", "444444"].map(str::to_owned).into_iter().find(|code| !good.contains(code)).unwrap()
}

#[tokio::test]
async fn of_64_codes_at_once_on_two_nodes_five_are_looked_at() {
    let app = app().await;
    let other = app.another_node().await;
    let mut walks = Vec::new();
    for _ in 0..4 {
        walks.push(asked(&app).await);
    }
    let code = wrong(&app);
    let tries = (0..64).map(|n: usize| {
        let (browser, page) = &walks[n / 16];
        let (mut browser, code) = (browser.at_node(if n.is_multiple_of(2) { &app } else { &other }), &code);
        async move {
            loop {
                let status = browser.prove(page, code).await.status;
                // Among so many there may be no connection left.
                if status != StatusCode::SERVICE_UNAVAILABLE {
                    break status;
                }
            }
        }
    });
    let statuses = join_all(tries).await;
    let count = |status| statuses.iter().filter(|got| **got == status).count();
    // Who found no connection afterwards doesn't know that theirs was one of the five. PostgreSQL does.
    let (wrong, delayed) = (count(StatusCode::BAD_REQUEST), count(StatusCode::TOO_MANY_REQUESTS));
    assert!((1..=5).contains(&wrong) && wrong + delayed == 64, "{statuses:?}");
    assert!((app.highest_level().await - 5.0).abs() < 1e-9);
    let failed = app.audit().await["mfa_failed"];
    let wrong = i64::try_from(wrong).unwrap();
    assert!((wrong + 1..=6).contains(&failed), "five that were wrong, and one for all the others: {failed}");

    // At the account pages it is the same second factor.
    let mut elsewhere = Browser::new(&app);
    let page = elsewhere.open("/account/acme").await;
    let form = [("email", ADA), ("password", ADA_PASSWORD)];
    let page = elsewhere.submit(&page, "/account/acme/sign-in", &form).await;
    let told = elsewhere.submit(&page, "/account/acme/mfa", &[("code", &app.totp(TOTP_SECRET))]).await;
    assert_eq!((told.status, retry_after(&told)), (StatusCode::TOO_MANY_REQUESTS, 1), "{}", told.text());
}

#[tokio::test]
async fn each_wrong_one_doubles_the_wait_up_to_an_hour() {
    let app = app().await;
    for _ in 0..5 {
        let (mut browser, page) = asked(&app).await;
        assert_eq!(browser.prove(&page, &wrong(&app)).await.status, StatusCode::BAD_REQUEST);
    }
    for power in 0..14 {
        let (mut browser, page) = asked(&app).await;
        let told = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
        let expected = (1 << power).min(3600);
        assert_eq!((told.status, retry_after(&told)), (StatusCode::TOO_MANY_REQUESTS, expected));
        let beside = told.says("#code-error").join("");
        assert!(beside.contains("too many wrong tries"), "{beside}");
        app.advance(expected);
        let (mut browser, page) = asked(&app).await;
        let again = browser.prove(&page, &wrong(&app)).await;
        assert_eq!((again.status, retry_after(&again)), (StatusCode::BAD_REQUEST, 0));
    }
    app.advance(3600);
    let (mut browser, page) = asked(&app).await;
    assert_eq!(browser.prove(&page, &app.totp(TOTP_SECRET)).await.path, "/activate/confirm");
}

#[tokio::test]
async fn who_proved_it_in_this_browser_before_has_tries_of_their_own() {
    let app = app().await;
    let (mut hers, page) = asked(&app).await;
    let confirm = hers.prove(&page, &app.totp(TOTP_SECRET)).await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    // The other one knows the password, and is known for it. That is not enough.
    app.advance(30);
    let (mut thief, page) = asked(&app).await;
    for _ in 0..5 {
        thief.prove(&page, &wrong(&app)).await;
    }
    let code = app.totp(TOTP_SECRET);
    assert_eq!(thief.prove(&page, &code).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(thief.known.len(), 1, "{:?}", thief.known);

    let device = Device::ask(&app, "read").await;
    let page = hers.enter(&device.user_code).await;
    assert_eq!(page.path, "/activate/mfa");
    assert_eq!(hers.prove(&page, &wrong(&app)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(hers.prove(&page, &code).await.path, "/activate/confirm");
    // With another authenticator the browser is known no more.
    app.execute("UPDATE totp_factor SET created_at = created_at + interval '1 second'").await;
    app.advance(30);
    let device = Device::ask(&app, "read").await;
    let page = hers.enter(&device.user_code).await;
    assert_eq!(hers.prove(&page, &app.totp(TOTP_SECRET)).await.path, "/activate/confirm", "a moment has passed");
}

#[tokio::test]
async fn a_code_that_comes_64_times_at_once_on_two_nodes_is_good_once() {
    let app = app().await;
    let other = app.another_node().await;
    app.without_delays().await;
    let mut walks = Vec::new();
    for _ in 0..8 {
        walks.push(asked(&app).await);
    }
    let code = app.totp(TOTP_SECRET);
    let tries = (0..64).map(|n: usize| {
        let (browser, page) = &walks[n / 8];
        let (mut browser, code) = (browser.at_node(if n.is_multiple_of(2) { &app } else { &other }), &code);
        async move { browser.prove(page, code).await }
    });
    join_all(tries).await;
    assert_eq!(app.audit().await["mfa_passed"], 1);
    let (mut browser, page) = asked(&app).await;
    assert_eq!(browser.prove(&page, &code).await.status, StatusCode::BAD_REQUEST, "nor a 65th time");
}

#[tokio::test]
async fn recovery_codes_count_for_the_same_second_factor() {
    let app = app().await;
    let (mut browser, page) = asked(&app).await;
    for code in ["aaaa-bbbb-cccc-dddd", "111111", "aaaa-bbbb-cccc-dddd", "222222", "aaaa-bbbb-cccc-dddd"] {
        assert_eq!(browser.prove(&page, code).await.status, StatusCode::BAD_REQUEST);
    }
    let told = browser.prove(&page, "aaaa-bbbb-cccc-dddd").await;
    assert_eq!((told.status, told.says("#recovery-code-error").len()), (StatusCode::TOO_MANY_REQUESTS, 1));
    assert_eq!(browser.prove(&page, "").await.status, StatusCode::BAD_REQUEST, "an empty field is no try");
}
