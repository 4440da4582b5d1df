//! Traces, as a collector receives them: what is told, whom a trace is believed, and that nobody waits for a collector.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use countersign::secrets::from_base64url;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::commands::{Running, countersign, directory, run};
use crate::support::app::{ACME, ADA_PASSWORD, AGENT_SECRET, form_request};
use crate::support::{Browser, Remote, free_port};

/// A trace that somebody else began, and its id.
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PARENT_ID: [u8; 16] =
    [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];

/// A collector on loopback, which keeps what it is sent.
#[derive(Clone)]
struct Collector {
    endpoint: String,
    hangs: bool,
    received: Arc<Mutex<Vec<u8>>>,
    headers: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    async fn start(hangs: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { endpoint, hangs, received: Arc::default(), headers: Arc::default() };
        let router = Router::new().fallback(receive).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        self.received.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }

    async fn until_it_holds(&self, text: &str) {
        for _ in 0..300 {
            if self.holds(text.as_bytes()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{text} is not told: {}", String::from_utf8_lossy(&self.received.lock().unwrap()));
    }
}

async fn receive(State(collector): State<Collector>, request: Request) -> StatusCode {
    assert_eq!(request.uri().path(), "/v1/traces");
    let (parts, body) = request.into_parts();
    for (name, value) in &parts.headers {
        collector.headers.lock().unwrap().push(format!("{name}: {}", value.to_str().unwrap()));
    }
    let bytes: Bytes = axum::body::to_bytes(body, 16 * 1024 * 1024).await.unwrap();
    collector.received.lock().unwrap().extend_from_slice(&bytes);
    if collector.hangs {
        std::future::pending::<()>().await;
    }
    StatusCode::OK
}

/// A server that tells a collector, and what it says on standard error.
struct Scene {
    directory: TempDir,
    issuer: String,
    server: Running<tokio::process::ChildStderr>,
}

impl Scene {
    async fn start(collector: &Collector, more: &[(&str, &str)]) -> Self {
        let (directory, port) = (directory(), free_port());
        let issuer = format!("http://localhost:{port}");
        let mut command = countersign(directory.path(), &["serve"]);
        command.env("COUNTERSIGN_PUBLIC_URL", &issuer).env("COUNTERSIGN_LISTEN", format!("127.0.0.1:{port}"));
        command.env("COUNTERSIGN_DATA_DIR", directory.path().join("data")).env("COUNTERSIGN_LOG_FORMAT", "json");
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "200");
        command.envs(more.iter().copied());
        let mut server = Running::start_log(command);
        server.says("\"message\":\"ready\"").await;
        Self { directory, issuer, server }
    }

    async fn apply(&self, toml: &str) {
        fs::write(self.directory.path().join("acme.toml"), toml).unwrap();
        let data_dir = self.directory.path().join("data");
        let arguments = ["apply", "acme.toml", "--data-dir", data_dir.to_str().unwrap()];
        let (code, _, stderr) = run(&mut countersign(self.directory.path(), &arguments)).await;
        assert_eq!(code, 0, "{stderr}");
    }
}

fn with_parent(path: &str) -> Request {
    Request::get(path).header("traceparent", PARENT).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_collector_is_told_of_every_request_and_of_no_secret() {
    let collector = Collector::start(false).await;
    let mut scene = Scene::start(
        &collector,
        &[
            ("COUNTERSIGN_TRUSTED_PROXIES", "127.0.0.1/32"),
            ("OTEL_SERVICE_NAME", "acme-login"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test-of-traces"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=key-of-the-collector"),
        ],
    )
    .await;
    scene.apply(&ACME.replace("device_login = true", "device_login = true\ninterval = 1")).await;
    let remote = Remote::new(&scene.issuer);
    let client = [("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)];
    let asked =
        remote.post("/auth/device/code", &[&client[..], &[("scope", "openid offline_access run")]].concat()).await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.body);
    let (user_code, device_code) = (asked.text("user_code"), asked.text("device_code"));
    let mut person = Browser::at(&remote);
    let page = person.open(&format!("/activate?user_code={user_code}")).await;
    let csrf = page.field("csrf_token").unwrap();
    let page = person.submit(&page, "/activate", &[("user_code", &user_code)]).await;
    let wrong = "nearly ada's password";
    let page = person.sign_in(&page, "ada@acme.example", wrong).await;
    let page = person.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    let done = person.approve(&page).await;
    assert_eq!(done.path, "/activate/done", "{}", done.text());
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let tokens =
        remote.post("/auth/token", &[&client[..], &[grant_type, ("device_code", device_code.as_str())]].concat()).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let tokens: Vec<String> = ["access_token", "refresh_token", "id_token"].map(|name| tokens.text(name)).into();
    // A path that somebody mistyped, with a code in it; and a trace that the proxy began.
    assert_eq!(remote.send(with_parent(&format!("/activate/{user_code}"))).await.status, StatusCode::NOT_FOUND);
    let token = "csu_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(remote.send(with_parent(&format!("/setup?token={token}"))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(scene.server.end(Signal::TERM).await, Some(0));

    for told in [
        "POST /auth/device/code",
        "POST /activate/sign-in",
        "POST /auth/token",
        "GET /setup",
        "http.response.status_code",
        "countersign.request_id",
        "acme-login",
        "test-of-traces",
        "service.version",
        "device_grant",
    ] {
        assert!(collector.holds(told.as_bytes()), "{told} was not told");
    }
    assert!(collector.holds(&PARENT_ID), "a trusted proxy's trace goes on");
    assert!(collector.headers.lock().unwrap().contains(&"x-collector-key: key-of-the-collector".to_owned()));
    let cookie = person.cookie.clone().unwrap();
    let cookie = cookie.split_once('=').unwrap().1;
    let flat = user_code.replace('-', "");
    let secrets = [user_code.as_str(), &flat, &device_code, &csrf, cookie, wrong, ADA_PASSWORD, AGENT_SECRET, token];
    for secret in secrets.into_iter().chain(tokens.iter().map(String::as_str)) {
        assert!(!collector.holds(secret.as_bytes()), "the collector was told {secret}");
        let bytes = secret.rsplit(['_', '.']).next().and_then(from_base64url).filter(|bytes| bytes.len() >= 16);
        assert!(bytes.is_none_or(|bytes| !collector.holds(&bytes)), "the collector was told what {secret} means");
    }
    for personal in ["ada@acme.example", "127.0.0.1", "key-of-the-collector"] {
        assert!(!collector.holds(personal.as_bytes()), "the collector was told {personal}");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_hangs_and_nobody_elses_trace_goes_on() {
    let collector = Collector::start(true).await;
    let mut scene = Scene::start(&collector, &[]).await;
    let remote = Remote::new(&scene.issuer);
    let began = Instant::now();
    // More than the queue holds.
    for _ in 0..3000 {
        assert_eq!(remote.send(with_parent("/activate")).await.status, StatusCode::OK);
    }
    assert!(began.elapsed() < Duration::from_mins(3), "{:?}", began.elapsed());
    collector.until_it_holds("GET /activate").await;
    collector.until_it_holds("countersign").await;
    assert!(!collector.holds(&PARENT_ID), "anybody could have written it");
    let began = Instant::now();
    assert_eq!(scene.server.end(Signal::TERM).await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "it ends with the drain: {:?}", began.elapsed());
}

#[tokio::test]
async fn without_a_collector_nothing_is_told_and_what_there_is_not_is_said() {
    let collector = Collector::start(false).await;
    let mut scene = Scene::start(&collector, &[("OTEL_TRACES_EXPORTER", "none")]).await;
    let remote = Remote::new(&scene.issuer);
    assert_eq!(remote.send(with_parent("/activate")).await.status, StatusCode::OK);
    let refused = remote.send(form_request("/auth/token", &[("grant_type", "none")])).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.server.end(Signal::TERM).await, Some(0));
    assert!(collector.received.lock().unwrap().is_empty());

    let mut command = countersign(scene.directory.path(), &["serve"]);
    command.env("COUNTERSIGN_PUBLIC_URL", &scene.issuer).env("COUNTERSIGN_LISTEN", "127.0.0.1:0");
    command.env("COUNTERSIGN_DATA_DIR", scene.directory.path().join("data"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let mut server = Running::start_log(command);
    let said = server.says("no traces").await;
    assert!(said.contains("OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf"), "{said}");
    server.says("ready listen=").await;
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}
