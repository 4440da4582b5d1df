//! A flood of sign-ins.
//!
//! **Has**: more connections than the server has processors, each of which sends a password for another made-up address:
//! every one costs the server a hash that is slow by design.
//!
//! **Must happen**: devices poll as ever. So many sign-ins wait for their turn and no more; whoever comes then is told to
//! come again. No one who waits holds a connection to the database.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use countersign::installation::Parts;
use countersign::secrets::Passwords;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

use crate::support::app::form_request;
use crate::support::{App, Browser, Device};

/// How many may wait, as the server has it.
const WAITING: usize = 64;

#[tokio::test]
async fn devices_poll_as_ever_while_no_password_can_be_hashed() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let token = page.field("csrf_token").unwrap();

    // A node all of whose processors hash, for ever; it has two connections to the database.
    let parts = App::parts(app.installation.pool.clone(), app.issuer());
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with((*parts.pool.connect_options()).clone());
    let passwords = Passwords::new(parts.random.clone(), 0);
    let busy = Arc::new(App::of(Parts { pool, passwords, clock: app.installation.clock.clone(), ..parts }).await);
    let cookie = browser.cookie.clone();
    let mut flood = JoinSet::new();
    for n in 0..WAITING + 20 {
        let (busy, cookie, token) = (busy.clone(), cookie.clone(), token.clone());
        flood.spawn(async move {
            let mut browser = Browser::new(&busy);
            browser.cookie = cookie;
            let email = format!("nobody-{n}@acme.example");
            let form = [("email", email.as_str()), ("password", "x"), ("csrf_token", token.as_str())];
            browser.send(form_request("/activate/sign-in", &form)).await
        });
    }
    for _ in 0..20 {
        let refused = flood.join_next().await.unwrap().unwrap();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
        assert_eq!(refused.header("retry-after"), Some("5"));
        assert!(refused.body.contains("Too many people are signing in just now"), "{}", refused.body);
    }
    let pool = &busy.installation.pool;
    // One is kept to hear of decisions.
    let idle = async {
        while pool.num_idle() + 1 < usize::try_from(pool.size()).unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), idle).await.expect("who waits holds no connection");
    for _ in 0..30 {
        let polled = busy.send(device.poll_request()).await;
        assert_eq!((polled.status, polled.error().as_str()), (StatusCode::BAD_REQUEST, "authorization_pending"));
        app.advance(5);
    }
    assert_eq!(flood.len(), WAITING, "they wait, and no more than these");
    // Whoever is signed in goes on, and approves.
    let mut browser = browser.clone();
    let confirm = browser.sign_in(&page, "ada@acme.example", crate::support::app::ADA_PASSWORD).await;
    let done = browser.at_node(&busy).approve(&confirm).await;
    assert_eq!(done.path, "/activate/done", "{}", done.text());
    assert_eq!(busy.send(device.poll_request()).await.status, StatusCode::OK);
    flood.abort_all();
}
