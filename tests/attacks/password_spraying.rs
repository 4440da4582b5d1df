//! Password spraying and stuffing.
//!
//! **Has**: a list of addresses, some of which are accounts; a list of passwords that people choose; many connections at
//! once, to several nodes; and, for one account, a network of machines.
//!
//! **Must happen**: however many tries come at once, five of them are looked at; after each further one the next waits
//! twice as long, up to a quarter of an hour. Nothing tells an account from an address that is nobody's. Whoever owns the
//! account gets in meanwhile, in a browser where they were before. A right password of the attacker's own clears nothing.

use axum::http::StatusCode;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use crate::support::app::{ACME, ADA_PASSWORD, BOB_PASSWORD, form_request};
use crate::support::{App, Browser, Device, Page};

const ADA: &str = "ada@acme.example";
const BOB: &str = "bob@acme.example";
const PATH: &str = "/activate/sign-in";

/// Codes that live as long as somebody has to wait, Bob, who is locked, and Eve, who has no password.
async fn app() -> App {
    let client = "client_id = \"acme-cli\"\n";
    let acme = ACME.replace(client, &format!("{client}code_lifetime = \"1h\"\n"));
    let bob = "email = \"bob@acme.example\"\npassword = { env = \"BOB_PASSWORD\" }\nstatus = \"locked\"";
    let eve = "email = \"eve@acme.example\"\nstatus = \"active\"";
    App::with(&format!("{acme}\n[[organization.user]]\n{bob}\n[[organization.user]]\n{eve}\n")).await
}

/// A browser at this address that is asked to sign in.
async fn asked<'a>(app: &'a App, address: &str) -> (Browser<'a>, Page) {
    let device = Device::ask(app, "read").await;
    let mut browser = Browser::behind_proxy(app, address);
    let page = browser.enter(&device.user_code).await;
    assert_eq!(page.path, PATH, "{}", page.text());
    (browser, page)
}

fn retry_after(page: &Page) -> u64 {
    page.answer.header("retry-after").map_or(0, |seconds| seconds.parse().unwrap())
}

/// Tries wrong passwords until the delay is this long.
async fn exhaust(app: &App, email: &str, address: &str, delay: u64) {
    let (mut browser, page) = asked(app, address).await;
    loop {
        let answer = browser.sign_in(&page, email, "wrong").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            if retry_after(&answer) >= delay {
                return;
            }
            app.advance(i64::try_from(retry_after(&answer)).unwrap());
        }
    }
}

#[tokio::test]
async fn of_64_tries_at_once_on_two_nodes_five_are_looked_at() {
    let app = app().await;
    let other = app.another_node().await;
    for (email, from) in [(ADA, "192.0.2.1"), ("nobody@acme.example", "192.0.2.2")] {
        let (browser, page) = asked(&app, from).await;
        let before = app.audit().await.get("refused").copied().unwrap_or_default();
        let tries = (0..64).map(|n| {
            let mut browser = browser.at_node(if n % 2 == 0 { &app } else { &other });
            let page = page.clone();
            async move {
                loop {
                    let status = browser.sign_in(&page, email, "wrong").await.status;
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
        assert!((1..=5).contains(&wrong) && wrong + delayed == 64, "{email}: {statuses:?}");
        assert!((app.highest_level().await - 5.0).abs() < 1e-9, "{email}");
        let refused = app.audit().await["refused"] - before;
        let wrong = i64::try_from(wrong).unwrap();
        assert!((wrong + 1..=6).contains(&refused), "five that were wrong, and one for all the others: {refused}");
    }
    // Upper and lower case are one account.
    let (mut browser, page) = asked(&app, "192.0.2.3").await;
    assert_eq!(browser.sign_in(&page, "ADA@Acme.Example", "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn each_wrong_one_doubles_the_wait_up_to_a_quarter_of_an_hour() {
    let app = app().await;
    let (mut browser, page) = asked(&app, "192.0.2.1").await;
    for _ in 0..5 {
        assert_eq!(browser.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    }
    for delay in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let told = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
        assert_eq!((told.status, retry_after(&told)), (StatusCode::TOO_MANY_REQUESTS, delay), "right or wrong");
        let beside = told.says("#password-error").join("");
        assert!(beside.contains("too many wrong tries") && beside.contains("try again in"), "{beside}");
        assert_eq!(told.field("email").as_deref(), Some(ADA), "what was typed stays");
        assert!(told.says("title")[0].starts_with("Error:"));
        app.advance(i64::try_from(delay).unwrap());
        let wrong = browser.sign_in(&page, ADA, "wrong").await;
        assert_eq!((wrong.status, retry_after(&wrong)), (StatusCode::BAD_REQUEST, 0));
        assert!(wrong.says("#password-error").join("").contains("try again in"), "{}", wrong.text());
    }
    app.advance(511);
    assert_eq!(retry_after(&browser.sign_in(&page, ADA, ADA_PASSWORD).await), 1);
    // The audit knows how long the delays were, and has one event for each.
    let delays: Vec<i64> = app.events().await.iter().filter_map(|event| event.detail["delay"].as_i64()).collect();
    assert_eq!(delays.len(), 20, "{delays:?}");
    app.advance(1);
    let signed_in = browser.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!(signed_in.path, "/activate/confirm", "{}", signed_in.text());

    exhaust(&app, "nobody@acme.example", "192.0.2.4", 900).await;
    let (mut browser, page) = asked(&app, "192.0.2.5").await;
    app.advance(900);
    browser.sign_in(&page, "nobody@acme.example", "wrong").await;
    let told = browser.sign_in(&page, "nobody@acme.example", "wrong").await;
    assert_eq!(retry_after(&told), 900, "it doesn't grow any more");
    assert!(told.text().contains("try again in 15 minutes"), "{}", told.text());
}

#[tokio::test]
async fn nothing_tells_an_account_from_an_address_that_is_nobodys() {
    let app = app().await;
    let mut people = Vec::new();
    for (n, email) in [ADA, BOB, "eve@acme.example", "nil@acme.example"].into_iter().enumerate() {
        let (browser, page) = asked(&app, &format!("192.0.2.{}", n + 1)).await;
        people.push((email, browser, page));
    }
    for step in 0..24 {
        let mut answers = Vec::new();
        for (email, browser, page) in &mut people {
            // Bob's is the right one, but he is locked.
            let password = if *email == BOB { BOB_PASSWORD } else { "wrong" };
            let told = browser.sign_in(page, email, password).await;
            let token = told.field("csrf_token").unwrap();
            let html = told.html.replace(&token, "TOKEN").replace(*email, "EMAIL");
            answers.push((told.status, told.answer.headers.clone(), html));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "at step {step}: {answers:#?}");
        app.advance([0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 1, 0, 8, 0, 15, 2, 0, 40, 0, 60, 0, 700, 0, 900][step]);
    }
    let events = "SELECT count(*) FROM audit_event WHERE kind = 'refused' GROUP BY user_id";
    let events: Vec<i64> = sqlx::query_scalar(events).fetch_all(&app.installation.pool).await.unwrap();
    assert_eq!((events.len(), events.iter().all(|count| *count == events[0])), (4, true), "{events:?}");
}

#[tokio::test]
async fn strangers_cant_keep_the_owner_out_of_a_browser_where_they_were_before() {
    let app = app().await;
    let (mut hers, page) = asked(&app, "192.0.2.1").await;
    let confirm = hers.sign_in(&page, ADA, ADA_PASSWORD).await;
    exhaust(&app, ADA, "198.51.100.1", 900).await;

    let (mut new, page) = asked(&app, "192.0.2.1").await;
    assert_eq!(new.sign_in(&page, ADA, ADA_PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    // She signs out and in again, wherever she is.
    hers.forwarded_for = Some("203.0.113.7".to_owned());
    let page = hers.sign_out(&confirm).await;
    assert_eq!(hers.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    let confirm = hers.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    // Hers has five tries of its own, and no more.
    let page = hers.sign_out(&confirm).await;
    for _ in 0..4 {
        assert_eq!(hers.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    }
    let told = hers.sign_in(&page, ADA, ADA_PASSWORD).await;
    assert_eq!((told.status, retry_after(&told)), (StatusCode::TOO_MANY_REQUESTS, 1));
    // For another account it is like any browser.
    exhaust(&app, "nobody@acme.example", "198.51.100.2", 1).await;
    let told = hers.sign_in(&page, "nobody@acme.example", "wrong").await;
    assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_browser_is_known_for_the_password_that_was_right_in_it() {
    let app = app().await;
    let (mut hers, page) = asked(&app, "192.0.2.1").await;
    let confirm = hers.sign_in(&page, ADA, ADA_PASSWORD).await;
    let [known] = &hers.known.clone()[..] else { panic!("{:?}", hers.known) };
    assert!(known.starts_with("__Host-countersign-known="), "{known}");
    let page = hers.sign_out(&confirm).await;
    exhaust(&app, ADA, "198.51.100.1", 900).await;

    let mut forger = hers.clone();
    let (name, value) = known.split_once('=').unwrap();
    let other: String = if value.starts_with('A') { "B" } else { "A" }.chars().chain(value.chars().skip(1)).collect();
    forger.known = vec![format!("{name}={other}"), format!("{name}=AAAA")];
    assert_eq!(forger.sign_in(&page, ADA, "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(hers.clone().sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    app.execute("UPDATE app_user SET password_hash = '$argon2id$another'").await;
    assert_eq!(hers.sign_in(&page, ADA, "wrong").await.status, StatusCode::TOO_MANY_REQUESTS, "known for the old one");
}

#[tokio::test]
async fn one_network_has_a_hundred_tries_at_whatever_accounts() {
    let app = app().await;
    let (mut hers, page) = asked(&app, "2001:db8:1:2::1").await;
    let confirm = hers.sign_in(&page, ADA, ADA_PASSWORD).await;
    let (browser, page) = asked(&app, "2001:db8:1:2::66").await;
    let tries = (0..128).map(|n| {
        let mut browser = browser.clone();
        browser.forwarded_for = Some(format!("2001:db8:1:2::{n:x}"));
        let token = page.field("csrf_token").unwrap();
        async move {
            let email = format!("somebody-{n}@acme.example");
            let form = [("email", email.as_str()), ("password", "wrong"), ("csrf_token", token.as_str())];
            browser.send(form_request(PATH, &form)).await.status
        }
    });
    // More at once would be sent away, to come again.
    let statuses: Vec<StatusCode> = stream::iter(tries).buffer_unordered(16).collect().await;
    let count = |status| statuses.iter().filter(|got| **got == status).count();
    assert_eq!((count(StatusCode::BAD_REQUEST), count(StatusCode::TOO_MANY_REQUESTS)), (100, 28));
    let rows = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM attempt").fetch_one(&app.installation.pool).await.unwrap()
    };
    assert_eq!(rows().await, 102, "what isn't looked at leaves nothing: 100, the network, and Ada's first sign-in");

    let (mut elsewhere, page) = asked(&app, "2001:db8:1:3::1").await;
    assert_eq!(elsewhere.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    // Colleagues who were here before don't notice; the others wait a second.
    let page = hers.sign_out(&confirm).await;
    assert_eq!(hers.sign_in(&page, ADA, ADA_PASSWORD).await.path, "/activate/confirm");
    let (mut colleague, page) = asked(&app, "2001:db8:1:2::7").await;
    assert_eq!(retry_after(&colleague.sign_in(&page, ADA, ADA_PASSWORD).await), 1);
    app.advance(1);
    assert_eq!(colleague.sign_in(&page, ADA, ADA_PASSWORD).await.path, "/activate/confirm");

    app.advance(24 * 3600);
    app.tidy_up().await;
    assert_eq!(rows().await, 0, "all is forgotten");
}

#[tokio::test]
async fn a_right_password_takes_away_nothing_but_itself() {
    let app = app().await;
    let (mut stranger, page) = asked(&app, "192.0.2.66").await;
    for _ in 0..4 {
        assert_eq!(stranger.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    }
    for _ in 0..8 {
        let (mut hers, page) = asked(&app, "192.0.2.1").await;
        assert_eq!(hers.sign_in(&page, ADA, ADA_PASSWORD).await.path, "/activate/confirm", "as often as she likes");
    }
    assert_eq!(stranger.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(stranger.sign_in(&page, ADA, "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
    // An hour takes away one.
    app.advance(3600);
    assert_eq!(stranger.sign_in(&page, ADA, "wrong").await.status, StatusCode::GONE, "the code ran out");
    let (mut stranger, page) = asked(&app, "192.0.2.66").await;
    assert_eq!(stranger.sign_in(&page, ADA, "wrong").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(retry_after(&stranger.sign_in(&page, ADA, "wrong").await), 1);
}

#[tokio::test]
async fn a_second_click_is_no_way_around() {
    let app = app().await;
    let (mut hers, page) = asked(&app, "192.0.2.1").await;
    let mut thief = hers.clone();
    hers.sign_in(&page, ADA, ADA_PASSWORD).await;
    thief.forwarded_for = Some("198.51.100.1".to_owned());
    for _ in 0..8 {
        assert_eq!(thief.sign_in(&page, ADA, "wrong").await.path, "/activate");
    }
    assert_eq!(thief.sign_in(&page, ADA, ADA_PASSWORD).await.path, "/activate", "not looked at any more");
    assert_eq!(app.audit().await["refused"], 6);
}

#[tokio::test]
async fn nor_do_letters_that_are_folded_in_several_ways_tell_who_has_an_account() {
    let app = app().await;
    app.execute("UPDATE app_user SET email = lower('İda@acme.example') WHERE email = 'eve@acme.example'").await;
    let mut told = Vec::new();
    for (n, name) in ["da", "do"].into_iter().enumerate() {
        let (mut browser, page) = asked(&app, &format!("192.0.2.{n}")).await;
        let mut statuses = Vec::new();
        for letter in ["\u{130}", "i\u{307}", "i", "I"] {
            for _ in 0..6 {
                let email = format!("{letter}{name}@acme.example");
                statuses.push(browser.sign_in(&page, &email, "wrong").await.status);
            }
        }
        told.push(statuses);
    }
    assert_eq!(told[0], told[1], "the first is an account, the second is nobody's");
}
