//! **Racing**: one request, sent so often at the same moment that two of them find what only one should find.
//!
//! The attacker has: 64 connections to two servers of one installation, each with a request that is complete but for its last
//! byte; then they send the 64 last bytes. It is how such races are won against servers that look first and write after.
//!
//! What must happen: one of them wins, at claiming, deciding, redeeming, refreshing, proving by a recovery code and coming back
//! from a provider. The others are told what they would be told a minute later, and the database holds one of everything.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{ADA, audited, before_the_decision, get, states, tokens};
use crate::support::app::{ACME, Answer, form_request};
use crate::support::github::{self, CLIENT_ID};
use crate::support::oidc_provider::browser as http_client;
use crate::support::{App, Browser, Device};

const RUNNERS: usize = 64;

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_mins(1);

/// Two listening servers of one installation.
struct Track {
    _other: App,
    servers: [SocketAddr; 2],
}

impl Track {
    async fn of(app: &App) -> Self {
        let other = app.another_node().await;
        let servers = [app.listen().await, other.listen().await];
        Self { _other: other, servers }
    }

    /// Sends all of them at once, each on a connection and from an address of its own, by turns to either server.
    async fn race(&self, requests: Vec<Request<Body>>) -> Vec<Answer> {
        assert_eq!(requests.len(), RUNNERS);
        let mut ready = Vec::new();
        for (n, request) in requests.into_iter().enumerate() {
            ready.push(Runner::get_set(n, self.servers[n % 2], request).await);
        }
        // Each on a task: all last bytes are on their way before the first answer is read.
        let running: Vec<_> = ready.into_iter().map(|runner| tokio::spawn(runner.go())).collect();
        join_all(running).await.into_iter().map(Result::unwrap).collect()
    }

    /// The same request, 64 times.
    async fn race_copies(&self, request: impl Fn() -> Request<Body>) -> Vec<Answer> {
        self.race((0..RUNNERS).map(|_| request()).collect()).await
    }
}

/// A connection on which a request waits for its last byte.
struct Runner {
    stream: TcpStream,
    last: u8,
}

impl Runner {
    async fn get_set(n: usize, server: SocketAddr, request: Request<Body>) -> Self {
        let mut bytes = written(request).await;
        let last = bytes.pop().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_nodelay(true).unwrap();
        let address = Ipv4Addr::new(127, 0, 1, u8::try_from(n + 1).unwrap());
        socket.bind((address, 0).into()).unwrap();
        let mut stream = socket.connect(server).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        Self { stream, last }
    }

    async fn go(mut self) -> Answer {
        self.stream.write_all(&[self.last]).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(SOON, self.stream.read_to_end(&mut bytes)).await.expect("an answer").unwrap();
        read(&String::from_utf8(bytes).unwrap())
    }
}

/// A request as it goes over the wire.
async fn written(request: Request<Body>) -> Vec<u8> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut head =
        format!("{} {} HTTP/1.1\r\nhost: auth.acme.example\r\nconnection: close\r\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        write!(head, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    if !body.is_empty() {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    assert!(!headers.contains_key(header::TRANSFER_ENCODING), "answers here are of known length");
    Answer { status, headers, body: body.to_owned() }
}

/// How many there are of something in the database.
async fn count(app: &App, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&app.installation.pool).await.unwrap()
}

/// How many were sent away because their server had no connection left to look with.
fn sent_away(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE).count()
}

fn refused(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == StatusCode::BAD_REQUEST).count()
}

fn leading_to(answers: &[Answer], path: &str) -> usize {
    answers.iter().filter(|answer| answer.header("location") == Some(path)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_browsers_that_enter_one_code_one_has_it() {
    let app = App::acme().await;
    let track = Track::of(&app).await;
    let device = Device::ask(&app, "read").await;
    let enter = async |_| {
        let mut browser = Browser::new(&app);
        let page = browser.open("/activate").await;
        browser.request(&page, "/activate", &[("user_code", &device.user_code)])
    };
    let answers = track.race(join_all((0..RUNNERS).map(enter)).await).await;
    let lost = refused(&answers);
    let told = (leading_to(&answers, "/activate/sign-in"), lost + sent_away(&answers));
    assert_eq!(told, (1, RUNNERS - 1), "{answers:#?}");
    let guesses = usize::try_from(audited(&app, "guess_refused").await).unwrap();
    assert_eq!((audited(&app, "claimed").await, guesses), (1, lost));
    assert_eq!(count(&app, "SELECT count(*) FROM browser_session WHERE grant_id IS NOT NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_decisions_one_counts() {
    let app = App::acme().await;
    let track = Track::of(&app).await;
    for _ in 0..3 {
        let (device, browser, confirm) = before_the_decision(&app).await;
        let (approved, denied) = (audited(&app, "approved").await, audited(&app, "denied").await);
        let decide = |n: usize| {
            let decision = if n % 4 < 2 { "approve" } else { "deny" };
            let fields = [("scope", "read"), ("mine", "yes"), ("decision", decision)];
            browser.request(&confirm, "/activate/confirm", &fields)
        };
        let answers = track.race((0..RUNNERS).map(decide).collect()).await;
        // Those who came late are led to where it is said what was decided.
        let decided = leading_to(&answers, "/activate/done") + leading_to(&answers, "/activate/confirm");
        assert_eq!(decided + sent_away(&answers), RUNNERS, "{answers:#?}");
        let (approved, denied) = (audited(&app, "approved").await - approved, audited(&app, "denied").await - denied);
        assert_eq!(approved + denied, 1);
        assert_eq!(device.poll_held().await.error(), if approved == 1 { "" } else { "access_denied" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_polls_one_gets_tokens() {
    let app = App::acme().await;
    let track = Track::of(&app).await;
    let device = Device::ask(&app, "read").await;
    Browser::new(&app).approve_code(&device.user_code).await;
    let answers = track.race_copies(|| device.poll_request()).await;
    let won = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    // A server that has no connection left for it says that nothing is known to be decided, and the poll comes again.
    let lost = |answer: &&Answer| matches!(answer.error().as_str(), "invalid_grant" | "authorization_pending");
    assert_eq!((won, answers.iter().filter(lost).count()), (1, RUNNERS - 1), "{answers:#?}");
    assert_eq!((states(&app).await, audited(&app, "redeemed").await), (vec!["redeemed".to_owned()], 1));
    assert_eq!(count(&app, "SELECT count(*) FROM session WHERE revoked_at IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_refreshes_one_rotates_and_all_get_its_successor() {
    let app = App::acme().await;
    let track = Track::of(&app).await;
    let token = tokens(&app, "read offline_access").await.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", token.as_str())];
    let answers = track.race_copies(|| form_request("/auth/token", &form)).await;
    let (answered, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == StatusCode::OK);
    assert!(busy.iter().all(|answer| answer.error() == "temporarily_unavailable"), "{busy:#?}");
    let mut successors: Vec<String> = answered.iter().map(|answer| answer.text("refresh_token")).collect();
    successors.dedup();
    assert_eq!(successors.len(), 1, "two processes of one client, and no two branches of one session");
    assert_eq!(audited(&app, "refreshed").await, 1);
    assert_eq!(count(&app, "SELECT generation::bigint FROM session").await, 1);
    assert_eq!(count(&app, "SELECT count(*) FROM session WHERE revoked_at IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_uses_of_a_recovery_code_one_proves() {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    let track = Track::of(&app).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    let key = page.says(".secret").join("").replace(' ', "");
    let codes = browser.prove(&page, &app.totp(&key)).await.says(".codes code");
    assert_eq!((codes.len(), audited(&app, "mfa_passed").await), (10, 1));
    app.without_delays().await;

    // Eight devices in eight browsers, eight tries each.
    let mut requests = Vec::new();
    for _ in 0..8 {
        let device = Device::ask(&app, "read").await;
        let mut browser = Browser::new(&app);
        let page = browser.enter_and_sign_in(&device.user_code).await;
        requests.extend((0..8).map(|_| browser.request(&page, "/activate/mfa", &[("code", &codes[0])])));
    }
    let answers = track.race(requests).await;
    assert!(answers.iter().all(|answer| !answer.status.is_success()), "{answers:#?}");
    let proven = "SELECT count(*) FROM device_grant WHERE mfa_user_id IS NOT NULL";
    assert_eq!(count(&app, proven).await, 2, "the first one by its authenticator, and one of the eight");
    assert_eq!(count(&app, "SELECT count(*) FROM recovery_code WHERE used_at IS NOT NULL").await, 1);
    assert_eq!(audited(&app, "mfa_passed").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callbacks_one_signs_in() {
    let github = github::start().await;
    let invited = ACME.replace("password = { env = \"ADA_PASSWORD\" }", "");
    let app = App::with(&format!(
        "{invited}\n[[organization.provider]]\nslug = \"hub\"\nkind = \"github\"\nissuer = \"{}\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = {{ env = \"GITHUB_SECRET\" }}\n",
        github.base(),
    ))
    .await;
    let track = Track::of(&app).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    browser.enter(&device.user_code).await;
    let away = browser.open("/auth/hub?org=acme&service=cli").await.leads_to();
    let back = http_client().get(away).send().await.unwrap();
    let back: url::Url = back.headers()["location"].to_str().unwrap().parse().unwrap();
    let callback = format!("{}?{}", back.path(), back.query().unwrap());

    let answers = track.race_copies(|| browser.with_cookie(get(&callback))).await;
    let won: Vec<&Answer> = answers.iter().filter(|answer| answer.header("set-cookie").is_some()).collect();
    assert_eq!(won.len(), 1, "{answers:#?}");
    assert_eq!(won[0].header("location"), Some("/activate/confirm"));
    // The others' state is spent. The later of them are led on, without a cookie: theirs is no session's any more.
    let led_on = leading_to(&answers, "/activate/confirm") + leading_to(&answers, "/activate");
    assert_eq!(refused(&answers) + led_on + sent_away(&answers), RUNNERS, "{answers:#?}");
    assert_eq!((audited(&app, "signed_in").await, audited(&app, "refused").await), (1, 0));
    assert_eq!(count(&app, "SELECT count(*) FROM browser_sign_in").await, 1);
    assert_eq!(count(&app, "SELECT count(*) FROM identity").await, 1);
    let email: String = sqlx::query_scalar("SELECT u.email FROM browser_sign_in b JOIN app_user u ON u.id = b.user_id")
        .fetch_one(&app.installation.pool)
        .await
        .unwrap();
    assert_eq!(email, ADA);
}
