//! **Guessing user codes** (RFC 8628 §5.1).
//!
//! The attacker has as many addresses as they like, each of which enters wrong codes until it is refused, to take over a
//! login that somebody else began, or only to keep everybody from logging in. They drop cookies, ask several servers at once,
//! and use whatever takes a code: the page, links, an organization's own page.
//!
//! Within any hour the probability that any guess was right stays below 10⁻³ for the whole installation. Who has nothing to
//! do with it gets a longer code, enters it, and logs in.

use std::cell::RefCell;
use std::collections::VecDeque;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use countersign::budget::{self, Charge, Purpose};
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::support::actors::forwarded;
use crate::support::app::form_request;
use crate::support::{App, Browser, Device, database};

/// As many codes as eight letters have.
const EIGHT_LETTERS: f64 = 25_600_000_000.0;

/// Lets so many codes of other people be open, each asked for from an address of its own.
async fn open_codes(app: &App, count: i64) {
    sqlx::query(
        "INSERT INTO device_grant (id, organization_id, service_id, user_code_mac, user_code_length, scopes,
             poll_interval_seconds, created_at, expires_at, ip)
         SELECT gen_random_uuid(), s.organization_id, s.id, sha256(n::text::bytea), 8, '{}', 5, $2,
             $2 + interval '15 minutes', '172.16.0.0'::inet + n
         FROM service s, generate_series(1, $1) n WHERE s.client_id = 'acme-cli'",
    )
    .bind(count)
    .bind(app.installation.clock.now())
    .execute(&app.installation.pool)
    .await
    .unwrap();
}

/// One guess, in whichever way it comes: whether the code was looked up.
async fn guess(app: &App, address: &str, n: usize, code: &str) -> bool {
    let status = loop {
        let status = match n % 3 {
            0 => Browser::behind_proxy(app, address).enter(code).await.status,
            1 => {
                let link = axum::http::Request::get(format!("/auth/password?user_code={code}"));
                app.send(forwarded(address, link.body(axum::body::Body::empty()).unwrap())).await.status
            }
            _ => app.send(forwarded(address, form_request("/auth/device/verify", &[("user_code", code)]))).await.status,
        };
        // Among so many there may be no connection left.
        if status != StatusCode::SERVICE_UNAVAILABLE {
            break status;
        }
    };
    assert!([400, 303, 429].contains(&status.as_u16()), "{status}");
    status != StatusCode::TOO_MANY_REQUESTS
}

/// Each address guesses until it is refused: how many were looked up.
async fn botnet(app: &App, other: &App, addresses: std::ops::Range<u16>) -> usize {
    let mut looked_up = 0;
    for bot in addresses {
        let address = format!("100.64.{}.{}", bot / 256, bot % 256);
        let node = if bot.is_multiple_of(2) { app } else { other };
        let told = join_all((0..31).map(|n| guess(node, &address, n, "BBBB-BBBB"))).await;
        looked_up += told.iter().filter(|looked_up| **looked_up).count();
    }
    looked_up
}

#[tokio::test]
async fn a_botnet_guesses_less_than_a_thousandth_and_honest_people_log_in() {
    let live = 50_000;
    let app = App::acme().await;
    let other = app.another_node().await;
    let mut early = Device::ask_from(&app, "198.51.100.1").await;
    open_codes(&app, live).await;
    // What was counted before is too old to be of use.
    app.advance(16);

    let looked_up = botnet(&app, &other, 0..14).await;
    let hits = f64::from(u32::try_from(looked_up).unwrap()) * f64::from(u32::try_from(live).unwrap()) / EIGHT_LETTERS;
    assert!(hits < 1e-3, "{looked_up} guesses: {hits}");
    assert!(hits > 0.5e-3, "nobody is refused without need: {looked_up} guesses, {hits}");
    assert_eq!(botnet(&other, &app, 14..17).await, 0, "there are no more, wherever they come from");

    // Who has an old code is told what to do, and isn't told whether it is right.
    let mut person = Browser::behind_proxy(&other, "203.0.113.1");
    let refused = person.enter(&early.user_code).await;
    let wrong = Browser::behind_proxy(&other, "203.0.113.1").enter("BCDF-GHJK").await;
    assert_eq!((refused.status, refused.html == wrong.html), (StatusCode::TOO_MANY_REQUESTS, true));
    assert!(refused.text().contains("Start again on your device: its new code has ten letters"), "{}", refused.text());

    // A new code has ten letters, wherever it is asked for, and is taken.
    for node in [&app, &other] {
        early = Device::ask_from(node, "198.51.100.1").await;
        let (first, second) = early.user_code.split_once('-').unwrap();
        assert_eq!((first.len(), second.len()), (5, 5), "{}", early.user_code);
        let mut person = Browser::behind_proxy(&other, "203.0.113.1");
        let confirm = person.enter_and_sign_in(&early.user_code).await;
        assert!(confirm.text().contains(&early.user_code), "to compare: {}", confirm.text());
        assert_eq!(person.approve(&confirm).await.path, "/activate/done");
        assert_eq!(early.poll_held().await.status, StatusCode::OK);
    }
    // A flood of refusals is few lines in the audit: one for each budget.
    let refusals = app.events().await.into_iter().filter(|event| event.detail["exhausted"].is_string()).count();
    assert!(refusals <= 14, "{refusals}");

    // An hour after the last guess it is as before, but for the length while so many codes are open.
    app.advance(3600 + 60);
    let mut person = Browser::behind_proxy(&app, "203.0.113.1");
    assert_eq!(person.enter("BCDF-GHJK").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(Device::ask(&app, "read").await.user_code.len(), 9, "the others' codes have expired");
}

#[tokio::test]
async fn guesses_alone_make_new_codes_longer_before_anybody_is_refused() {
    let app = App::acme().await;
    let other = app.another_node().await;
    let spent = async |cost: i64| {
        let mut conn = app.installation.pool.acquire().await.unwrap();
        let charge = Charge { purpose: Purpose::Installation, subject: String::new(), cost, limit: i64::MAX };
        let _spent = budget::spend(&mut conn, vec![charge], app.installation.clock.now()).await.unwrap().unwrap();
        app.advance(16);
    };
    let length = async |app: &App| Device::ask(app, "read").await.user_code.len() - 1;
    spent(2_500_000_000).await;
    assert_eq!((length(&app).await, length(&other).await), (8, 8));
    let before = Device::ask(&app, "read").await;
    spent(100_000_000).await;
    assert_eq!((length(&app).await, length(&other).await), (10, 10), "a quarter of what may be spent");
    assert_eq!(Browser::new(&app).enter(&before.user_code).await.path, "/activate/sign-in", "eight are still taken");
    let ten = Device::ask(&app, "read").await;
    spent(6_000_000_000).await;
    assert_eq!(Browser::new(&other).enter(&before.user_code).await.status, 429, "four fifths are spent");
    assert_eq!(Browser::new(&other).enter(&ten.user_code).await.path, "/activate/sign-in", "the rest is for ten");
    spent(2_000_000_000).await;
    let ten = Device::ask(&app, "read").await;
    let page = Browser::new(&other).enter(&ten.user_code).await;
    assert!(page.status == 429 && page.text().contains("no code is taken"), "{}", page.text());
    app.advance(3600 + 60);
    assert_eq!((length(&app).await, length(&other).await), (8, 8), "when it is over");
}

/// Somebody spends after some time, perhaps rightly.
#[derive(Clone, Debug)]
struct Spending {
    after_millis: i64,
    cost: i64,
    right: bool,
}

/// A budget is never spent beyond its limit within any hour, whatever comes when; and it is never kept from anybody longer
/// than needed.
#[test]
fn within_any_hour_no_more_is_spent_than_may_be() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = runtime.block_on(database::database());
    let pause = prop_oneof![4 => 0..2_000_i64, 3 => 0..600_000_i64, 1 => 0..8_000_000_i64];
    let spending = (pause, 1..=40_i64, any::<u8>()).prop_map(|(after_millis, cost, right)| Spending {
        after_millis,
        cost,
        right: right < 50,
    });
    let case = RefCell::new(0);
    let config = Config { cases: 24, max_shrink_iters: 50, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&vec(spending, 10..60), |spendings| {
            *case.borrow_mut() += 1;
            for purpose in [Purpose::Address, Purpose::Installation] {
                let subject = format!("{}", case.borrow());
                runtime.block_on(spend_all(&pool, purpose, &subject, &spendings));
            }
            Ok(())
        })
        .unwrap();
}

async fn spend_all(pool: &countersign::postgres::PgPool, purpose: Purpose, subject: &str, spendings: &[Spending]) {
    const LIMIT: i64 = 100;
    let mut conn = pool.acquire().await.unwrap();
    let mut now: DateTime<Utc> = DateTime::from_timestamp(1_800_000_007, 0).unwrap();
    let mut spent: VecDeque<(DateTime<Utc>, i64)> = VecDeque::new();
    for Spending { after_millis, cost, right } in spendings {
        now += TimeDelta::milliseconds(*after_millis);
        let charge = || vec![Charge { purpose, subject: subject.to_owned(), cost: *cost, limit: LIMIT }];
        // Within the hour that ends now, and so within any: each ends with a spending that counts most.
        let within = |age: TimeDelta| spent.iter().filter(|(at, _)| *at > now - age).map(|(_, cost)| cost).sum::<i64>();
        match budget::spend(&mut conn, charge(), now).await.unwrap() {
            Ok(receipt) => {
                assert!(within(TimeDelta::hours(1)) + cost <= LIMIT, "{purpose:?} {spent:?} {cost} at {now}");
                if *right {
                    budget::give_back(&mut conn, receipt).await.unwrap();
                } else {
                    spent.push_back((now, *cost));
                }
            }
            Err(exhausted) => {
                let longest = if purpose == Purpose::Installation { 61 } else { 60 };
                assert!(within(TimeDelta::minutes(longest)) + cost > LIMIT, "refused without need at {now}");
                assert!(exhausted.wait > TimeDelta::zero() && exhausted.wait <= TimeDelta::minutes(longest));
                let early = now + exhausted.wait - TimeDelta::microseconds(1);
                assert!(budget::spend(&mut conn, charge(), early).await.unwrap().is_err(), "{exhausted:?}");
                let receipt = budget::spend(&mut conn, charge(), now + exhausted.wait).await.unwrap();
                budget::give_back(&mut conn, receipt.unwrap()).await.unwrap();
                // Time goes on from where the wait ended: what left the row meanwhile is gone.
                now += exhausted.wait;
            }
        }
        let known = budget::spent(&mut conn, purpose, subject, now).await.unwrap();
        assert!(known <= LIMIT, "{known}");
    }
}

#[tokio::test]
async fn who_drops_cookies_is_refused_by_their_address_before_anything_is_written() {
    let app = App::acme().await;
    let now = app.installation.clock.now();
    let mut conn = app.installation.pool.acquire().await.unwrap();
    let charge = |purpose, limit| Charge { purpose, subject: "x".to_owned(), cost: 1, limit };
    let all = [Purpose::Installation, Purpose::Account, Purpose::Browser, Purpose::Address];
    let charges = all.map(|purpose| charge(purpose, 0)).to_vec();
    let refused = budget::spend(&mut conn, charges, now).await.unwrap().unwrap_err();
    assert_eq!(refused.purpose, Purpose::Address);
}
