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
    assert_eq!(
        expiry::note(&mut app.installation.pool.acquire().await.unwrap(), &app.installation, 500).await.unwrap(),
        0
    );
    app.advance(1);
    assert_eq!(
        expiry::note(&mut app.installation.pool.acquire().await.unwrap(), &app.installation, 500).await.unwrap(),
        1
    );
    assert_eq!(
        expiry::note(&mut app.installation.pool.acquire().await.unwrap(), &app.installation, 500).await.unwrap(),
        0,
        "once"
    );
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

/// What each kind of event says: whose organization, service, device login, session, person, address and program it was.
/// `o`, `s`, `g`, `d`, `u`, `i`, `a`: always there.
const SAYS: [(&str, &str); 17] = [
    ("requested", "osgia"),
    ("claimed", "osgia"),
    ("guess_refused", "ia"),
    ("signed_in", "osguia"),
    ("refused", "osgia"),
    ("mfa_passed", "osguia"),
    ("mfa_failed", "osguia"),
    ("enrolled", "osguia"),
    ("approved", "osguia"),
    ("denied", "osguia"),
    ("expired", "osg"),
    ("redeemed", "osgduia"),
    ("replayed", "osgduia"),
    ("refreshed", "osgduia"),
    ("reuse_detected", "osgduia"),
    ("revoked", "osgduia"),
    ("administered", "o"),
];

#[tokio::test]
async fn every_kind_says_who_and_where() {
    let mut app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    app.user_agent = Some("Test/1");
    let mut browser = Browser::new(&app);
    browser.enter("BCDF-GHJK").await;

    // The first login sets an authenticator up; its session is refreshed, and an old token comes again.
    let device = Device::ask(&app, "read offline_access").await;
    let page = browser.enter(&device.user_code).await;
    let page = browser.sign_in(&page, "ada@acme.example", "wrong").await;
    let page = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    let secret = page.says(".secret").join("").replace(' ', "");
    browser.prove(&page, &app.totp(&secret)).await;
    let page = browser.open("/activate/confirm").await;
    browser.approve(&page).await;
    let first = device.poll().await.text("refresh_token");
    let refresh = async |token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "acme-cli")];
        app.post("/auth/token", &form).await
    };
    refresh(&first).await.text("refresh_token");
    app.advance(60);
    assert_eq!(refresh(&first).await.error(), "invalid_grant");

    // The second is given back by its tool, the third's code comes again, the fourth is denied, the fifth forgotten.
    let mut devices = vec![];
    for decision in ["approve", "approve", "deny"] {
        app.advance(60);
        let device = Device::ask(&app, "read offline_access").await;
        let page = browser.enter(&device.user_code).await;
        let page = browser.prove(&page, "000000").await;
        let page = browser.prove(&page, &app.totp(&secret)).await;
        browser.decide(&page, decision).await;
        devices.push((device.poll().await, device));
    }
    let token = devices[0].0.text("refresh_token");
    app.post("/auth/revoke", &[("token", &token), ("client_id", "acme-cli")]).await;
    app.advance(11);
    assert_eq!(devices[1].1.poll().await.error(), "invalid_grant");
    Device::ask(&app, "read").await;
    app.advance(901);
    expiry::note(&mut app.installation.pool.acquire().await.unwrap(), &app.installation, 500).await.unwrap();

    let audit = app.audit().await;
    for (kind, says) in SAYS {
        assert!(audit.contains_key(kind), "no {kind} in {audit:?}");
        let what = [
            ('o', "organization_id"),
            ('s', "service_id"),
            ('g', "grant_id"),
            ('d', "session_id"),
            ('u', "user_id"),
            ('i', "ip"),
            ('a', "user_agent"),
        ];
        for (_, column) in what.iter().filter(|(letter, _)| says.contains(*letter)) {
            let unsaid = format!("SELECT count(*) FROM audit_event WHERE kind = $1 AND {column} IS NULL");
            let unsaid: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(unsaid))
                .bind(kind)
                .fetch_one(&app.installation.pool)
                .await
                .unwrap();
            assert_eq!(unsaid, 0, "{kind} without {column}");
        }
    }
}
