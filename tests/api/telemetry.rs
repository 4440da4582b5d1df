//! The telemetry listener: `/healthz/live`, `/healthz/ready` and `/metrics`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use countersign::server::{Server, Settings};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::with_header;
use crate::support::app::{ACME, ADA_PASSWORD, form_request};
use crate::support::{App, Browser, Device};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_mins(1);

/// Whether the server is ready, and what it says of a thing.
async fn ready(app: &App, thing: &str) -> (StatusCode, String, String) {
    let answer = app.observe("/healthz/ready").await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let json = answer.json();
    (answer.status, text(&json["status"]), text(&json["checks"][thing]))
}

async fn until_ready(app: &App, thing: &str, finding: &str) -> StatusCode {
    let wait = async {
        loop {
            let (status, _, found) = ready(app, thing).await;
            if found == finding {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{thing} is never {finding:?}"))
}

#[tokio::test]
async fn a_login_is_counted_from_step_to_step() {
    let app = App::acme().await;
    for series in
        ["guesses_refused_total", "suspected_phishing_total", "panics_total", "polls_total{answer=\"tokens\"}"]
    {
        assert_eq!(app.metric(series).await, Some(0.0), "{series} is there from the start");
    }
    for kind in countersign::audit::Kind::ALL {
        let series = format!("audit_events_total{{kind=\"{}\"}}", kind.as_str());
        assert_eq!(app.metric(&series).await, Some(0.0), "{series} is there from the start");
    }
    for channel in ["mail", "webhook"] {
        for outcome in ["delivered", "failed", "given_up"] {
            let series = format!("notices_total{{channel=\"{channel}\",outcome=\"{outcome}\"}}");
            assert_eq!(app.metric(&series).await, Some(0.0), "{series} is there from the start");
        }
    }
    let device = Device::ask(&app, "read").await;
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let mut browser = Browser::new(&app);
    let refused = browser.enter("BBBB-BBBB").await;
    assert_eq!(refused.path, "/activate");
    let page = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(app.metric("open_grants").await, Some(1.0));
    browser.approve(&page).await;
    // The device polls again after its interval.
    app.advance(7);
    assert_eq!(device.poll().await.status, StatusCode::OK);
    app.post("/auth/token", &[("grant_type", "urn:ietf:params:oauth:grant-type:device_code")]).await;
    app.get("/nowhere/at/all?code=secret").await;
    // However long it took to count the open ones, they are counted again.
    app.advance(4);

    for (series, expected) in [
        ("audit_events_total{kind=\"requested\"}", 1.0),
        ("audit_events_total{kind=\"claimed\"}", 1.0),
        ("audit_events_total{kind=\"signed_in\"}", 1.0),
        ("audit_events_total{kind=\"approved\"}", 1.0),
        ("audit_events_total{kind=\"redeemed\"}", 1.0),
        ("audit_events_total{kind=\"guess_refused\"}", 1.0),
        ("open_grants", 0.0),
        ("approval_to_tokens_seconds_count", 1.0),
        ("approval_to_tokens_seconds_sum", 7.0),
        ("approval_to_tokens_seconds_bucket{le=\"5.0\"}", 0.0),
        ("approval_to_tokens_seconds_bucket{le=\"10.0\"}", 1.0),
        ("guesses_refused_total", 1.0),
        ("polls_total{answer=\"authorization_pending\"}", 1.0),
        ("polls_total{answer=\"tokens\"}", 1.0),
        ("polls_total{answer=\"invalid_request\"}", 1.0),
        ("http_requests_total{route=\"/auth/device/code\",status=\"200\"}", 1.0),
        ("http_requests_total{route=\"/auth/token\",status=\"400\"}", 2.0),
        ("http_requests_total{route=\"/auth/token\",status=\"200\"}", 1.0),
        ("http_requests_total{route=\"none\",status=\"404\"}", 1.0),
        ("http_request_duration_seconds_count{route=\"/auth/token\"}", 3.0),
        ("http_requests_under_way{route=\"/auth/token\"}", 0.0),
        ("database_connections_max", 8.0),
    ] {
        assert_eq!(app.metric(series).await, Some(expected), "{series}");
    }
    assert!(app.metric("database_connections{state=\"idle\"}").await.unwrap() >= 1.0);

    // Another node of the installation, and any other installation, counts its own.
    let other = app.another_node().await;
    assert_eq!(other.metric("guesses_refused_total").await, Some(0.0));
}

#[tokio::test]
async fn how_late_decisions_are_heard_of_is_measured_without_any() {
    let app = App::acme().await;
    let measured = async {
        while app.metric("notification_lag_seconds_count").await < Some(1.0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, measured).await.expect("a server calls itself as soon as it listens");
    assert_eq!(app.metric("notifications_heard").await, Some(1.0));
    assert!(app.metric("notification_lag_seconds_sum").await < Some(SOON.as_secs_f64()));
}

#[tokio::test]
async fn metrics_repeat_nothing_that_a_request_said() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    browser.approve(&page).await;
    let tokens = device.poll().await;
    for path in ["/auth/whoever-asks/callback?state=marker", "/marker", "/auth/marker?user_code=marker"] {
        app.get(path).await;
    }
    let odd = Request::builder().method("MARKER").uri("/auth/token").header("user-agent", "marker");
    app.send(odd.body(Body::empty()).unwrap()).await;
    app.send(with_header(Request::get("/activate").body(Body::empty()).unwrap(), "host", "marker.example")).await;

    let answer = app.observe("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let metrics = answer.body;
    for secret in [&device.user_code, &device.device_code, &tokens.text("access_token"), ADA_PASSWORD, "ada@acme"] {
        assert!(!metrics.contains(secret), "{secret} in {metrics}");
    }
    assert!(!metrics.to_lowercase().contains("marker") && !metrics.contains("whoever"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    // A route is one as it is written in the program, so that there are never more of them.
    assert!(
        app.metric("http_requests_total{route=\"/auth/{provider}/callback\",status=\"303\"}").await.is_some(),
        "{metrics}"
    );
}

#[tokio::test]
async fn routes_are_told_without_the_path_of_the_issuer() {
    let app = App::at("https://acme.example/login", ACME).await;
    app.get("/login/.well-known/jwks.json").await;
    let series = "http_requests_total{route=\"/.well-known/jwks.json\",status=\"200\"}";
    assert_eq!(app.metric(series).await, Some(1.0));
}

#[tokio::test]
async fn a_device_that_hangs_up_is_not_under_way_any_more() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "acme-cli"),
        ("device_code", &*device.device_code),
    ];
    let poll = app.send(with_header(form_request("/auth/token", &form), "prefer", "wait=30"));
    let given_up = tokio::time::timeout(Duration::from_millis(300), poll).await;
    assert!(given_up.is_err(), "it was held");
    assert_eq!(app.metric("http_requests_under_way{route=\"/auth/token\"}").await, Some(0.0));
    assert_eq!(app.metric("http_requests_total{route=\"/auth/token\",status=\"left\"}").await, Some(1.0));
}

#[tokio::test]
async fn it_is_ready_while_its_database_answers_and_alive_in_any_case() {
    let app = App::acme().await;
    assert_eq!(ready(&app, "database").await, (StatusCode::OK, "ready".into(), "ok".into()));
    let options = app.installation.pool.connect_options();
    let mut outside =
        PgConnection::connect_with(&options.as_ref().clone().username("countersign").database("postgres"))
            .await
            .unwrap();
    let mut allow = async |allowed: bool| {
        let database = options.get_database().unwrap();
        let sql = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {allowed}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut outside).await.unwrap();
    };
    allow(false).await;
    assert_eq!(until_ready(&app, "database", "it can't be reached").await, StatusCode::SERVICE_UNAVAILABLE);
    let answer = app.observe("/healthz/ready").await;
    assert_eq!(answer.json()["status"], "unavailable");
    assert_eq!(answer.json()["checks"]["migrations"], "unknown");
    assert_eq!(answer.json()["checks"]["signing_keys"], "ok");
    assert_eq!(app.observe("/healthz/live").await.status, StatusCode::OK);
    assert_eq!(app.observe("/metrics").await.status, StatusCode::OK);
    allow(true).await;
    assert_eq!(until_ready(&app, "database", "ok").await, StatusCode::OK);
}

#[tokio::test]
async fn it_is_not_ready_without_migrations_or_keys() {
    let app = App::acme().await;
    app.execute(
        "UPDATE _sqlx_migrations SET success = false WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .await;
    let finding = "some of this program's have not been applied";
    assert_eq!(until_ready(&app, "migrations", finding).await, StatusCode::SERVICE_UNAVAILABLE);
    app.execute("UPDATE _sqlx_migrations SET success = true").await;
    // One more, which a newer program applied.
    app.execute(
        "INSERT INTO _sqlx_migrations SELECT 99991231235959, 'newer', now(), true, checksum, 0 FROM _sqlx_migrations LIMIT 1",
    )
    .await;
    assert_eq!(until_ready(&app, "migrations", "ok").await, StatusCode::OK);

    app.execute("DELETE FROM signing_key WHERE algorithm = 'RS256'").await;
    app.signing_keys.reload(&app.installation).await.unwrap();
    assert_eq!(
        until_ready(&app, "signing_keys", "none is active for some algorithm").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn it_has_an_address_of_its_own_at_which_nothing_else_is_told() {
    let app = App::acme().await;
    let (public, telemetry) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (at, observed_at) = (public.local_addr().unwrap(), telemetry.local_addr().unwrap());
    let stop = CancellationToken::new();
    let server = Server::new(app.installation.clone(), Settings::default()).await.unwrap().observed_at(telemetry);
    let serving = tokio::spawn(server.serve(public, stop.clone().cancelled_owned()));
    let client = reqwest::Client::builder().build().unwrap();
    let get = async |address, path: &str| client.get(format!("http://{address}{path}")).send().await.unwrap();
    for path in ["/healthz/live", "/healthz/ready", "/metrics"] {
        assert_eq!(get(observed_at, path).await.status(), 200, "{path}");
        // 421 or 404: pages have another name, and this is none.
        assert!([404, 421].contains(&get(at, path).await.status().as_u16()), "{path} in public");
    }
    for path in ["/", "/activate", "/auth/token", "/.well-known/jwks.json", "/healthz", "/metrics/"] {
        assert_eq!(get(observed_at, path).await.status(), 404, "{path}");
    }
    let posted = client.post(format!("http://{observed_at}/metrics")).send().await.unwrap();
    assert_eq!(posted.status(), 405);

    // A request that is not over: until it is, the server says that it is about to end.
    let mut slow = tokio::net::TcpStream::connect(at).await.unwrap();
    let head = "POST /auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    let under_way = async || {
        let metrics = get(observed_at, "/metrics").await.text().await.unwrap();
        metrics.contains("under_way{route=\"/auth/token\"} 1\n")
    };
    while !under_way().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    let ending = async {
        loop {
            let answer = get(observed_at, "/healthz/ready").await;
            if answer.status() == 503 {
                return answer.text().await.unwrap();
            }
        }
    };
    let ending = tokio::time::timeout(SOON, ending).await.expect("it says so");
    assert!(ending.contains("\"ending\""), "{ending}");
    drop(slow);
    tokio::time::timeout(SOON, serving).await.expect("it ends").unwrap().unwrap();
}
