//! How a server begins and ends: asked to end under load, asked twice, and followed by another on the same socket.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::commands::{Running, countersign, directory, run};
use crate::support::app::{ACME, form_request, secret_of_all};
use crate::support::{App, Device, Remote, free_port};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_secs(30);

/// How long a connection that was used a moment ago is kept, with some for a busy machine.
const QUIET: Duration = Duration::from_secs(5);

type Log = Running<tokio::process::ChildStderr>;

/// An installation, and what a process that serves it needs.
struct Scene {
    app: App,
    directory: TempDir,
    address: SocketAddr,
    telemetry: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let [address, telemetry] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let app = App::at(&format!("http://localhost:{}", address.port()), ACME).await;
        Self { app, directory: directory(), address, telemetry }
    }

    /// Sets what `countersign serve` reads.
    fn set(&self, command: &mut Command, drain: &str) {
        let options = self.app.installation.pool.connect_options();
        let url = format!(
            "postgres://{}@localhost:{}/{}?host={}",
            options.get_username(),
            options.get_port(),
            options.get_database().unwrap(),
            options.get_socket().unwrap().display()
        );
        command
            .env("COUNTERSIGN_PUBLIC_URL", self.app.issuer())
            .env("COUNTERSIGN_LISTEN", self.address.to_string())
            .env("COUNTERSIGN_TELEMETRY_LISTEN", self.telemetry.to_string())
            .env("COUNTERSIGN_DATA_DIR", self.directory.path())
            .env("COUNTERSIGN_SECRETS", secret_of_all().encode().expose())
            .env("COUNTERSIGN_DATABASE_URL", url)
            .env("COUNTERSIGN_DRAIN", drain);
    }

    async fn serve(&self, drain: &str) -> Log {
        let mut command = countersign(self.directory.path(), &["serve"]);
        self.set(&mut command, drain);
        let mut log = Running::start_log(command);
        log.says("issuer=").await;
        log
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Returns when a request of this route is being answered.
    async fn until_under_way(&self, route: &str) {
        let telemetry = Remote::new(&format!("http://{}", self.telemetry));
        let line = format!("countersign_http_requests_under_way{{route=\"{route}\"}} 1");
        let under_way = async {
            while !telemetry.get("/metrics").await.body.lines().any(|said| said == line) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, under_way).await.expect("it gets there");
    }

    /// How a connection is refused, soon: the listener and the connections of before end side by side.
    async fn refusal(&self) -> std::io::Error {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(self.address).await {
                Err(refusal) => return refusal,
                Ok(_) => assert!(begun.elapsed() < QUIET, "somebody still listens after {:?}", begun.elapsed()),
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

const ASK: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// One answer, whole: its head and its body.
async fn answer(stream: &mut TcpStream) -> std::io::Result<(String, String)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await?;
    Ok((head, String::from_utf8(body).unwrap()))
}

/// How long the server takes to close a connection, on which it sends nothing more.
async fn closed(mut stream: TcpStream) -> Duration {
    let begun = Instant::now();
    let read = timeout(SOON, stream.read(&mut [0; 64])).await.expect("it is closed").unwrap();
    assert_eq!(read, 0, "closed, and not answered");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_asked_to_end_answers_what_is_under_way_and_nothing_else() {
    let scene = Scene::new().await;
    let mut server = scene.serve("8s").await;
    let device = Device::ask(&scene.app, "read").await;

    let mut idle = scene.connect().await;
    idle.write_all(ASK.as_bytes()).await.unwrap();
    let (head, _) = answer(&mut idle).await.unwrap();
    assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");
    let silent = scene.connect().await;
    let mut slow = scene.connect().await;
    slow.write_all(b"POST /auth/device/code HTTP/1.1\r\nX: ").await.unwrap();
    let mut under_way = scene.connect().await;
    let body = "client_id=acme-cli";
    let head = format!(
        "POST /auth/device/code HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\nclient",
        body.len()
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    let remote = Remote::new(scene.app.issuer());
    let mut request = device.poll_request();
    request.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    let poll = tokio::spawn(async move { remote.send(request).await });
    scene.until_under_way("/auth/device/code").await;
    scene.until_under_way("/auth/token").await;
    // Longer than a connection that was used a moment ago is kept.
    sleep(Duration::from_millis(1500)).await;

    let begun = Instant::now();
    let ending = async { (server.end(Signal::TERM).await, begun.elapsed()) };
    let story = async {
        let (idle, silent) = tokio::join!(closed(idle), closed(silent));
        assert!(idle < QUIET && silent < QUIET, "{idle:?} {silent:?}");
        let polled = poll.await.unwrap();
        assert_eq!((polled.error().as_str(), polled.header("connection")), ("authorization_pending", Some("close")));
        assert!(begun.elapsed() < QUIET, "{:?}", begun.elapsed());
        assert_eq!(scene.refusal().await.kind(), std::io::ErrorKind::ConnectionRefused);
        let ready = Remote::new(&format!("http://{}", scene.telemetry)).get("/healthz/ready").await;
        assert!(ready.status == 503 && ready.body.contains("\"ending\""), "{}", ready.body);
        under_way.write_all(&body.as_bytes()["client".len()..]).await.unwrap();
        let (head, body) = answer(&mut under_way).await.unwrap();
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        assert!(body.contains("device_code"), "{body}");
        // Whoever sends a byte now and then holds nothing up for longer than the drain time.
        while slow.write_all(b"x").await.is_ok() && begun.elapsed() < SOON {
            sleep(Duration::from_millis(200)).await;
        }
    };
    let ((code, took), ()) = tokio::join!(ending, story);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(14), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_asked_twice_ends_at_once() {
    let scene = Scene::new().await;
    let mut server = scene.serve("1m").await;
    let mut slow = scene.connect().await;
    slow.write_all(b"POST /auth/device/code HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nclient")
        .await
        .unwrap();
    scene.until_under_way("/auth/device/code").await;
    let begun = Instant::now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.process.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    // It is ending, and would wait for a minute.
    scene.refusal().await;
    assert_eq!(server.end(Signal::INT).await, Some(1));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_is_made() {
    let scene = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data_dir = scene.path().join("data");
    let mut command = countersign(scene.path(), &["serve"]);
    command
        .env("COUNTERSIGN_PUBLIC_URL", "http://localhost:8080")
        .env("COUNTERSIGN_DATA_DIR", &data_dir)
        .env("COUNTERSIGN_LISTEN", taken.local_addr().unwrap().to_string());
    let (code, _, wrong) = run(&mut command).await;
    assert!(code == 1 && wrong.contains("can't listen on 127.0.0.1:"), "{wrong}");
    assert!(!data_dir.exists());
}

/// `countersign serve` with the managed PostgreSQL of this data directory.
fn serve_alone(directory: &Path, data_dir: &Path) -> (Log, Remote) {
    let [port, telemetry] = [free_port(), free_port()];
    let mut command = countersign(directory, &["serve"]);
    command
        .env("COUNTERSIGN_PUBLIC_URL", format!("http://localhost:{port}"))
        .env("COUNTERSIGN_LISTEN", format!("127.0.0.1:{port}"))
        .env("COUNTERSIGN_TELEMETRY_LISTEN", format!("127.0.0.1:{telemetry}"))
        .env("COUNTERSIGN_DATA_DIR", data_dir);
    (Running::start_log(command), Remote::new(&format!("http://127.0.0.1:{telemetry}")))
}

/// The first stands for a command that runs the same PostgreSQL for a moment: commands and servers hold it alike.
#[tokio::test]
async fn a_server_waits_for_a_data_directory_and_then_runs_a_postgresql_of_its_own() {
    let scene = directory();
    let data_dir = scene.path().join("data");
    let (mut first, _) = serve_alone(scene.path(), &data_dir);
    first.says("issuer=").await;
    let holder = format!("process {}", first.process.id().unwrap());
    let (mut second, health) = serve_alone(scene.path(), &data_dir);
    let (mut unwanted, _) = serve_alone(scene.path(), &data_dir);
    for waiting in [&mut second, &mut unwanted] {
        let said = waiting.says_at_last("waiting for it to end").await;
        assert!(said.last().unwrap().contains(&holder), "{said:#?}");
        assert!(!said.iter().any(|line| line.contains("issuer=")), "{said:#?}");
    }
    assert_eq!(unwanted.end(Signal::TERM).await, None, "the signal ends what only waits");

    assert_eq!(first.end(Signal::TERM).await, Some(0));
    let said = second.says_at_last("issuer=").await;
    assert!(said.iter().any(|line| line.contains("PostgreSQL is ready")), "{said:#?}");
    assert!(!said.iter().any(|line| line.contains("waiting for it to end")), "it says so once: {said:#?}");
    // Longer than what was found of its health is said again.
    for _ in 0..3 {
        sleep(Duration::from_millis(1100)).await;
        let ready = health.get("/healthz/ready").await;
        assert_eq!(ready.status, 200, "{}", ready.body);
    }
    assert_eq!(second.end(Signal::TERM).await, Some(0));
    assert!(!data_dir.join("postgres/postmaster.pid").exists(), "its PostgreSQL has ended with it");
}

/// The command on a socket that this process holds, handed over as systemd does it.
fn serve_on(scene: &Scene, socket: &std::net::TcpListener, environment: &[(&str, &str)]) -> Log {
    let program = countersign(scene.directory.path(), &[]).as_std().get_program().to_owned();
    let hand_over = "exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve </dev/null";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", hand_over]).arg(program).current_dir(scene.directory.path()).kill_on_drop(true);
    scene.set(&mut command, "10s");
    command.env_remove("COUNTERSIGN_TELEMETRY_LISTEN").envs(environment.iter().copied());
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    Running::start_log(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_follows_another_on_its_socket_drops_no_connection() {
    let scene = Scene::new().await;
    let socket = std::net::TcpListener::bind(scene.address).unwrap();
    let mut first = serve_on(&scene, &socket, &[]);
    first.says("issuer=").await;
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..24)
        .map(|number| {
            let (over, answered, address) = (over.clone(), answered.clone(), scene.address);
            tokio::spawn(async move {
                let mut kept: Option<TcpStream> = None;
                while !over.load(Ordering::SeqCst) {
                    let mut stream = match kept.take() {
                        Some(stream) => stream,
                        None => TcpStream::connect(address).await.expect("no connection is refused"),
                    };
                    stream.write_all(ASK.as_bytes()).await.expect("no connection is reset");
                    let (head, _) = answer(&mut stream).await.expect("every request is answered");
                    assert!(head.starts_with("http/1.1 200"), "{head}");
                    answered.fetch_add(1, Ordering::SeqCst);
                    let rests = Instant::now();
                    sleep(Duration::from_millis(number)).await;
                    // Two of three keep their connection for as long as they may; one that rests for a second is closed at the end.
                    let keeps = number % 3 > 0 && !head.contains("connection: close");
                    kept = (keeps && rests.elapsed() < Duration::from_millis(500)).then_some(stream);
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(500)).await;
    let mut second = serve_on(&scene, &socket, &[]);
    second.says("issuer=").await;
    sleep(Duration::from_millis(500)).await;
    let by_both = answered.load(Ordering::SeqCst);
    assert_eq!(first.end(Signal::TERM).await, Some(0));
    let by_the_first = answered.load(Ordering::SeqCst);
    sleep(Duration::from_millis(500)).await;
    over.store(true, Ordering::SeqCst);
    for client in clients {
        timeout(SOON, client).await.expect("every request is answered").unwrap();
    }
    let all = answered.load(Ordering::SeqCst);
    assert!(0 < by_both && by_both < by_the_first && by_the_first < all, "{by_both} {by_the_first} {all}");
    assert_eq!(second.end(Signal::TERM).await, Some(0));
    // Nobody accepts now, and nobody is refused: the next server finds them waiting.
    let mut waiting = TcpStream::connect(scene.address).await.unwrap();
    waiting.write_all(ASK.as_bytes()).await.unwrap();
    let mut third = serve_on(&scene, &socket, &[]);
    let (head, _) = timeout(SOON, answer(&mut waiting)).await.expect("in time").unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(third.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn sockets_for_another_process_are_left_alone_and_one_named_telemetry_is_for_health() {
    let scene = Scene::new().await;
    // The variables of a parent.
    let mut command = countersign(scene.directory.path(), &["serve"]);
    scene.set(&mut command, "1s");
    command.envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "1")]);
    let mut server = Running::start_log(command);
    let said = server.says("issuer=").await;
    assert!(said.contains(&scene.address.to_string()), "{said}");
    assert_eq!(server.end(Signal::TERM).await, Some(0));

    let socket = std::net::TcpListener::bind(scene.telemetry).unwrap();
    let mut server = serve_on(&scene, &socket, &[("LISTEN_FDNAMES", "telemetry")]);
    let said = server.says("issuer=").await;
    assert!(said.contains(&scene.address.to_string()), "{said}");
    let ready = Remote::new(&format!("http://{}", scene.telemetry));
    let ready = ready.send(axum::http::Request::get("/healthz/ready").body("".into()).unwrap()).await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    let codes =
        Remote::new(scene.app.issuer()).send(form_request("/auth/device/code", &[("client_id", "acme-cli")])).await;
    assert_eq!(codes.status, 200, "{}", codes.body);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}
