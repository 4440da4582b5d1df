//! What the audit says of a login: one event for each step, in order.

use countersign::device::expiry;

use crate::support::app::{ACME, ADA_PASSWORD, TOTP_SECRET};
use crate::support::{App, Browser, Device};

async fn app() -> App {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    app.enrol("ada@acme.example").await;
    app
}

#[tokio::test]
async fn every_step_of_a_login_is_one_event() {
    let app = app().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    browser.address = Some("192.0.2.7");
    for _ in 0..3 {
        app.advance(5);
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
    let page = browser.enter(&device.user_code).await;
    let page = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    let page = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    browser.approve(&page).await;
    device.poll().await;

    let events = app.events().await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["requested", "claimed", "signed_in", "mfa_passed", "approved", "redeemed"],
        "polls are not in it"
    );
    let [requested, claimed, .., redeemed] = events.as_slice() else { unreachable!() };
    assert!(requested.grant_id.is_some());
    assert!(events.iter().all(|event| event.grant_id == requested.grant_id), "{events:#?}");
    assert!([requested, claimed].iter().all(|event| event.user_id.is_none()), "nobody is known yet");
    let user = redeemed.user_id;
    assert!(user.is_some() && events[2..].iter().all(|event| event.user_id == user), "{events:#?}");
    assert!(redeemed.session_id.is_some());
    for event in &events {
        let own = if ["requested", "redeemed"].contains(&event.kind.as_str()) { "127.0.0.1" } else { "192.0.2.7" };
        assert_eq!(event.ip.map(|ip| ip.addr().to_string()).as_deref(), Some(own), "{event:?}");
    }
    let said = format!("{events:?}");
    let secrets = [&device.device_code, &device.user_code, ADA_PASSWORD];
    assert!(secrets.iter().all(|secret| !said.contains(*secret)), "{said}");
}

#[tokio::test]
async fn the_user_agent_is_kept() {
    let app = app().await;
    let device = Device::ask(&app, "read").await;
    let request = axum::http::Request::get("/activate").header("user-agent", "Test/1");
    let mut browser = Browser::new(&app);
    let page = browser.enter("BCDF-GHJK").await;
    browser.send(request.body(axum::body::Body::empty()).unwrap()).await;
    let mut form = crate::support::app::form_request(
        "/activate",
        &[("user_code", &device.user_code), ("csrf_token", &page.field("csrf_token").unwrap())],
    );
    form.headers_mut().insert("user-agent", "Test/1".parse().unwrap());
    browser.send(form).await;
    let events = app.events().await;
    let claimed = events.iter().find(|event| event.kind == "claimed").unwrap();
    assert_eq!(claimed.user_agent.as_deref(), Some("Test/1"));
}

#[tokio::test]
async fn what_went_another_way_is_told_too() {
    let app = app().await;
    let mut browser = Browser::new(&app);
    browser.enter("BCDF-GHJK").await;
    let denied = Device::ask(&app, "read").await;
    let page = browser.enter(&denied.user_code).await;
    let page = browser.sign_in(&page, "ada@acme.example", "wrong").await;
    let page = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    let page = browser.prove(&page, "000000").await;
    let page = browser.prove(&page, &app.totp(TOTP_SECRET)).await;
    browser.decide(&page, "deny").await;
    denied.poll().await;

    let forgotten = Device::ask(&app, "read").await;
    app.advance(899);
    assert_eq!(expiry::note(&app.installation).await.unwrap(), 0);
    app.advance(1);
    assert_eq!(expiry::note(&app.installation).await.unwrap(), 1);
    assert_eq!(expiry::note(&app.installation).await.unwrap(), 0, "once");
    forgotten.poll().await;
    let events = app.events().await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected =
        ["guess_refused", "requested", "claimed", "refused", "signed_in", "mfa_failed", "mfa_passed", "denied"];
    assert_eq!(kinds[..8], expected);
    assert_eq!(kinds[8..], ["requested", "expired"]);
    assert_eq!(events[0].grant_id, None, "a wrong code is of no login");
    assert_eq!(events[7].grant_id, events[1].grant_id);
    assert!(events[7].user_id.is_some() && events[7].ip.is_some());
    assert_eq!((events[9].grant_id, &events[9].detail), (events[8].grant_id, &serde_json::json!({ "was": "pending" })));
}

#[tokio::test]
async fn a_code_that_is_used_again_is_told_and_ends_the_session() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    device.poll().await;
    app.advance(5);
    assert_eq!(device.poll().await.error(), "invalid_grant");
    let audit = app.audit().await;
    assert_eq!((audit.get("replayed"), audit.get("revoked")), (None, None), "a lost answer is asked for again");
    app.advance(6);
    assert_eq!(device.poll().await.error(), "invalid_grant");
    assert_eq!(app.audit().await["replayed"], 1);
    let open = "SELECT count(*) FROM session WHERE revoked_at IS NULL";
    assert_eq!(sqlx::query_scalar::<_, i64>(open).fetch_one(&app.installation.pool).await.unwrap(), 0);
}
