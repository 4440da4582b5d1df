//! Accounts of Countersign's own.

use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::support::app::{ACME, ADA_PASSWORD, BOB_PASSWORD, with_bob};
use crate::support::{App, Browser, Device, Page};

/// Who a confirm page says that one would act as.
pub fn account(page: &Page) -> String {
    page.says(".account strong").join(" ")
}

#[tokio::test]
async fn a_login_from_the_code_to_the_tokens() {
    let app = App::acme().await;
    let device = Device::ask(&app, "openid email read").await;
    assert_eq!(device.poll().await.error(), "authorization_pending");

    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code.to_lowercase()).await;
    assert!(confirm.text().contains(&device.user_code) && confirm.text().contains("Acme CLI"), "{}", confirm.text());
    let done = browser.approve(&confirm).await;
    assert_eq!(done.path, "/activate/done");

    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    assert_eq!(tokens.text("token_type"), "Bearer");
    assert_eq!(tokens.text("scope"), "openid email read");
    let claims = tokens.claims("access_token");
    assert_eq!((&claims["client_id"], &claims["email"]), (&"acme-cli".into(), &"ada@acme.example".into()));
    assert_eq!((&claims["org"], &claims["service"]), (&"acme".into(), &"cli".into()));
    assert_eq!(claims["amr"], serde_json::json!(["pwd"]));
    assert_eq!(tokens.claims("id_token")["sub"], claims["sub"]);
    assert_eq!(device.poll().await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_code_of_one_node_is_approved_at_another_and_polled_at_a_third() {
    let first = App::acme().await;
    let (second, third) = (first.another_node().await, first.another_node().await);
    let device = Device::ask(&first, "read").await;
    let mut held = device.poll_request();
    held.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    let begun = Instant::now();
    let approve = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Browser::new(&second).approve_code(&device.user_code).await;
    };
    let (tokens, ()) = tokio::join!(third.send(held), approve);
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    assert!(begun.elapsed() < Duration::from_secs(20), "the held poll hears of it");
    assert_eq!(device.poll_held().await.error(), "invalid_grant", "once, on all of them");
}

#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let app = App::with(&with_bob().replace("\"BOB_PASSWORD\" }", "\"BOB_PASSWORD\" }\nstatus = \"locked\"")).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let attempts = [
        ("ada@acme.example", "not her password"),
        ("nobody@acme.example", "not her password"),
        ("bob@acme.example", BOB_PASSWORD),
    ];
    app.without_delays().await;
    let mut fastest = [Duration::MAX; 3];
    let mut said = Vec::new();
    // An answer without a hash computed would come many times sooner; what else this machine does is ruled out by trying often.
    let takes_as_long = |fastest: &[Duration; 3]| *fastest.iter().max().unwrap() < *fastest.iter().min().unwrap() * 3;
    while said.len() < 9 || (!takes_as_long(&fastest) && said.len() < 60) {
        for (index, (email, password)) in attempts.into_iter().enumerate() {
            let begun = Instant::now();
            let again = browser.sign_in(&page, email, password).await;
            fastest[index] = fastest[index].min(begun.elapsed());
            assert_eq!((again.status, again.path.as_str()), (StatusCode::BAD_REQUEST, "/activate/sign-in"));
            assert_eq!(again.field("email").as_deref(), Some(email), "what was typed is still there");
            assert_eq!(again.says("#password-error").len(), 1);
            said.push(again.text());
        }
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:#?}");
    assert!(takes_as_long(&fastest), "{fastest:?}");
    assert_eq!(app.audit().await["refused"], i64::try_from(said.len()).unwrap());
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let confirm = browser.sign_in(&page, " Ada@ACME.example ", ADA_PASSWORD).await;
    assert_eq!(confirm.path, "/activate/confirm", "nothing was lost by it");
}

#[tokio::test]
async fn a_field_that_is_left_empty_is_told_beside_it() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    for (email, password, beside) in [("", "x", "#email-error"), ("ada@acme.example", "", "#password-error")] {
        let again = browser.sign_in(&page, email, password).await;
        assert_eq!((again.status, again.says(beside).len()), (StatusCode::BAD_REQUEST, 1), "{}", again.html);
    }
    assert!(!app.audit().await.contains_key("refused"), "nothing was tried");
}

#[tokio::test]
async fn who_was_invited_is_active_once_signed_in() {
    let app = App::acme().await;
    app.execute("UPDATE app_user SET status = 'invited'").await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
    let active = "SELECT count(*) FROM app_user WHERE status = 'active'";
    assert_eq!(sqlx::query_scalar::<_, i64>(active).fetch_one(&app.installation.pool).await.unwrap(), 1);
}

#[tokio::test]
async fn not_you_lets_another_account_sign_in() {
    let app = App::with(&with_bob()).await;
    let device = Device::ask(&app, "email").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(account(&confirm), "ada@acme.example");
    let page = browser.sign_out(&confirm).await;
    assert_eq!(page.path, "/activate/sign-in");
    assert_eq!(browser.open("/activate/confirm").await.path, "/activate/sign-in");
    let confirm = browser.sign_in(&page, "bob@acme.example", BOB_PASSWORD).await;
    assert_eq!(account(&confirm), "bob@acme.example");
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.claims("access_token")["email"], "bob@acme.example");
}

#[tokio::test]
async fn a_second_device_of_the_same_browser_skips_the_sign_in() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    let first = Device::ask(&app, "read").await;
    browser.approve_code(&first.user_code).await;
    let second = Device::ask(&app, "read").await;
    let confirm = browser.enter(&second.user_code).await;
    assert_eq!((confirm.path.as_str(), account(&confirm)), ("/activate/confirm", "ada@acme.example".to_owned()));
    assert!(confirm.text().contains("Not you?"));
    browser.approve(&confirm).await;
    let subjects = [first.poll().await, second.poll().await].map(|tokens| tokens.claims("access_token")["sub"].clone());
    assert_eq!(subjects[0], subjects[1]);
}

#[tokio::test]
async fn a_scope_that_is_unticked_is_not_granted_and_required_ones_stay() {
    let required = "default_scopes = [\"read\"]\nrequired_scopes = [\"read\"]";
    let app = App::with(&ACME.replace("default_scopes = [\"read\"]", required)).await;
    let device = Device::ask(&app, "deploy read email").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(confirm.ticked("scope"), ["deploy", "read", "email"]);
    assert!(confirm.text().contains("Deploy to production"));
    // Nor is one granted that nobody asked for.
    let fields = [("scope", "email"), ("scope", "offline_access"), ("mine", "yes"), ("decision", "approve")];
    assert_eq!(browser.submit(&confirm, "/activate/confirm", &fields).await.path, "/activate/done");
    assert_eq!(device.poll().await.text("scope"), "read email");
}

#[tokio::test]
async fn without_the_tick_or_a_decision_nothing_is_decided() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read deploy").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    for fields in [[("decision", "approve"), ("scope", "read")], [("mine", "yes"), ("scope", "read")]] {
        let again = browser.submit(&confirm, "/activate/confirm", &fields).await;
        assert_eq!((again.status, again.says("#mine-error").len()), (StatusCode::BAD_REQUEST, 1), "{}", again.html);
        assert_eq!(again.ticked("scope"), ["read"], "as the person left it");
    }
    assert_eq!(browser.decide(&confirm, "maybe").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(device.poll().await.error(), "authorization_pending");
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_approval_gives_the_device_time_to_come_for_it() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    app.advance(899);
    browser.approve(&confirm).await;
    app.advance(14);
    assert_eq!(device.poll().await.status, StatusCode::OK);

    let late = Device::ask(&app, "read").await;
    browser.approve_code(&late.user_code).await;
    app.advance(901);
    assert_eq!(late.poll().await.error(), "expired_token");
}

#[tokio::test]
async fn a_service_that_is_switched_off_meanwhile_gets_nothing() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    app.execute("UPDATE app_user SET status = 'locked'").await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/sign-in", "who was locked out is signed out");
    app.execute("UPDATE app_user SET status = 'active'").await;
    browser.approve(&confirm).await;
    app.execute("UPDATE organization SET status = 'suspended'").await;
    assert_ne!(device.poll().await.status, StatusCode::OK);
}
