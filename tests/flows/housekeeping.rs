//! What is over stays for a while and goes then, in small batches, at whichever node, and nobody notices.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use countersign::device::codes;
use countersign::notice::link;
use countersign::server::housekeeping;
use futures_util::future::join;

use crate::support::app::Answer;
use crate::support::{App, Browser, Device};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// The longest that a code can live, and a minute.
const OVER: i64 = 76 * MINUTE;

async fn count(app: &App, what: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {what}")))
        .fetch_one(&app.installation.pool)
        .await
        .unwrap()
}

async fn is_there(app: &App, device: &Device<'_>) -> bool {
    let grant = codes::read_device_code(&app.installation.keyring, &device.device_code, "acme-cli").unwrap();
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM device_grant WHERE id = $1)")
        .bind(grant.0)
        .fetch_one(&app.installation.pool)
        .await
        .unwrap()
}

/// Presses "This wasn't me" for the approval of this device's code.
async fn report(app: &App, device: &Device<'_>) -> StatusCode {
    let keyring = &app.installation.keyring;
    let grant = codes::read_device_code(keyring, &device.device_code, "acme-cli").unwrap();
    let token = link::token(keyring, grant).expose().to_owned();
    let mut browser = Browser::new(app);
    let page = browser.open("/activate/report").await;
    browser.submit(&page, "/activate/report", &[("token", &token)]).await.status
}

#[tokio::test]
async fn a_login_that_nobody_approved_goes_after_a_week_and_an_approved_one_when_it_cant_be_reported_any_more() {
    let app = App::acme().await;
    let [expired, denied, unredeemed, redeemed] = [
        Device::ask(&app, "read").await,
        Device::ask(&app, "read").await,
        Device::ask(&app, "read").await,
        Device::ask(&app, "read").await,
    ];
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&denied.user_code).await;
    browser.decide(&confirm, "deny").await;
    for device in [&unredeemed, &redeemed] {
        Browser::new(&app).approve_code(&device.user_code).await;
    }
    assert_eq!(redeemed.poll().await.status, StatusCode::OK);
    let there = async || {
        app.tidy_up().await;
        [
            is_there(&app, &expired).await,
            is_there(&app, &denied).await,
            is_there(&app, &unredeemed).await,
            is_there(&app, &redeemed).await,
        ]
    };
    assert_eq!(there().await, [true; 4]);
    app.advance(7 * DAY + OVER - 2 * MINUTE);
    assert_eq!(there().await, [true; 4], "for whoever asks what happened");
    assert_eq!(app.audit().await["expired"], 2);
    app.advance(2 * MINUTE);
    assert_eq!(there().await, [false, false, true, true]);
    for device in [&expired, &denied] {
        let answer = device.poll().await;
        assert_eq!((answer.status, answer.text("error")), (StatusCode::BAD_REQUEST, "invalid_grant".to_owned()));
    }
    app.advance(23 * DAY - 2 * MINUTE);
    assert_eq!(there().await, [false, false, true, true]);
    assert_eq!(report(&app, &redeemed).await, StatusCode::OK, "the link leads somewhere as long as it is good");
    assert_eq!(report(&app, &unredeemed).await, StatusCode::OK);
    app.advance(2 * MINUTE);
    assert_eq!(there().await, [false; 4]);
    assert_eq!(count(&app, "report").await, 0);
    assert_eq!(report(&app, &redeemed).await, StatusCode::GONE);
}

async fn refresh(app: &App, tokens: &Answer) -> Answer {
    let refresh_token = tokens.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", &*refresh_token)];
    app.post("/auth/token", &form).await
}

#[tokio::test]
async fn a_session_goes_ninety_days_after_its_end() {
    let app = App::acme().await;
    let sign_in = async || {
        let device = Device::ask(&app, "read offline_access").await;
        Browser::new(&app).approve_code(&device.user_code).await;
        device.poll().await
    };
    let (revoked, unused, used) = (sign_in().await, sign_in().await, sign_in().await);
    let token = revoked.text("refresh_token");
    let answer = app.post("/auth/revoke", &[("client_id", "acme-cli"), ("token", &token)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let sessions = async || {
        app.tidy_up().await;
        count(&app, "session").await
    };
    let mut used = used;
    for days in [25, 25, 25] {
        app.advance(days * DAY);
        used = refresh(&app, &used).await;
        assert_eq!((used.status, sessions().await), (StatusCode::OK, 3));
    }
    app.advance(15 * DAY - MINUTE);
    assert_eq!(sessions().await, 3);
    app.advance(2 * MINUTE);
    assert_eq!(sessions().await, 2, "ninety days after it was revoked");
    app.advance(90 * DAY - 2 * MINUTE);
    assert_eq!(sessions().await, 2);
    for tokens in [&revoked, &unused, &used] {
        let answer = refresh(&app, tokens).await;
        assert_eq!((answer.status, answer.text("error")), (StatusCode::BAD_REQUEST, "invalid_grant".to_owned()));
    }
    app.advance(2 * MINUTE);
    assert_eq!(sessions().await, 0, "ninety days after their longest life");
    for tokens in [&revoked, &unused, &used] {
        let answer = refresh(&app, tokens).await;
        assert_eq!((answer.status, answer.text("error")), (StatusCode::BAD_REQUEST, "invalid_grant".to_owned()));
    }
}

#[tokio::test]
async fn a_browser_goes_with_what_belongs_to_it_and_its_logins_stay() {
    let app = App::acme().await;
    let (device, mut browser) = (Device::ask(&app, "read").await, Browser::new(&app));
    browser.enter_and_sign_in(&device.user_code).await;
    app.execute(
        "INSERT INTO upstream_sign_in (id, state_mac, browser_session_id, provider_id, created_at, expires_at)
         SELECT gen_random_uuid(), 'x', b.id, p.id, now(), now() + interval '1 year' FROM browser_session b, provider p",
    )
    .await;
    app.advance(12 * 60 * MINUTE - 1);
    app.tidy_up().await;
    assert_eq!((count(&app, "browser_session").await, count(&app, "browser_sign_in").await), (1, 1));
    app.advance(1);
    app.tidy_up().await;
    for table in ["browser_session", "browser_sign_in", "upstream_sign_in"] {
        assert_eq!(count(&app, table).await, 0, "{table}");
    }
    assert_eq!(count(&app, "device_grant WHERE claimed_by IS NOT NULL").await, 1, "which browser it was is known");
}

/// Grants of long ago, as if nobody had tidied up.
async fn backlog(app: &App) {
    app.execute(
        "INSERT INTO device_grant (id, organization_id, service_id, state, user_code_length, scopes, poll_interval_seconds,
             created_at, expires_at, ip, expiry_noted)
         SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, s.organization_id, s.id, 'pending', 8,
             '{}', 5, '2020-01-01', '2020-01-02', '192.0.2.1', true
         FROM service s, generate_series(1, 5000) n WHERE s.client_id = 'acme-cli'",
    )
    .await;
}

/// Notes how many grants each statement deletes.
async fn note_batches(app: &App) {
    for sql in [
        "CREATE TABLE batch (size bigint)",
        "CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
             'BEGIN INSERT INTO public.batch SELECT count(*) FROM gone; RETURN NULL; END'",
        "CREATE TRIGGER note_batch AFTER DELETE ON device_grant REFERENCING OLD TABLE AS gone
             FOR EACH STATEMENT EXECUTE FUNCTION note_batch()",
    ] {
        app.execute(sql).await;
    }
}

#[tokio::test]
async fn a_backlog_goes_in_batches_at_two_nodes_while_polls_are_answered() {
    let app = App::acme().await;
    let other = app.another_node().await;
    let (known, unknown) = (Device::ask(&app, "read").await, Device::ask(&other, "read").await);
    backlog(&app).await;
    note_batches(&app).await;
    let polls = async {
        let mut slowest = Duration::ZERO;
        while count(&app, "device_grant").await > 2 {
            for code in [&known.device_code, &unknown.device_code] {
                let begun = Instant::now();
                let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
                let form = [("grant_type", grant_type), ("client_id", "acme-cli"), ("device_code", &**code)];
                let answer = app.post("/auth/token", &form).await;
                assert!(["authorization_pending", "slow_down"].contains(&&*answer.text("error")), "{}", answer.body);
                slowest = slowest.max(begun.elapsed());
            }
        }
        slowest
    };
    let (slowest, ((), ())) = join(polls, join(app.tidy_up(), other.tidy_up())).await;
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    let sizes: (Option<i64>, Option<i64>) =
        sqlx::query_as("SELECT sum(size)::bigint, max(size) FROM batch").fetch_one(&app.owner()).await.unwrap();
    assert_eq!(sizes, (Some(5000), Some(500)), "each once, and not too many at once");
    assert!(is_there(&app, &known).await && is_there(&app, &unknown).await);
}

#[tokio::test]
async fn a_node_waits_neither_for_the_one_that_is_at_it_nor_for_a_row_that_is_in_use() {
    let mut app = App::acme().await;
    app.kill_tasks().await;
    backlog(&app).await;
    let retention = countersign::config::Retention::default();
    // Another node is in the middle of it, and hangs.
    let mut turn = app.installation.pool.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtext('countersign housekeeping'))";
    sqlx::query(lock).execute(&mut *turn).await.unwrap();
    let begun = Instant::now();
    assert!(!housekeeping::tidy_up(&app.installation, retention).await.unwrap());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(count(&app, "device_grant").await, 5000);
    turn.rollback().await.unwrap();

    let mut reader = app.installation.pool.begin().await.unwrap();
    let lock = "SELECT FROM device_grant ORDER BY id LIMIT 3 FOR UPDATE";
    sqlx::query(lock).execute(&mut *reader).await.unwrap();
    assert!(housekeeping::tidy_up(&app.installation, retention).await.unwrap());
    assert_eq!(count(&app, "device_grant").await, 3);
    reader.rollback().await.unwrap();
    assert!(housekeeping::tidy_up(&app.installation, retention).await.unwrap());
    assert_eq!(count(&app, "device_grant").await, 0);
}

#[tokio::test]
async fn what_one_kind_is_refused_keeps_no_other_from_going() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).enter_and_sign_in(&device.user_code).await;
    app.execute("REVOKE DELETE ON browser_session FROM countersign_server").await;
    app.advance(8 * DAY);
    app.tidy_up().await;
    assert_eq!((count(&app, "browser_session").await, count(&app, "device_grant").await), (1, 0));
    assert_eq!(app.metric("housekeeping_deleted_total{kind=\"browser_session\"}").await, Some(0.0));
}
