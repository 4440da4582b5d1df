//! A flood of sign-ins.
//!
//! **Has**: more connections than the server has processors, each of which sends a password for another made-up address:
//! every one costs the server a hash that is slow by design.
//!
//! **Must happen**: devices poll as ever. So many sign-ins wait for their turn and no more; whoever comes then is told to
//! come again. No one who waits holds a connection to the database, nor does who is led to a provider that doesn't answer.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use countersign::installation::Parts;
use countersign::postgres;
use countersign::secrets::Passwords;
use futures_util::future::join_all;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::app::{ACME, form_request};
use crate::support::{App, Browser, Device, database};

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

#[tokio::test]
async fn everybody_else_is_served_while_a_provider_is_silent() {
    // Whoever connects waits: it accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("issuer = \"http://{}\"\nclient_id = \"countersign\"", silent.local_addr().unwrap());
    let of_sso = "client_secret = { env = \"SSO_SECRET\" }\nadmit = { domains = [\"acme.example\"] }";
    let sso = format!("[[organization.provider]]\nslug = \"sso\"\nkind = \"oidc\"\n{issuer}\n{of_sso}\n");
    let options = (*database::database().await.connect_options()).clone();
    let app = App::on(postgres::pool(options, 2), "https://auth.acme.example", &format!("{ACME}\n{sso}")).await;
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let device = Device::ask(&app, "read").await;
        let mut browser = Browser::new(&app);
        assert_eq!(browser.enter(&device.user_code).await.path, "/activate/sign-in");
        browsers.push(browser);
    }
    let led_away = join_all(browsers.iter_mut().map(|browser| browser.open("/auth/sso?org=acme&service=cli")));
    let somebody = async {
        let _asked = silent.accept().await.unwrap();
        let device = Device::ask(&app, "read").await;
        Browser::new(&app).enter(&device.user_code).await
    };
    tokio::select! {
        pages = led_away => panic!("the provider has said nothing: {:?}", pages.iter().map(|page| page.status).collect::<Vec<_>>()),
        page = somebody => assert_eq!(page.path, "/activate/sign-in", "{}", page.text()),
    }
}
