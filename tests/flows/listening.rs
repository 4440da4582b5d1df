//! What nodes hear of each other, and what they do while they can't: polls are answered from memory, and yet rightly.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use countersign::directory::known::KnownServices;
use countersign::installation::Parts;
use countersign::postgres::notifications::{Ear, Listening};
use countersign::postgres::{Direct, PgPool};
use countersign::server::Settings;
use sqlx::postgres::PgConnectOptions;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::proxy::{Proxy, Weather};
use crate::support::{App, Browser, Device, Held, database};

/// How soon a node that hears does what it heard.
const SOON: Duration = Duration::from_secs(4);

/// How soon a node that is deaf finds what was decided: by a device's next poll, which is due after five seconds. Some
/// more on a machine with much else to do.
const WITHIN_AN_INTERVAL: Duration = Duration::from_secs(8);

/// Above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has to wait for the database doesn't answer within this while a table is locked.
const FROM_MEMORY: Duration = Duration::from_secs(2);

/// Ends the connections over which servers listen.
const END_LISTENING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE datname = current_database() AND query ILIKE 'LISTEN %'";

/// An ear that writes down what it is told.
#[derive(Default)]
struct Note(Mutex<Vec<String>>);

impl Note {
    fn write(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until so many lines are there.
    async fn lines(&self, count: usize) -> Vec<String> {
        let written = async {
            while self.read().len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, written).await.unwrap_or_else(|_| panic!("only {:?}", self.read()));
        self.read()
    }
}

impl Ear for Note {
    fn channel(&self) -> &'static str {
        "countersign_test"
    }

    fn heard(&self, payload: &str) {
        self.write(payload);
    }

    fn hearing(&self) {
        self.write("hearing");
    }

    fn deaf(&self) {
        self.write("deaf");
    }
}

/// Listens there, with requests that go through this pool, until the guard is dropped.
fn listen(to: PgConnectOptions, pool: &PgPool, mark: &str) -> (Arc<Note>, DropGuard) {
    let (note, stop) = (Arc::new(Note::default()), CancellationToken::new());
    let listening = Listening { to, pool: pool.clone(), mark: mark.to_owned(), ears: vec![note.clone()] };
    tokio::spawn(listening.until(stop.clone()));
    (note, stop.drop_guard())
}

fn options(pool: &PgPool) -> PgConnectOptions {
    (*pool.connect_options()).clone()
}

async fn say(pool: &PgPool, what: &str) {
    sqlx::query("SELECT pg_notify('countersign_test', $1)").bind(what).execute(pool).await.unwrap();
}

/// Another node, which listens there.
async fn node_that_listens(app: &App, to: PgConnectOptions) -> App {
    let pool = countersign::postgres::pool(options(&app.installation.pool), 8);
    let parts = Parts { clock: app.installation.clock.clone(), ..App::parts(pool, app.issuer()) };
    App::of_parts_and_settings(parts, Settings { direct: Some(Direct(to)), ..Settings::default() }).await
}

/// Polls a node, at the device's interval as far as the node can tell.
async fn poll_at(node: &App, device: &Device<'_>) -> crate::support::app::Answer {
    node.advance(6);
    node.send(device.poll_request()).await
}

/// Whether a node answers polls of this device without the database.
async fn is_held(app: &App, node: &App, device: &Device<'_>) -> bool {
    let lock = Held::by(app, "LOCK service, device_grant IN ACCESS EXCLUSIVE MODE").await;
    let answer = timeout(FROM_MEMORY, poll_at(node, device)).await;
    lock.release().await;
    answer.is_ok_and(|answer| answer.error() == "authorization_pending")
}

/// Polls until the node has the device's code and client in memory.
async fn until_held(app: &App, node: &App, device: &Device<'_>) {
    let held = async {
        while !is_held(app, node, device).await {
            poll_at(node, device).await;
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, held).await.expect("it hears, and holds the code");
}

/// Polls until something else than "pending" is said, and gives that and how long it took.
async fn until_told(node: &App, device: &Device<'_>, since: Instant) -> (StatusCode, String, Duration) {
    let told = async {
        loop {
            let answer = poll_at(node, device).await;
            if answer.error() != "authorization_pending" {
                return answer;
            }
            // Each poll takes six seconds of the code's life.
            sleep(Duration::from_millis(200)).await;
        }
    };
    let answer = timeout(PATIENCE, told).await.expect("it is told at last");
    (answer.status, answer.error(), since.elapsed())
}

#[tokio::test]
async fn whoever_listens_is_told_when_they_hear_and_when_they_are_deaf() {
    let pool = database::database().await;
    let owner = crate::support::app::owner_of(&pool);
    let (note, guard) = listen(options(&pool), &pool, "one");
    let (other, _other_guard) = listen(options(&pool), &pool, "other");
    assert_eq!((note.lines(1).await, other.lines(1).await), (vec!["hearing".to_owned()], vec!["hearing".to_owned()]));
    say(&pool, "first").await;
    assert_eq!((note.lines(2).await[1].as_str(), other.lines(2).await[1].as_str()), ("first", "first"));

    sqlx::query(END_LISTENING).execute(&owner).await.unwrap();
    assert_eq!(note.lines(3).await[2], "deaf");
    say(&pool, "nobody listens").await;
    assert_eq!(note.lines(4).await[3], "hearing", "by itself");
    say(&pool, "second").await;
    assert_eq!(note.lines(5).await, ["hearing", "first", "deaf", "hearing", "second"]);

    // A rollback was never said; the end is the end of hearing.
    let mut undone = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_notify('countersign_test', 'undone')").execute(&mut *undone).await.unwrap();
    undone.rollback().await.unwrap();
    drop(guard);
    assert_eq!(note.lines(6).await[5], "deaf");
    assert_eq!(note.read().len(), 6);
    owner.close().await;
}

#[tokio::test]
async fn a_connection_that_has_gone_silent_is_deaf_after_a_while() {
    let pool = database::database().await;
    let proxy = Proxy::to(&pool).await;
    let (note, _guard) = listen(options(&proxy.pool(&pool, 1)), &pool, "one");
    note.lines(1).await;
    proxy.set(Weather::Dead);
    let silent = Instant::now();
    assert_eq!(note.lines(2).await[1], "deaf");
    assert!(silent.elapsed() < WITHIN_AN_INTERVAL, "{:?}", silent.elapsed());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(note.read().len(), 2, "while nothing is heard: {:?}", note.read());
    proxy.set(Weather::Fine);
    assert_eq!(note.lines(3).await[2], "hearing");
}

/// A server that was the primary, another database, a pooler: what is notified there isn't what this node's requests write.
#[tokio::test]
async fn who_listens_elsewhere_than_requests_are_written_never_hears() {
    let (pool, elsewhere) = (database::database().await, database::database().await);
    let (note, _guard) = listen(options(&elsewhere), &pool, "one");
    // Whoever is called so there is another.
    let (there, _there_guard) = listen(options(&elsewhere), &elsewhere, "other");
    there.lines(1).await;
    // Longer than two attempts.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(note.read(), Vec::<String>::new());
    assert_eq!(there.read(), ["hearing"]);
}

#[tokio::test]
async fn a_node_that_listens_elsewhere_answers_rightly_at_every_moment() {
    let app = App::acme().await;
    let elsewhere = database::database().await;
    let node = node_that_listens(&app, options(&elsewhere)).await;
    let begun = Instant::now();
    // Longer than two attempts to listen.
    while begun.elapsed() < Duration::from_secs(6) {
        let device = Device::ask(&app, "read").await;
        for _ in 0..2 {
            assert_eq!(poll_at(&node, &device).await.error(), "authorization_pending");
        }
        Browser::new(&app).approve_code(&device.user_code).await;
        let tokens = poll_at(&node, &device).await;
        assert_eq!(tokens.status, StatusCode::OK, "{:?}: {}", begun.elapsed(), tokens.body);
    }
}

#[tokio::test]
async fn a_service_that_was_changed_by_sql_is_another_at_nodes_that_have_it_in_memory() {
    for (change, error) in [
        ("UPDATE service SET device_login = false WHERE client_id = 'acme-cli'", "unauthorized_client"),
        ("UPDATE service SET client_id = 'acme-renamed' WHERE client_id = 'acme-cli'", "invalid_client"),
        ("UPDATE organization SET status = 'suspended' WHERE slug = 'acme'", "unauthorized_client"),
    ] {
        let app = App::acme().await;
        let node = app.another_node().await;
        let device = Device::ask(&app, "read").await;
        until_held(&app, &node, &device).await;
        app.execute(change).await;
        let (_, told, took) = until_told(&node, &device, Instant::now()).await;
        assert!(told == error && took < SOON, "{change}: {told} after {took:?}");
    }
}

#[tokio::test]
async fn what_is_decided_and_changed_while_nobody_can_listen_is_found_within_an_interval() {
    let app = App::acme().await;
    let node = app.another_node().await;
    let (device, other) = (Device::ask(&app, "read").await, Device::ask(&app, "read").await);
    until_held(&app, &node, &device).await;
    until_held(&app, &node, &other).await;
    let owner = app.owner();
    let ending = async {
        loop {
            sqlx::query(END_LISTENING).execute(&owner).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    let acting = async {
        sleep(Duration::from_millis(200)).await;
        Browser::new(&app).approve_code(&device.user_code).await;
        let (status, error, took) = until_told(&node, &device, Instant::now()).await;
        assert!(status == StatusCode::OK && took < WITHIN_AN_INTERVAL, "{error} after {took:?}");

        app.execute("UPDATE service SET device_login = false WHERE client_id = 'acme-cli'").await;
        let (_, told, took) = until_told(&node, &other, Instant::now()).await;
        assert!(told == "unauthorized_client" && took < WITHIN_AN_INTERVAL, "{told} after {took:?}");
    };
    tokio::select! {
        () = acting => {}
        () = ending => {}
    }
    owner.close().await;
}

#[tokio::test]
async fn what_is_decided_while_the_listening_network_is_dead_is_found_within_an_interval() {
    let app = App::acme().await;
    let proxy = Proxy::to(&app.installation.pool).await;
    let node = node_that_listens(&app, options(&proxy.pool(&app.installation.pool, 1))).await;
    let device = Device::ask(&app, "read").await;
    until_held(&app, &node, &device).await;

    proxy.set(Weather::Dead);
    Browser::new(&app).approve_code(&device.user_code).await;
    let (status, error, took) = until_told(&node, &device, Instant::now()).await;
    assert!(status == StatusCode::OK && took < WITHIN_AN_INTERVAL, "{error} after {took:?}");

    // It holds nothing while it is deaf, and hears by itself when the network is back.
    let device = Device::ask(&app, "read").await;
    poll_at(&node, &device).await;
    assert!(!is_held(&app, &node, &device).await);
    proxy.set(Weather::Fine);
    until_held(&app, &node, &device).await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let (status, error, took) = until_told(&node, &device, Instant::now()).await;
    assert!(status == StatusCode::OK && took < SOON, "{error} after {took:?}");
}

#[tokio::test]
async fn a_service_that_changed_while_it_was_looked_up_is_not_remembered() {
    let app = App::acme().await;
    let known = KnownServices::new(app.installation.pool.clone());
    let look_up = async || known.find("acme-cli").await.unwrap().unwrap();
    let is_held = || known.now().get("acme-cli").is_some();
    let is_current = || known.now().current("acme-cli").is_some();
    look_up().await;
    assert!(is_held() && !is_current(), "nobody listens yet");

    known.hearing();
    assert!(!is_held());
    look_up().await;
    assert!(is_current());
    known.heard("");
    assert!(!is_held(), "something has changed");

    let held = Held::by(&app, "LOCK service IN ACCESS EXCLUSIVE MODE").await;
    let change = async {
        held.until_waiting(1).await;
        known.heard("");
        held.release().await;
    };
    let (found, ()) = futures_util::future::join(look_up(), change).await;
    assert_eq!(found.client_id, "acme-cli");
    assert!(!is_held(), "it may be as it was before the change");

    // While nothing is heard, what is known is good for "pending" and no more.
    look_up().await;
    known.deaf();
    assert!(is_held() && !is_current());
    known.forget();
    assert!(!is_held());
    look_up().await;
    assert!(is_held() && !is_current());
    known.hearing();
    assert!(!is_held(), "what changed meanwhile was not heard");
}
