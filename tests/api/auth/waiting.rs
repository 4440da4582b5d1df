//! `POST /auth/token` with `Prefer: wait=N` (RFC 7240, SPEC §2.3). Held polls live in real time.

use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::api::{is_refused, with_header};
use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

/// Less than the interval of [`unhurried`]: who is held longer was not woken but looked by themselves.
const SOON: Duration = Duration::from_secs(20);

/// A service whose devices poll every 30 seconds, known to its server.
async fn unhurried() -> App {
    let app = App::with(&ACME.replacen("device_login = true", "device_login = true\ninterval = 30", 1)).await;
    app.until_known("acme-cli").await;
    app
}

async fn wait(app: &App, device: &Device<'_>, preference: &str) -> (crate::support::app::Answer, Duration) {
    let start = Instant::now();
    let answer = app.send(with_header(device.poll_request(), "prefer", preference)).await;
    (answer, start.elapsed())
}

#[tokio::test]
async fn an_undecided_poll_is_held_as_long_as_it_likes() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let (answer, took) = wait(&app, &device, "wait=1").await;
    is_refused(&answer, 400, "authorization_pending");
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    assert!((Duration::from_secs(1)..SOON).contains(&took), "{took:?}");

    let (answer, took) = wait(&app, &device, "wait=0").await;
    is_refused(&answer, 400, "authorization_pending");
    assert!(took < SOON, "{took:?}");
    let (answer, took) = wait(&app, &device, "respond-async").await;
    assert_eq!((answer.header("preference-applied"), took < SOON), (None, true));
    // One poll each: the bucket holds five.
    let (answer, _) = wait(&app, &device, "wait=0").await;
    is_refused(&answer, 400, "authorization_pending");
    let (answer, _) = wait(&app, &device, "wait=0").await;
    is_refused(&answer, 400, "authorization_pending");
    // Not held: a flood waits for nothing.
    let (answer, took) = wait(&app, &device, "wait=30").await;
    is_refused(&answer, 400, "slow_down");
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn a_decision_ends_the_wait_whichever_node_it_was_made_at() {
    let app = unhurried().await;
    let other = app.another_node().await;
    other.until_known("acme-cli").await;
    for node in [&app, &other] {
        for (decision, status) in [("approve", StatusCode::OK), ("deny", StatusCode::BAD_REQUEST)] {
            let device = Device::ask(&app, "read").await;
            let mut browser = Browser::new(&app);
            let confirm = browser.enter_and_sign_in(&device.user_code).await;
            let decide = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                browser.decide(&confirm, decision).await;
            };
            let ((answer, took), ()) = tokio::join!(wait(node, &device, "wait=30"), decide);
            assert_eq!(answer.status, status, "{}", answer.body);
            assert_eq!(answer.header("preference-applied"), Some("wait=30"));
            assert!((Duration::from_millis(200)..SOON).contains(&took), "{took:?}");
        }
    }
}

#[tokio::test]
async fn of_many_held_polls_one_gets_tokens() {
    let app = unhurried().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    let decide = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        browser.approve(&confirm).await;
    };
    let polls = futures_util::future::join_all((0..5).map(|_| wait(&app, &device, "wait=20")));
    let (answers, ()) = tokio::join!(polls, decide);
    assert_eq!(answers.iter().filter(|(answer, _)| answer.status == StatusCode::OK).count(), 1);
    assert!(answers.iter().all(|(_, took)| *took < SOON), "{answers:?}");
}

#[tokio::test]
async fn a_poll_that_is_held_when_the_database_goes_away_stays_pending() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let leave = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.installation.pool.close().await;
    };
    let ((answer, _), ()) = tokio::join!(wait(&app, &device, "wait=1"), leave);
    is_refused(&answer, 400, "authorization_pending");
}
