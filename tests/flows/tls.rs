//! TLS in the process: a whole login, a certificate that is renewed while the server runs, clients that never end to shake hands.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode, Version};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use countersign::clock::Clock;
use countersign::server::handshakes::MOST;
use countersign::server::patience::Patience;
use countersign::server::tls::Tls;
use countersign::server::{Server, Settings};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::commands::{Running, countersign, directory, run};
use crate::support::app::{ACME, form_request};
use crate::support::{App, Browser, Remote, free_port};

/// Far above what anything here takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for `localhost` and its key, in the files that a server reads.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        let files = Self(directory());
        files.renew(2100);
        files
    }

    /// Writes another pair, which is good until that year; gives the certificate.
    fn renew(&self, until: i32) -> String {
        self.write(until, 1, 1)
    }

    fn write(&self, year: i32, month: u32, day: u32) -> String {
        let (certificate, key) = pair(year, month, day);
        fs::write(self.certificate(), &certificate).unwrap();
        fs::write(self.key(), key).unwrap();
        fs::set_permissions(self.key(), Permissions::from_mode(0o600)).unwrap();
        certificate
    }

    fn certificate(&self) -> std::path::PathBuf {
        self.0.path().join("tls.crt")
    }

    fn key(&self) -> std::path::PathBuf {
        self.0.path().join("tls.key")
    }

    pub fn open(&self) -> Tls {
        Tls::open(&self.certificate(), &self.key()).unwrap()
    }

    fn pem(&self) -> String {
        fs::read_to_string(self.certificate()).unwrap()
    }
}

/// A certificate that is good until the first moment of a day, and its key.
fn pair(year: i32, month: u32, day: u32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(year, month.try_into().unwrap(), day.try_into().unwrap());
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A server that speaks TLS.
struct Secure {
    app: App,
    tls: Tls,
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Secure {
    async fn with(files: &Files, patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = App::at(&format!("https://localhost:{}", address.port()), ACME).await;
        let tls = files.open();
        let settings = Settings { patience, tls: Some(tls.clone()), ..Settings::default() };
        let server = Server::new(app.installation.clone(), settings).await.unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let ended = tokio::spawn(async move { server.serve(listener, stopped).await.unwrap() });
        Self { app, tls, address, stop, ended }
    }

    /// What is found at a path by somebody who trusts this certificate, on a connection of their own.
    async fn get(&self, trusted: &str, path: &str) -> Result<StatusCode, reqwest::Error> {
        let url = format!("{}{path}", self.app.issuer());
        Ok(trusting(trusted).get(url).send().await?.status())
    }
}

/// A client that trusts this certificate alone, and would choose HTTP/2 where it is offered.
fn trusting(certificate: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().tls_certs_only([root]).redirect(reqwest::redirect::Policy::none());
    builder.timeout(PATIENCE).build().unwrap()
}

#[tokio::test]
async fn a_whole_login_goes_over_tls_and_the_audit_has_the_addresses() {
    let files = Files::new();
    let secure = Secure::with(&files, Patience::default()).await;
    let client = trusting(&files.pem());
    let keys = client.get(format!("{}/.well-known/jwks.json", secure.app.issuer())).send().await.unwrap();
    assert_eq!(keys.version(), Version::HTTP_11);
    log_in(&Remote::through(client, secure.app.issuer())).await;
    let events = secure.app.events().await;
    assert!(!events.is_empty() && events.iter().all(|event| event.ip.is_some_and(|ip| ip.addr().is_loopback())));
    // Whoever speaks plain HTTP there gets nothing.
    let mut plain = TcpStream::connect(secure.address).await.unwrap();
    plain.write_all(b"GET /activate HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut said)).await.unwrap();
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/1.1"), "{said:?}");
}

/// A device asks and is held, Ada approves, the device gets tokens.
async fn log_in(remote: &Remote) {
    let codes = remote.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
    assert_eq!(codes.status, StatusCode::OK, "{}", codes.body);
    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    let device_code = codes.text("device_code");
    let form = [("grant_type", grant_type), ("device_code", &device_code), ("client_id", "acme-cli")];
    // A poll that is held meanwhile, for longer than a handshake or a head may take.
    let mut held = form_request("/auth/token", &form);
    held.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    let approve = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Browser::at(remote).approve_code(&codes.text("user_code")).await;
    };
    let (tokens, ()) = tokio::join!(remote.send(held), approve);
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_served_to_new_connections_and_a_broken_one_is_not() {
    let files = Files::new();
    let first = files.pem();
    let secure = Secure::with(&files, Patience::default()).await;
    let open = trusting(&first);
    let url = format!("{}/.well-known/jwks.json", secure.app.issuer());
    assert_eq!(open.get(&url).send().await.unwrap().status(), 200);

    // A key that isn't the certificate's, half a file, no file: the pair that was read before stays.
    for broken in [pair(2101, 1, 1).1, first.split_at(300).0.to_owned(), String::new()] {
        fs::write(files.key(), broken).unwrap();
        let error = secure.tls.refresh().unwrap_err().to_string();
        assert!(error.contains("tls.key") && !error.contains("BEGIN"), "{error}");
        assert_eq!(secure.tls.refresh().unwrap_err().to_string(), error, "it is looked at again until it can be used");
        assert_eq!(secure.get(&first, "/.well-known/jwks.json").await.unwrap(), 200);
    }
    fs::remove_file(files.key()).unwrap();
    assert!(secure.tls.refresh().is_err());

    // By itself, and the connection that is open goes on.
    let second = files.renew(2102);
    let begun = Instant::now();
    while secure.get(&second, "/.well-known/jwks.json").await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it is not served");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(secure.get(&first, "/.well-known/jwks.json").await.is_err(), "the old one is not served any more");
    assert_eq!(open.get(&url).send().await.unwrap().status(), 200);
    assert_eq!(secure.tls.expires(), "2102-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_end_to_shake_hands_starve_nobody() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let files = Files::new();
    // So patient that only their number ends them.
    let patience = Patience { head: Duration::from_mins(10), ..Patience::default() };
    let secure = Secure::with(&files, patience).await;
    let mut slow = Vec::new();
    for number in 0..2 * MOST {
        let mut stream = TcpStream::connect(secure.address).await.unwrap();
        // Nothing at all, or the beginning of a hello.
        if number % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
        }
        slow.push(stream);
    }
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(secure.get(&files.pem(), "/.well-known/jwks.json").await.unwrap(), 200);
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
    // Those that have taken longest were given up.
    let mut closed = 0;
    for stream in &mut slow[..MOST] {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert_eq!(closed, MOST);
    let mut byte = [0];
    let last = tokio::time::timeout(Duration::from_millis(200), slow[2 * MOST - 1].read(&mut byte)).await;
    assert!(last.is_err(), "the latest may go on");
}

#[tokio::test]
async fn a_handshake_has_its_time_and_the_end_does_not_wait_for_it() {
    let files = Files::new();
    let patience = Patience { head: Duration::from_secs(1), ..Patience::default() };
    let secure = Secure::with(&files, patience).await;
    let mut slow = TcpStream::connect(secure.address).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, slow.read(&mut byte)).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn the_end_answers_what_is_under_way_and_waits_for_no_handshake() {
    let files = Files::new();
    let secure = Secure::with(&files, Patience { head: Duration::from_mins(10), ..Patience::default() }).await;
    let _slow = TcpStream::connect(secure.address).await.unwrap();
    let remote = Remote::through(trusting(&files.pem()), secure.app.issuer());
    let codes = remote.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    let device_code = codes.text("device_code");
    let form = [("grant_type", grant_type), ("device_code", &device_code), ("client_id", "acme-cli")];
    let mut held = form_request("/auth/token", &form);
    held.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    let end = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        secure.stop.cancel();
    };
    let begun = Instant::now();
    let (held, ()) = tokio::join!(remote.send(held), end);
    assert_eq!((held.error().as_str(), held.header("connection")), ("authorization_pending", Some("close")));
    secure.ended.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}: only when the drain time was over", begun.elapsed());
}

#[tokio::test]
async fn http_2_is_not_spoken_whoever_insists() {
    let files = Files::new();
    let secure = Secure::with(&files, Patience::default()).await;
    let root = reqwest::Certificate::from_pem(files.pem().as_bytes()).unwrap();
    let insisting = reqwest::Client::builder().tls_certs_only([root]).http2_prior_knowledge().timeout(PATIENCE);
    let url = format!("{}/.well-known/jwks.json", secure.app.issuer());
    let begun = Instant::now();
    assert!(insisting.build().unwrap().get(&url).send().await.is_err());
    assert!(begun.elapsed() < PATIENCE, "it is told at once");
    // Nor to whoever says so byte by byte, or something that begins like it.
    for (said, answered) in
        [("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false), ("PRI * HTTP/1.1\r\nHost: localhost\r\n\r\n", true)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(secure.app.installation.clone(), Settings::default()).await.unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move { server.serve(listener, stopped).await.unwrap() });
        let mut plain = TcpStream::connect(address).await.unwrap();
        for byte in said.as_bytes() {
            if plain.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut first = [0; 8];
        let read =
            tokio::time::timeout(PATIENCE, plain.read_exact(&mut first)).await.expect("it is closed or answered");
        assert_eq!(read.is_ok() && first == *b"HTTP/1.1", answered, "{said}");
        drop(plain);
        stop.cancel();
        serving.await.unwrap();
    }
}

/// The environment of a server at a port of its own.
fn environment(scene: &Path, files: &Files, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("COUNTERSIGN_PUBLIC_URL", format!("https://localhost:{port}")),
        ("COUNTERSIGN_LISTEN", format!("127.0.0.1:{port}")),
        ("COUNTERSIGN_DATA_DIR", scene.join("data").display().to_string()),
        ("COUNTERSIGN_TLS_CERTIFICATE", files.certificate().display().to_string()),
        ("COUNTERSIGN_TLS_KEY", files.key().display().to_string()),
    ]
}

#[tokio::test]
async fn serve_speaks_tls_warns_of_the_end_and_tells_it() {
    let (scene, files) = (directory(), Files::new());
    let (port, telemetry) = (free_port(), free_port());
    let day = Clock::system().now() + TimeDelta::days(4);
    files.write(day.year(), day.month(), day.day());
    fs::set_permissions(files.key(), Permissions::from_mode(0o644)).unwrap();
    let mut serve = countersign(scene.path(), &["serve"]);
    serve.envs(environment(scene.path(), &files, port));
    serve.env("COUNTERSIGN_TELEMETRY_LISTEN", format!("127.0.0.1:{telemetry}"));
    let mut server = Running::start_log(serve);
    let said = server.says_at_last("ready").await;
    assert!(said.iter().any(|line| line.contains("every account of this machine can read this file")), "{said:#?}");
    assert!(!said.iter().any(|line| line.contains("something in front must speak TLS")), "{said:#?}");
    let line = server.says("the certificate is over soon").await;
    assert!(line.contains("WARN") && line.contains("days=3"), "{line}");
    // As a health check does, with nothing but the server's own environment.
    for arguments in [&["health"][..], &["health", "--ready"]] {
        let mut health = countersign(scene.path(), arguments);
        health.envs(environment(scene.path(), &files, port));
        let (code, _, wrong) = run(&mut health).await;
        assert!(code == 1 && wrong.contains("telemetry.listen is not set"), "{wrong}");
        health.env("COUNTERSIGN_TELEMETRY_LISTEN", format!("0.0.0.0:{telemetry}"));
        assert_eq!(run(&mut health).await, (0, String::new(), String::new()));
    }
    let nobody = ["health", "--url", &format!("http://127.0.0.1:{}", free_port())];
    let (code, _, wrong) = run(&mut countersign(scene.path(), &nobody)).await;
    assert!(code == 1 && wrong.contains("doesn't answer"), "{wrong}");
    let metrics = Remote::new(&format!("http://127.0.0.1:{telemetry}"));
    let metrics = metrics.send(Request::get("/metrics").body(Body::empty()).unwrap()).await.body;
    let series = "countersign_tls_certificate_expiry_timestamp_seconds ";
    let expiry: i64 = metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap();
    let left = expiry - Clock::system().now().timestamp();
    assert!((3 * 86_400..=4 * 86_400).contains(&left), "{left}");
    let answer = trusting(&files.pem()).get(format!("https://localhost:{port}/activate")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn serve_does_not_start_with_a_pair_that_can_not_be_used() {
    let (scene, files) = (directory(), Files::new());
    let serve = |changed: &[(&str, &str)]| {
        let mut serve = countersign(scene.path(), &["serve"]);
        serve.envs(environment(scene.path(), &files, free_port())).envs(changed.iter().copied());
        serve
    };
    for (changed, said) in [
        (("COUNTERSIGN_TLS_KEY", "missing.key"), "tls can't be used: missing.key holds no private key in PEM: "),
        (("COUNTERSIGN_PUBLIC_URL", "http://localhost:1"), "let public_url begin with https://"),
    ] {
        let (code, _, stderr) = run(&mut serve(&[changed])).await;
        assert!(code == 1 && stderr.contains(said), "{stderr}");
    }
    let (code, _, stderr) = run(serve(&[]).env_remove("COUNTERSIGN_TLS_KEY")).await;
    assert!(code == 1 && stderr.contains("tls.certificate: it is set without tls.key"), "{stderr}");
    fs::write(files.key(), pair(2100, 1, 1).1).unwrap();
    let (code, _, stderr) = run(&mut serve(&[])).await;
    assert!(code == 1 && stderr.contains("can't be served with the key in"), "{stderr}");
    assert!(!scene.path().join("data").exists(), "nothing was begun");
}
