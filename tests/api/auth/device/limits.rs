//! How often devices may ask for codes and how many may be open, and how many wrong ones are looked up.

use axum::http::StatusCode;
use countersign::config::Limits;
use countersign::installation::Parts;
use countersign::server::Settings;

use crate::api::is_refused;
use crate::support::actors::forwarded;
use crate::support::app::{ACME, AGENT_SECRET, Answer, form_request};
use crate::support::{App, Browser, Device, database};

const PATH: &str = "/auth/device/code";

async fn ask_from(app: &App, address: &str) -> Answer {
    app.send(forwarded(address, form_request(PATH, &[("client_id", "acme-cli")]))).await
}

async fn with(limits: Limits) -> App {
    App::with_settings(ACME, Settings { limits, ..Settings::default() }).await
}

#[track_caller]
fn is_too_much(answer: &Answer, words: &str) -> i64 {
    is_refused(answer, 429, "temporarily_unavailable");
    assert!(answer.text("error_description").contains(words), "{}", answer.body);
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_address_may_ask_so_often_a_minute_and_a_64_is_one() {
    let app = with(Limits { requests_per_address: 3, ..Limits::default() }).await;
    for n in 1..=3 {
        assert_eq!(ask_from(&app, "198.51.100.1").await.status, StatusCode::OK);
        assert_eq!(ask_from(&app, &format!("2001:db8:1:2:{n}::1")).await.status, StatusCode::OK);
    }
    let wait = is_too_much(&ask_from(&app, "198.51.100.1").await, "this address: 3 a minute");
    is_too_much(&ask_from(&app, "2001:db8:1:2:ffff::1").await, "this address");
    assert_eq!(ask_from(&app, "2001:db8:1:3::1").await.status, StatusCode::OK);
    assert!(wait <= 121, "{wait}");
    app.advance(wait);
    assert_eq!(ask_from(&app, "198.51.100.1").await.status, StatusCode::OK, "whoever waits as told");
}

#[tokio::test]
async fn a_client_may_ask_so_often_a_minute_from_wherever() {
    let app = with(Limits { requests_per_client: 3, ..Limits::default() }).await;
    for n in 1..=3 {
        assert_eq!(ask_from(&app, &format!("198.51.100.{n}")).await.status, StatusCode::OK);
    }
    is_too_much(&ask_from(&app, "198.51.100.4").await, "this client: 3 a minute");
    let agent = [("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)];
    assert_eq!(app.post(PATH, &agent).await.status, StatusCode::OK, "another client is not to blame");
    // Who doesn't prove to be the client uses up nothing of its.
    let app = with(Limits { requests_per_client: 1, ..Limits::default() }).await;
    for _ in 0..5 {
        is_refused(
            &app.post(PATH, &[("client_id", "acme-agent"), ("client_secret", "x")]).await,
            400,
            "invalid_client",
        );
    }
    assert_eq!(app.post(PATH, &agent).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_may_have_so_many_codes_open() {
    let app = with(Limits { live_codes_per_address: 3, ..Limits::default() }).await;
    let other = {
        let pool =
            sqlx::postgres::PgPoolOptions::new().connect_lazy_with((*app.installation.pool.connect_options()).clone());
        let clock = app.installation.clock.clone();
        let parts = Parts { clock, ..App::parts(pool, "https://auth.acme.example") };
        App::of(parts).await
    };
    let devices = [
        Device::ask_from(&app, "2001:db8:1:2::1").await,
        Device::ask_from(&app, "2001:db8:1:2::2").await,
        Device::ask_from(&other, "2001:db8:1:2::3").await,
    ];
    // What was counted before is too old to be of use.
    app.advance(16);
    assert_eq!(is_too_much(&ask_from(&app, "2001:db8:1:2::4").await, "still open"), 60);
    assert_eq!(ask_from(&app, "2001:db8:1:3::1").await.status, StatusCode::OK);
    Browser::new(&app).approve_code(&devices[0].user_code).await;
    app.advance(16);
    assert_eq!(ask_from(&app, "2001:db8:1:2::4").await.status, StatusCode::OK, "a decided one is open no more");
    is_too_much(&ask_from(&app, "2001:db8:1:2::4").await, "still open");
    app.advance(900);
    assert_eq!(ask_from(&app, "2001:db8:1:2::4").await.status, StatusCode::OK, "nor an expired one");
}

#[tokio::test]
async fn what_others_made_is_counted_beside_the_requests_within_seconds() {
    let app = with(Limits { live_codes_per_address: 20, ..Limits::default() }).await;
    let other = app.another_node().await;
    // Now it is known how many there are.
    assert_eq!(ask_from(&app, "198.51.100.1").await.status, StatusCode::OK);
    for _ in 0..20 {
        Device::ask_from(&other, "198.51.100.2").await;
    }
    // However long it took to count them, that is no news any more.
    app.advance(11);
    let begun = std::time::Instant::now();
    let mut asked = 0;
    // Each is answered with what is known, and not one of them counts.
    while ask_from(&app, "198.51.100.2").await.status == StatusCode::OK {
        asked += 1;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(asked < 20, "it is refused for what the other server made, after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_may_have_so_many_codes_open() {
    let app = with(Limits { live_codes_per_client: 2, ..Limits::default() }).await;
    for n in 1..=2 {
        assert_eq!(ask_from(&app, &format!("198.51.100.{n}")).await.status, StatusCode::OK);
    }
    is_too_much(&ask_from(&app, "198.51.100.3").await, "codes of this client");
    let agent = [("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)];
    assert_eq!(app.post(PATH, &agent).await.status, StatusCode::OK);
}

#[tokio::test]
async fn in_dev_mode_and_with_0_nobody_counts() {
    let limits =
        Limits { requests_per_address: 1, requests_per_client: 1, live_codes_per_address: 1, live_codes_per_client: 1 };
    let parts = Parts { dev_mode: true, ..App::parts(database::database().await, "http://localhost:8080") };
    let dev = App::of_parts_and_settings(parts, Settings { limits, ..Settings::default() }).await;
    dev.apply(ACME).await;
    let none = with(Limits::none()).await;
    for app in [&dev, &none] {
        for n in 0..20 {
            assert_eq!(app.post(PATH, &[("client_id", "acme-cli")]).await.status, StatusCode::OK, "{n}");
            app.advance(i64::from(n % 3));
        }
    }
}

#[tokio::test]
async fn at_verify_an_address_has_thirty_wrong_codes() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let verify = async |address: &str, code: &str| {
        app.send(forwarded(address, form_request("/auth/device/verify", &[("user_code", code)]))).await
    };
    for _ in 0..40 {
        assert_eq!(verify("198.51.100.1", &device.user_code).await.status, StatusCode::OK, "right ones cost nothing");
    }
    for n in 0..30 {
        let wrong = ["BCDF-GHJK", "BCDFG-HJKLM", "x"][n % 3];
        is_refused(&verify("198.51.100.1", wrong).await, 400, "invalid_grant");
    }
    let (right, wrong) = (verify("198.51.100.1", &device.user_code).await, verify("198.51.100.1", "BCDF-GHJK").await);
    assert_eq!(
        (right.headers.clone(), &right.body),
        (wrong.headers.clone(), &wrong.body),
        "nobody is told which was right"
    );
    assert_eq!(is_too_much(&right, "from this address"), 3601);
    // The page's budget is the same.
    assert_eq!(Browser::behind_proxy(&app, "198.51.100.1").enter(&device.user_code).await.status, 429);
    assert_eq!(verify("198.51.100.2", &device.user_code).await.status, StatusCode::OK);
    assert_eq!(app.audit().await["guess_refused"], 31);
    app.advance(3600);
    is_refused(&verify("198.51.100.1", "BCDF-GHJK").await, 400, "invalid_grant");
}

/// Any page can have its visitors' browsers ask and guess, from their addresses, and an office has one.
#[tokio::test]
async fn what_pages_of_other_sites_try_takes_nothing_from_who_looks_at_them() {
    let app = with(Limits { requests_per_address: 3, ..Limits::default() }).await;
    let device = Device::ask(&app, "read").await;
    let office = "198.51.100.1";
    let by_a_page = async |path: &str, form: &[(&str, &str)], (name, value): (&'static str, &'static str)| {
        let mut request = forwarded(office, form_request(path, form));
        request.headers_mut().insert("host", "auth.acme.example".parse().unwrap());
        request.headers_mut().insert(name, value.parse().unwrap());
        app.send(request).await
    };
    let says = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")];
    for n in 0..30 {
        // An organization's own page asks in the same way, and right codes cost nothing.
        let right = by_a_page("/auth/device/verify", &[("user_code", &device.user_code)], says[n % 3]).await;
        assert_eq!(right.status, StatusCode::OK);
        let wrong = by_a_page("/auth/device/verify", &[("user_code", "BCDF-GHJK")], says[n % 3]).await;
        is_refused(&wrong, 400, "invalid_grant");
    }
    let refused = by_a_page("/auth/device/verify", &[("user_code", "BCDF-GHJK")], says[0]).await;
    is_too_much(&refused, "from this address");
    for _ in 0..3 {
        assert_eq!(by_a_page(PATH, &[("client_id", "acme-cli")], says[0]).await.status, StatusCode::OK);
    }
    is_too_much(&by_a_page(PATH, &[("client_id", "acme-cli")], says[1]).await, "this address");

    assert_eq!(ask_from(&app, office).await.status, StatusCode::OK);
    let mut link = axum::http::Request::get(format!("/auth/password?user_code={}", "BCDF-GHJK"));
    link.headers_mut().unwrap().insert("sec-fetch-site", "cross-site".parse().unwrap());
    let link = forwarded(office, link.body(axum::body::Body::empty()).unwrap());
    assert_eq!(app.send(link).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(Browser::behind_proxy(&app, office).enter(&device.user_code).await.path, "/activate/sign-in");
}
