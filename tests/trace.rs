//! A whole run, logged at trace level by everything in the process, over real sockets: none of its secrets is in the log.
//!
//! And a panic: one answer, one event with the request's number and without what it says.
//!
//! The subscriber and what hears of panics are the process's own, so this is a binary of its own.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/app.rs"]
#[expect(dead_code, reason = "here everybody speaks over a socket")]
mod app;
#[path = "support/database.rs"]
mod database;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};

use countersign::ids::GrantId;
use countersign::installation::Parts;
use countersign::mfa::totp;
use countersign::notice::link;
use countersign::secrets::Random;
use countersign::telemetry;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use scraper::{Html, Selector};
use serde_json::Value;

use app::{ACME, ADA_PASSWORD, AGENT_SECRET, App, HOOK_SECRET, secret_of_all};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From now on everything is logged, panics as the server logs them. Failed assertions are shown besides.
fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Six digits of a time would be taken for a code.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time();
        log.with_ansi(false).with_writer(|| Log).init();
        let usual = std::panic::take_hook();
        telemetry::log_panics();
        let logged = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            logged(panic);
            usual(panic);
        }));
    });
}

/// Everything that must stay out of the log, and what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= 6, "{what}: {secret:?} would be found by chance");
        self.0.push((what, secret.clone()));
        secret
    }
}

/// A device and a browser on one socket.
struct Run {
    client: reqwest::Client,
    base: String,
    cookie: Option<String>,
    /// The other cookies.
    known: Vec<String>,
    secrets: Secrets,
}

impl Run {
    fn new(issuer: &str) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, base: issuer.to_owned(), cookie: None, known: Vec::new(), secrets: Secrets::default() }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.client.post(format!("{}{path}", self.base)).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks for codes, and keeps both.
    async fn ask(&mut self, scope: &str) -> (String, String) {
        let form = [("client_id", "acme-agent"), ("client_secret", AGENT_SECRET), ("scope", scope)];
        let (status, answer) = self.post("/auth/device/code", &form).await;
        assert_eq!(status, 200, "{answer}");
        let user_code = self.secrets.keep("user code", answer["user_code"].as_str().unwrap());
        self.secrets.keep("user code, written as one", user_code.replace('-', ""));
        let device_code = self.secrets.keep("device code", answer["device_code"].as_str().unwrap());
        (user_code, device_code)
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let mut form = form.to_vec();
        form.extend([("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)]);
        self.post("/auth/token", &form).await
    }

    async fn poll(&self, device_code: &str) -> (u16, Value) {
        let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        self.token(&[grant_type, ("device_code", device_code)]).await
    }

    fn keep_tokens(&mut self, answer: &Value) {
        for name in ["access_token", "refresh_token", "id_token"] {
            let token = self.secrets.keep(name, answer[name].as_str().unwrap());
            let bare = token.strip_prefix("csr_").or_else(|| token.rsplit('.').next()).unwrap();
            self.secrets.keep("token without its beginning", bare);
        }
    }

    /// Opens a page or sends a form, and follows where it leads: path and HTML of the last page.
    async fn browse(&mut self, path: &str, form: Option<&[(&str, &str)]>) -> (String, String) {
        let mut path = path.to_owned();
        let mut form = form;
        loop {
            let url = format!("{}{path}", self.base);
            let request = match form.take() {
                Some(form) => self.client.post(url).form(form),
                None => self.client.get(url),
            };
            let request = match &self.cookie {
                Some(cookie) => request.header(COOKIE, [&[cookie.clone()][..], &self.known].concat().join("; ")),
                None => request,
            };
            let answer = request.send().await.unwrap();
            for set in answer.headers().get_all(SET_COOKIE) {
                let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
                let (name, value) = pair.split_once('=').unwrap();
                self.secrets.keep("cookie", value);
                if name.ends_with("countersign") { self.cookie = Some(pair) } else { self.known.push(pair) }
            }
            match answer.headers().get(LOCATION) {
                Some(location) => path = location.to_str().unwrap().to_owned(),
                None => return (path, answer.text().await.unwrap()),
            }
        }
    }

    /// Sends a page's form, and expects to be led to another.
    async fn submit(&mut self, page: &(String, String), fields: &[(&str, &str)], leads_to: &str) -> (String, String) {
        let token = all(&page.1, "input[name=csrf_token]", Some("value")).remove(0);
        let mut fields = fields.to_vec();
        fields.push(("csrf_token", &token));
        let next = self.browse(&page.0, Some(&fields)).await;
        assert_eq!(next.0, leads_to, "{}", next.1);
        next
    }

    async fn sign_in(&mut self, user_code: &str) -> (String, String) {
        let page = self.browse(&format!("/activate?user_code={user_code}"), None).await;
        let page = (String::from("/activate"), page.1);
        let page = self.submit(&page, &[("user_code", user_code)], "/activate/sign-in").await;
        let wrong = self.secrets.keep("wrong password", "nearly ada's password");
        let fields = [("email", "ada@acme.example"), ("password", wrong.as_str())];
        let page = self.submit(&page, &fields, "/activate/sign-in").await;
        let fields = [("email", "ada@acme.example"), ("password", ADA_PASSWORD)];
        self.submit(&page, &fields, "/activate/mfa").await
    }

    async fn approve(&mut self, page: &(String, String)) {
        let scopes = all(&page.1, "input[name=scope]", Some("value"));
        let mut fields: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
        fields.extend([("mine", "yes"), ("decision", "approve")]);
        self.submit(page, &fields, "/activate/done").await;
    }
}

/// The texts of the elements that a selector finds, or one of their attributes.
fn all(html: &str, selector: &str, attribute: Option<&str>) -> Vec<String> {
    let document = Html::parse_document(html);
    let selector = Selector::parse(selector).unwrap();
    document
        .select(&selector)
        .filter_map(|element| match attribute {
            Some(name) => element.value().attr(name).map(str::to_owned),
            None => Some(element.text().collect()),
        })
        .collect()
}

#[tokio::test]
async fn a_whole_run_at_trace_level_holds_none_of_its_secrets() {
    keep_log();
    // Cookies without `Secure`, which the browser here would send anyway.
    let app = App::listening(&ACME.replace("mfa = \"off\"", "mfa = \"required\"")).await;
    let mut run = Run::new(app.issuer());
    let webhook = "[[organization.webhook]]\nsecret = { env = \"HOOK_SECRET\" }\n";
    let toml = ACME.replace("mfa = \"off\"", "mfa = \"required\"");
    app.apply(&format!("{toml}{webhook}url = \"{}/activate/hook\"\n", app.issuer())).await;
    run.secrets.keep("secret of the webhook", HOOK_SECRET);
    run.secrets.keep("secret of the webhook without its beginning", HOOK_SECRET.trim_start_matches("whsec_"));
    run.secrets.keep("password", ADA_PASSWORD);
    run.secrets.keep("client secret", AGENT_SECRET);
    run.secrets.keep("client secret, form-encoded", "agent-secret-of-the-tests%2B%25%2F");
    run.secrets.keep("installation secret", secret_of_all().encode().expose());

    let (user_code, device_code) = run.ask("openid email profile offline_access run").await;
    assert_eq!(run.poll(&device_code).await.1["error"], "authorization_pending");
    let enrol = run.sign_in(&user_code).await;
    let uri = all(&enrol.1, "a[href^=otpauth]", Some("href")).remove(0);
    let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    run.secrets.keep("TOTP secret", &secret);
    let code = run.secrets.keep("TOTP code", totp::code_of(&secret, app.installation.clock.now()).unwrap());
    let recovery = run.submit(&enrol, &[("code", &code)], "/activate/mfa").await;
    let recovery_codes: Vec<String> = all(&recovery.1, "li", None)
        .into_iter()
        .map(|text| text.trim().to_owned())
        .filter(|text| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        .collect();
    assert_eq!(recovery_codes.len(), 10, "{}", recovery.1);
    for code in &recovery_codes {
        run.secrets.keep("recovery code", code);
        run.secrets.keep("recovery code, written as one", code.replace('-', ""));
    }
    let confirm = run.browse("/activate/confirm", None).await;
    run.approve(&confirm).await;
    let (status, tokens) = run.poll(&device_code).await;
    assert_eq!(status, 200, "{tokens}");
    run.keep_tokens(&tokens);

    // Somebody is told of it by a webhook that is this server itself, whose every answer is logged; and the link is opened.
    let grant: uuid::Uuid =
        sqlx::query_scalar("SELECT id FROM device_grant").fetch_one(&app.installation.pool).await.unwrap();
    let link = link::token(&app.installation.keyring, GrantId(grant)).expose().to_owned();
    run.secrets.keep("token of the link", &link);
    run.secrets.keep("token of the link without its beginning", link.trim_start_matches("csn_"));
    let page = run.browse(&format!("/activate/report?token={link}"), None).await;
    assert!(page.1.contains(&link), "{}", page.1);
    run.browse("/activate/report", Some(&[("token", &link)])).await;
    told(&app).await;

    // Again, with a recovery code; and what is wrong or comes twice.
    let (user_code, device_code) = run.ask("openid offline_access run").await;
    run.cookie = None;
    let challenge = run.sign_in(&user_code).await;
    let wrong = run.secrets.keep("wrong recovery code", "aaaa-bbbb-cccc-dddd");
    let challenge = run.submit(&challenge, &[("code", &wrong)], "/activate/mfa").await;
    let confirm = run.submit(&challenge, &[("code", &recovery_codes[0])], "/activate/confirm").await;
    run.approve(&confirm).await;
    let (status, again) = run.poll(&device_code).await;
    assert_eq!(status, 200, "{again}");
    run.keep_tokens(&again);
    assert_eq!(run.poll(&device_code).await.1["error"], "invalid_grant");
    let refresh_token = again["refresh_token"].as_str().unwrap();
    let (status, refreshed) = run.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await;
    assert_eq!(status, 200, "{refreshed}");
    run.keep_tokens(&refreshed);
    let access_token = refreshed["access_token"].as_str().unwrap();
    let userinfo = run.client.get(format!("{}/auth/userinfo", run.base)).bearer_auth(access_token).send().await;
    assert_eq!(userinfo.unwrap().status(), 200);
    let basic = run.client.post(format!("{}/auth/revoke", run.base)).basic_auth("acme-agent", Some(AGENT_SECRET));
    assert_eq!(basic.form(&[("token", access_token)]).send().await.unwrap().status(), 200);
    run.post("/auth/device/verify", &[("user_code", &user_code)]).await;
    app.installation.pool.close().await;
    run.poll(&device_code).await;
    run.browse("/activate/confirm", None).await;

    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    for everybody in ["TRACE", "hyper", "sqlx::query", "/auth/token", "/activate/mfa", "/activate/report"] {
        assert!(leak(&log, "", everybody).is_some(), "{everybody} was not logged");
    }
    let told: Vec<String> = run.secrets.0.iter().filter_map(|(what, secret)| leak(&log, what, secret)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[tokio::test]
async fn a_panic_is_one_answer_and_one_event_with_the_number_that_the_person_sees() {
    keep_log();
    let (broken, usual) = (Arc::new(AtomicBool::new(false)), Random::system());
    let out_of_order = broken.clone();
    let random = Random::from_fn(move |bytes| {
        assert!(!out_of_order.load(Ordering::SeqCst), "the-words-of-a-panic");
        for byte in bytes {
            [*byte] = usual.bytes();
        }
    });
    let parts = App::parts(database::database().await, "https://auth.acme.example");
    let app = App::of(Parts { random, ..parts }).await;
    app.apply(ACME).await;
    let ask = || app.post("/auth/device/code", &[("client_id", "acme-cli")]);
    assert_eq!(ask().await.status, 200);
    broken.store(true, Ordering::SeqCst);
    let (program, person) = (ask().await, app.get("/activate").await);
    broken.store(false, Ordering::SeqCst);
    assert_eq!((program.status.as_u16(), program.error().as_str()), (500, "server_error"), "{}", program.body);
    assert_eq!(person.status, 500);
    assert_eq!(ask().await.status, 200, "and the next request is answered");

    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    for (answer, path) in [(&program, "/auth/device/code"), (&person, "/activate")] {
        let number = answer.header("x-request-id").unwrap();
        let events =
            log.lines().filter(|line| line.contains(&format!("number=\"{number}\"")) && line.contains("a panic"));
        let events: Vec<&str> = events.collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].contains("ERROR") && events[0].contains(path) && events[0].contains(".rs:"), "{}", events[0]);
        assert!(!answer.body.contains("the-words-of-a-panic"), "{}", answer.body);
    }
    assert!(!log.contains("the-words-of-a-panic"));
    assert!(person.body.contains(person.header("x-request-id").unwrap()), "{}", person.body);
    assert_eq!(app.get("/activate").await.header("x-request-id"), None);
}

/// Waits until the webhook was told of the approval and of the report.
async fn told(app: &App) {
    for _ in 0..600 {
        let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM notice WHERE trouble IS NOT NULL")
            .fetch_one(&app.installation.pool)
            .await
            .unwrap();
        if attempts == 2 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("nobody was told");
}

/// Where a secret stands in the log, if it does.
fn leak(log: &str, what: &str, secret: &str) -> Option<String> {
    let (line, at) = log.lines().find_map(|line| Some((line, place(line, secret)?)))?;
    let around = line.get(line.floor_char_boundary(at.saturating_sub(300))..line.floor_char_boundary(at + 80))?;
    Some(format!("the log holds the {what} {secret}: …{around}"))
}

/// Where a secret stands in a line. Digits that are a part of longer ones, of how long a query took for instance, are no code.
fn place(line: &str, secret: &str) -> Option<usize> {
    let goes_on = |next: Option<char>| next.is_some_and(|c| c.is_ascii_digit() || c == '.');
    let is_a_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    line.match_indices(secret).map(|(at, _)| at).find(|at| {
        let before = line.get(..*at).and_then(|text| text.chars().next_back());
        let after = line.get(at + secret.len()..).and_then(|text| text.chars().next());
        !is_a_number || !(goes_on(before) || goes_on(after))
    })
}
