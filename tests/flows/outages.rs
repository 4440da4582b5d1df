//! The database goes away in the middle of everything: who needs it is told so at once, who polls goes on polling, and nothing is
//! lost when it is back.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use countersign::installation::Parts;
use countersign::server::Settings;
use tokio::time::{sleep, timeout};

use crate::support::app::{Answer, form_request};
use crate::support::proxy::{Proxy, Weather};
use crate::support::{App, Browser, Device, Held};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

/// What is no more than looking at a flag, on a machine with much else to do; to wait for a connection takes longer.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// Within which time a server knows that its database is away, and whoever waits for it is told.
const KNOWN: Duration = Duration::from_secs(10);

/// Within which time it is used again.
const BACK: Duration = Duration::from_secs(10);

/// An installation, and a node of it that reaches the database through a network.
async fn behind_a_proxy() -> (App, App, Proxy) {
    let app = App::acme().await;
    let proxy = Proxy::to(&app.installation.pool).await;
    let pool = proxy.pool(&app.installation.pool, 8);
    let parts = Parts { clock: app.installation.clock.clone(), ..App::parts(pool, app.issuer()) };
    let node = App::of_parts_and_settings(parts, Settings::default()).await;
    (app, node, proxy)
}

async fn until_away(node: &App) {
    let away = async {
        // Without a token nobody asks the database here: it is known, and not found out by this request.
        while node.get("/auth/userinfo").await.status != StatusCode::SERVICE_UNAVAILABLE {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(KNOWN, away).await.expect("it is known in time that the database is away");
}

/// A request, and that it took no longer than this.
async fn within(longest: Duration, node: &App, request: Request<Body>) -> Answer {
    let (begun, what) = (Instant::now(), request.uri().to_string());
    let answer = timeout(SOON, node.send(request)).await.expect("it is answered");
    assert!(begun.elapsed() < longest, "{what} took {:?}: {}", begun.elapsed(), answer.body);
    answer
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[track_caller]
fn is_away(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert_eq!(answer.header("retry-after"), Some("5"));
}

/// Every door, while the database is known to be away.
async fn every_door_says_so(node: &App, device: &Device<'_>) {
    for (path, form) in [
        ("/auth/device/code", [("client_id", "acme-cli"), ("scope", "read")]),
        ("/auth/device/verify", [("user_code", "WDJB-MJHT"), ("client_id", "acme-cli")]),
        ("/auth/revoke", [("token", "csr_x"), ("client_id", "acme-cli")]),
        ("/auth/introspect", [("token", "csr_x"), ("client_id", "acme-cli")]),
        ("/auth/userinfo", [("access_token", "x"), ("x", "y")]),
    ] {
        let answer = within(AT_ONCE, node, form_request(path, &form)).await;
        is_away(&answer);
        assert_eq!(answer.error(), "temporarily_unavailable", "{path}");
    }
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "csr_x"), ("client_id", "acme-cli")];
    let answer = within(AT_ONCE, node, form_request("/auth/token", &refresh)).await;
    is_away(&answer);
    assert_eq!(answer.error(), "temporarily_unavailable");
    for path in
        ["/activate", "/activate?user_code=WDJB-MJHT", "/account/acme", "/auth/password", "/activate/report?token=x"]
    {
        let page = within(AT_ONCE, node, get(path)).await;
        is_away(&page);
        assert!(
            page.body.contains("<html") && page.header("content-security-policy").is_some(),
            "{path}: {}",
            page.body
        );
    }
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/static/countersign.css"] {
        assert_eq!(within(AT_ONCE, node, get(path)).await.status, StatusCode::OK, "{path}");
    }
    for _ in 0..20 {
        let answer = within(AT_ONCE, node, device.poll_request()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (400, "authorization_pending"),
            "{}",
            answer.body
        );
    }
}

/// Polls a node until it sends tokens.
async fn tokens_of(node: &App, device: &Device<'_>) -> Answer {
    loop {
        let answer = node.send(device.poll_request()).await;
        if answer.status == StatusCode::OK {
            return answer;
        }
        assert_eq!(answer.error(), "authorization_pending", "{}", answer.body);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_network_ends_what_is_under_way_and_holds_nothing_up_when_it_is_back() {
    let (app, node, proxy) = behind_a_proxy().await;
    let (device, other) = (Device::ask(&app, "read").await, Device::ask(&app, "read").await);
    Browser::new(&app).approve_code(&device.user_code).await;
    // Every connection of the pool is there.
    let busy: Vec<_> = futures_util::future::join_all((0..8).map(|_| node.installation.pool.acquire())).await;
    drop(busy);
    proxy.set(Weather::Dead);

    // More requests than connections, none of which is answered by the database.
    let pages = (0..10).map(|_| within(KNOWN, &node, get("/account/acme")));
    let codes = (0..10).map(|_| within(KNOWN, &node, form_request("/auth/device/code", &[("client_id", "acme-cli")])));
    let polls = (0..10).map(|_| within(KNOWN, &node, other.poll_request()));
    let both = futures_util::future::join(futures_util::future::join_all(pages), futures_util::future::join_all(codes));
    let ((pages, codes), polls) = futures_util::future::join(both, futures_util::future::join_all(polls)).await;
    pages.iter().chain(&codes).for_each(is_away);
    assert!(polls.iter().all(|answer| answer.error() == "authorization_pending"), "{polls:?}");
    until_away(&node).await;
    every_door_says_so(&node, &device).await;

    // Connections of before stay dead.
    proxy.set(Weather::Fine);
    let tokens = timeout(BACK, tokens_of(&node, &device)).await.expect("it is used again in time");
    assert!(tokens.json()["access_token"].is_string());
    assert_eq!(node.get("/account/acme").await.status, StatusCode::SEE_OTHER);
    let sessions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM session").fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(sessions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redemption_whose_answer_a_dead_network_swallowed_is_told_to_the_next_poll() {
    let (app, node, proxy) = behind_a_proxy().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    // A row, for which a statement waits that PostgreSQL has got whole.
    let held = Held::by(&app, "SELECT FROM device_grant FOR UPDATE").await;
    let swallow = async {
        held.until_waits("redeemed").await;
        proxy.set(Weather::Dead);
        held.release().await;
    };
    let (answer, ()) = futures_util::future::join(node.send(device.poll_request()), swallow).await;
    assert_eq!(answer.error(), "authorization_pending", "{}", answer.body);
    let count =
        async |sql: &'static str| -> i64 { sqlx::query_scalar(sql).fetch_one(&app.installation.pool).await.unwrap() };
    let done = async {
        while count("SELECT count(*) FROM device_grant WHERE state = 'redeemed'").await == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, done).await.expect("it is done, though nobody hears of it");
    // So late that whoever had its tokens and came again would be a thief.
    app.advance(60);
    proxy.set(Weather::Fine);
    let tokens = timeout(SOON, tokens_of(&node, &device)).await.expect("it is used again in time");
    assert!(tokens.json()["access_token"].is_string());
    assert_eq!(count("SELECT count(*) FROM session WHERE revoked_at IS NULL").await, 1);
    // What was done in vain was taken back.
    assert_eq!((app.audit().await["redeemed"], app.audit().await["revoked"]), (2, 1));
    // They are sent once.
    app.advance(60);
    let again = node.send(device.poll_request()).await;
    assert_eq!(again.error(), "invalid_grant", "{}", again.body);
    assert_eq!(app.audit().await["replayed"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_refuses_connections_is_away_at_once_and_used_again_at_once() {
    let (app, node, proxy) = behind_a_proxy().await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    for _ in 0..2 {
        proxy.set(Weather::Cut);
        until_away(&node).await;
        every_door_says_so(&node, &device).await;
        proxy.set(Weather::Fine);
        let back = async {
            while node.get("/account/acme").await.status != StatusCode::SEE_OTHER {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(BACK, back).await.expect("it is used again in time");
    }
    assert_eq!(node.send(device.poll_request()).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_poll_outlives_a_dead_network_and_hears_of_what_was_decided_elsewhere() {
    let (app, node, proxy) = behind_a_proxy().await;
    let device = Device::ask(&app, "read").await;
    let mut held = device.poll_request();
    held.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    let held = node.send(held);
    let story = async {
        sleep(Duration::from_millis(300)).await;
        proxy.set(Weather::Dead);
        until_away(&node).await;
        Browser::new(&app).approve_code(&device.user_code).await;
        proxy.set(Weather::Fine);
        Instant::now()
    };
    let (answer, fine_since) = tokio::join!(held, story);
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(fine_since.elapsed() < Duration::from_secs(15), "an interval, and what it takes to be back");
}

#[tokio::test]
async fn what_the_database_says_when_it_is_full_or_closing_is_said_as_unavailable_and_a_wrong_query_as_a_fault() {
    let app = App::acme().await;
    let owner = app.owner();
    let mut browser = Browser::new(&app);
    let sign_in = browser.open("/account/acme/sign-in").await;
    let credentials = [("email", "ada@acme.example"), ("password", "nearly ada's password")];
    for (code, status) in [
        ("53100", 503),
        ("53200", 503),
        ("53300", 503),
        ("57P01", 503),
        ("57P03", 503),
        ("25006", 503),
        ("58030", 503),
        ("28000", 503),
        ("22012", 500),
        ("42883", 500),
    ] {
        for table in ["device_grant", "attempt"] {
            let sql = format!(
                "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'as the test wants it' USING ERRCODE = '{code}'; END $$;
                 CREATE OR REPLACE TRIGGER broken BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&owner).await.unwrap();
        }
        let answer = app.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
        assert_eq!(answer.status.as_u16(), status, "{code}: {}", answer.body);
        let page = app.send(browser.request(&sign_in, "/account/acme/sign-in", &credentials)).await;
        assert_eq!(page.status.as_u16(), status, "{code}: {}", page.body);
        for answer in [&answer, &page] {
            assert_eq!(answer.header("retry-after"), (status == 503).then_some("5"), "{code}");
        }
    }
    owner.close().await;
}

#[tokio::test]
async fn a_table_that_is_locked_holds_nobody_up_for_long() {
    let app = App::acme().await;
    let owner = app.owner();
    let mut busy = owner.begin().await.unwrap();
    sqlx::query("LOCK service IN ACCESS EXCLUSIVE MODE").execute(&mut *busy).await.unwrap();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "csr_x"), ("client_id", "acme-cli")];
    let answer = within(Duration::from_secs(12), &app, form_request("/auth/token", &refresh)).await;
    is_away(&answer);
    // Nor is the query left behind, which would wait in PostgreSQL for as long as the lock is held.
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let none_left = async {
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&owner).await.unwrap() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, none_left).await.expect("PostgreSQL notices that nobody waits any more");
    busy.rollback().await.unwrap();
    owner.close().await;
    let answer = app.post("/auth/token", &refresh).await;
    assert_eq!(answer.error(), "invalid_grant");
}
