//! The whole router in this process, with its own database, its own time and a directory from TOML.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use chrono::TimeDelta;
use countersign::cli::apply::{AS_WRITTEN, apply_and_audit};
use countersign::clock::Clock;
use countersign::config::PublicUrl;
use countersign::directory::apply::{File, SecretSource};
use countersign::directory::known::KnownServices;
use countersign::http::client_address::TrustedProxies;
use countersign::installation::{Installation, Parts};
use countersign::mfa::totp;
use countersign::notice::Notices;
use countersign::oauth::short_way::ShortWay;
use countersign::outbound::Outbound;
use countersign::postgres::PgPool;
use countersign::secrets::{InstallationSecret, Keyring, Passwords, Random, SecretText};
use countersign::server::{Server, Settings, housekeeping};
use countersign::session::signing_keys::SigningKeys;
use http_body_util::BodyExt as _;
use ipnet::IpNet;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use uuid::Uuid;

use super::database;

/// The organization of most tests: a public and a confidential client, password accounts, no second factor asked.
pub const ACME: &str = r#"
[[organization]]
slug = "acme"
name = "Acme"
mfa = "off"

[[organization.service]]
slug = "cli"
name = "Acme CLI"
client_id = "acme-cli"
device_login = true
scopes = { read = "Read your projects", deploy = "Deploy to production" }
default_scopes = ["read"]

[[organization.service]]
slug = "agent"
name = "Acme Agent"
client_id = "acme-agent"
client_secret = { env = "AGENT_SECRET" }
device_login = true
scopes = { run = "Run jobs" }
default_scopes = ["run"]

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.user]]
email = "ada@acme.example"
name = "Ada"
password = { env = "ADA_PASSWORD" }
"#;

/// [`ACME`], and Bob.
pub fn with_bob() -> String {
    let bob = "email = \"bob@acme.example\"\nname = \"Bob\"\npassword = { env = \"BOB_PASSWORD\" }";
    format!("{ACME}\n[[organization.user]]\n{bob}\n")
}

/// Ada's password.
pub const ADA_PASSWORD: &str = "ada's password";
/// The password of Bob, whom some tests add to [`ACME`].
pub const BOB_PASSWORD: &str = "bob's password";

/// The secret of the confidential client `acme-agent`.
pub const AGENT_SECRET: &str = "agent-secret-of-the-tests+%/";

/// What messages to webhooks are signed with.
pub const HOOK_SECRET: &str = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1mb3ItaG9va3M=";

/// The secret of the authenticators that [`App::enrol`] hands out, in base32.
pub const TOTP_SECRET: &str = "KRSXG5DTEBQXEZJAMVXGI3DFONZSA33O";

/// What the TOML files of tests mean by `{ env = … }`.
pub const SECRETS: [(&str, &str); 6] = [
    ("ADA_PASSWORD", ADA_PASSWORD),
    ("BOB_PASSWORD", BOB_PASSWORD),
    ("AGENT_SECRET", AGENT_SECRET),
    ("HOOK_SECRET", HOOK_SECRET),
    ("SSO_SECRET", "a-secret-of-the-tests-and-nobody-else"),
    ("GITHUB_SECRET", "github-secret-of-the-tests"),
];

/// An installation under test.
pub struct App {
    pub installation: Installation,
    pub signing_keys: SigningKeys,
    /// What requests say of their program that say nothing of it.
    pub user_agent: Option<&'static str>,
    pub notices: Notices,
    pub services: KnownServices,
    settings: Settings,
    router: Router,
    short_way: ShortWay<Router>,
    telemetry: Router,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// One line of the audit.
#[derive(Debug, sqlx::FromRow)]
pub struct Event {
    pub kind: String,
    pub grant_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub ip: Option<IpNet>,
    pub user_agent: Option<String>,
    pub detail: serde_json::Value,
}

impl App {
    /// With [`ACME`].
    pub async fn acme() -> Self {
        Self::with(ACME).await
    }

    /// With a directory of this TOML, at `https://auth.acme.example`.
    pub async fn with(toml: &str) -> Self {
        Self::at("https://auth.acme.example", toml).await
    }

    /// With a directory of this TOML, at this issuer.
    pub async fn at(issuer: &str, toml: &str) -> Self {
        Self::on(database::database().await, issuer, toml).await
    }

    /// On this database.
    pub async fn on(pool: PgPool, issuer: &str, toml: &str) -> Self {
        let app = Self::of(Self::parts(pool, issuer)).await;
        app.apply(toml).await;
        app
    }

    /// Another node of this installation: the same database, settings, secret and time, and nothing else in common.
    pub async fn another_node(&self) -> Self {
        let pool = PgPoolOptions::new().connect_lazy_with((*self.installation.pool.connect_options()).clone());
        let clock = self.installation.clock.clone();
        let parts = Parts { clock, ..Self::parts(pool, self.installation.public_url.issuer()) };
        Self::of_parts_and_settings(parts, self.settings.clone()).await
    }

    /// What an installation under test is made of. All have one secret.
    pub fn parts(pool: PgPool, issuer: &str) -> Parts {
        let random = Random::system();
        Parts {
            pool,
            clock: Clock::manual(Clock::system().now()),
            keyring: Keyring::new(&[secret_of_all()]).unwrap(),
            passwords: Passwords::new(random.clone(), 2),
            random,
            public_url: PublicUrl::parse(issuer).unwrap(),
            outbound: Outbound::default(),
            dev_mode: false,
        }
    }

    /// Made of these parts, with an empty directory.
    pub async fn of(parts: Parts) -> Self {
        Self::of_parts_and_settings(parts, Settings::default()).await
    }

    /// With a directory of this TOML, and with these settings but for the trusted proxies.
    pub async fn with_settings(toml: &str, settings: Settings) -> Self {
        let parts = Self::parts(database::database().await, "https://auth.acme.example");
        let app = Self::of_parts_and_settings(parts, settings).await;
        app.apply(toml).await;
        app
    }

    /// Made of these parts, with an empty directory, and with these settings but for the trusted proxies.
    pub async fn of_parts_and_settings(parts: Parts, settings: Settings) -> Self {
        let installation = Installation::from(parts);
        signing_keys(&installation).await;
        let proxies = TrustedProxies::from(vec!["10.0.0.0/8".parse().unwrap()]);
        let settings = Settings { proxies, ..settings };
        let server = Server::new(installation.clone(), settings.clone()).await.unwrap();
        let stop = CancellationToken::new();
        Self {
            installation,
            signing_keys: server.signing_keys().clone(),
            user_agent: None,
            notices: server.notices().clone(),
            services: server.services().clone(),
            settings,
            router: server.router(),
            short_way: server.short_way(Router::new().fallback(async || StatusCode::IM_A_TEAPOT)),
            telemetry: server.observation(),
            tasks: server.attend(&stop),
            stop,
        }
    }

    /// Kills what runs beside the requests.
    pub async fn kill_tasks(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Makes the directory be as this TOML says.
    pub async fn apply(&self, toml: &str) {
        let file = File::read(&[("test".to_owned(), toml.to_owned())], &secret).unwrap();
        apply_and_audit(&self.installation, &file, AS_WRITTEN).await.unwrap();
        self.services.forget();
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.installation.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Notes and deletes what is over, as a server does every 20 seconds.
    pub async fn tidy_up(&self) {
        while !housekeeping::tidy_up(&self.installation, self.settings.retention).await.unwrap() {
            // What runs beside the requests is at it.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A request to the router.
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if let Some(user_agent) = self.user_agent {
            request.headers_mut().entry(header::USER_AGENT).or_insert(user_agent.parse().unwrap());
        }
        answer_of(self.router.clone(), request).await
    }

    /// A request to what answers pending polls before the router: 418 is what it would pass on.
    pub async fn send_the_short_way(&self, request: Request<Body>) -> Answer {
        answer_of(self.short_way.clone(), request).await
    }

    /// A path of the telemetry listener, by GET.
    pub async fn observe(&self, path: &str) -> Answer {
        answer_of(self.telemetry.clone(), Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// What the metrics say of a series, named without the program's prefix; `None`: there is no such series.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.observe("/metrics").await.body;
        let series = format!("countersign_{series} ");
        metrics.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
    }

    /// A form sent to a path, as OAuth clients do.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(form_request(path, form)).await
    }

    /// A path, by GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// With a directory of this TOML on a real socket, as whose address it knows itself: `http://localhost:PORT`.
    pub async fn listening(toml: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let app = Self::at(&issuer, toml).await;
        app.serve(listener);
        app
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        self.installation.public_url.issuer()
    }

    /// The same router on a real socket, and its address. It ends with the test's runtime.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.serve(listener);
        address
    }

    /// The same router on this socket.
    pub fn serve(&self, listener: TcpListener) {
        let app = self.router.clone().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
    }

    /// How often the audit says each kind of event.
    pub async fn audit(&self) -> HashMap<String, i64> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT kind, count(*) FROM audit_event GROUP BY kind")
            .fetch_all(&self.installation.pool)
            .await
            .unwrap();
        rows.into_iter().collect()
    }

    /// The audit of logins, in the order in which it was written: what `apply` did is left out.
    pub async fn events(&self) -> Vec<Event> {
        sqlx::query_as("SELECT * FROM audit_event WHERE kind <> 'administered' ORDER BY sequence")
            .fetch_all(&self.installation.pool)
            .await
            .unwrap()
    }

    /// The code that an authenticator with this secret shows now.
    pub fn totp(&self, secret: &str) -> String {
        totp::code_of(secret, self.installation.clock.now()).unwrap()
    }

    /// Gives the person with this address an authenticator with [`TOTP_SECRET`], in every organization that has them.
    pub async fn enrol(&self, email: &str) {
        let mut conn = self.installation.pool.acquire().await.unwrap();
        let users: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM app_user WHERE email = $1")
            .bind(email)
            .fetch_all(&mut *conn)
            .await
            .unwrap();
        let (secret, now) = (totp::read_secret(TOTP_SECRET).unwrap(), self.installation.clock.now());
        for user in users {
            totp::set_factor(&mut conn, &self.installation.keyring, user.into(), &secret, 0, now).await.unwrap();
        }
    }

    /// The database as its owner has it, who may do everything.
    pub fn owner(&self) -> PgPool {
        owner_of(&self.installation.pool)
    }

    /// Lets everybody try passwords and codes as often as they like, whatever was wrong before.
    pub async fn without_delays(&self) {
        self.execute(
            "CREATE FUNCTION patience() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN NEW.not_before := NEW.counted_at; RETURN NEW; END'",
        )
        .await;
        self.execute(
            "CREATE TRIGGER patience BEFORE INSERT OR UPDATE ON attempt FOR EACH ROW EXECUTE FUNCTION patience()",
        )
        .await;
    }

    /// How many tries somebody has made and didn't get back, of whoever made most.
    pub async fn highest_level(&self) -> f64 {
        let highest = "SELECT max(level) FROM attempt";
        sqlx::query_scalar(highest).fetch_one(&self.installation.pool).await.unwrap()
    }

    /// Returns when the server has a client in memory, and hears of its changes: of those that were made before, too.
    pub async fn until_known(&self, client_id: &str) {
        loop {
            self.services.find(client_id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.services.now().current(client_id).is_some() {
                return;
            }
        }
    }

    /// Changes something behind the server's back.
    pub async fn execute(&self, sql: &'static str) {
        let owner = self.owner();
        sqlx::query(sql).execute(&owner).await.unwrap();
        owner.close().await;
        // As it does when it hears of it, a moment later than a test asks.
        self.services.forget();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer_of<S>(service: S, request: Request<Body>) -> Answer
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// The database of this pool, as its owner has it.
pub fn owner_of(pool: &PgPool) -> PgPool {
    let options = (*pool.connect_options()).clone().username("countersign");
    PgPoolOptions::new().max_connections(4).connect_lazy_with(options)
}

/// The secret of every installation under test.
pub fn secret_of_all() -> InstallationSecret {
    static SECRET: OnceLock<InstallationSecret> = OnceLock::new();
    SECRET.get_or_init(|| InstallationSecret::generate(&Random::system())).clone()
}

/// Gives an installation the signing keys of the first one: an RSA key takes longer to make than most tests to run.
async fn signing_keys(installation: &Installation) {
    static KEYS: OnceCell<serde_json::Value> = OnceCell::const_new();
    let pool = &installation.pool;
    let make = || async {
        SigningKeys::load(installation).await.unwrap();
        // Other installations' time may have begun a moment earlier, and a key of the future doesn't sign.
        let older = "UPDATE signing_key SET created_at = created_at - interval '1 minute',
                                            active_from = active_from - interval '1 minute'";
        sqlx::query(older).execute(pool).await.unwrap();
        sqlx::query_scalar("SELECT jsonb_agg(signing_key) FROM signing_key").fetch_one(pool).await.unwrap()
    };
    let keys = KEYS.get_or_init(make).await;
    let copy =
        "INSERT INTO signing_key SELECT * FROM jsonb_populate_recordset(NULL::signing_key, $1) ON CONFLICT DO NOTHING";
    sqlx::query(copy).bind(keys).execute(pool).await.unwrap();
}

/// A form as a request.
pub fn form_request(path: &str, form: &[(&str, &str)]) -> Request<Body> {
    let body = serde_urlencoded::to_string(form).unwrap();
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .unwrap()
}

fn secret(source: &SecretSource) -> Result<SecretText, String> {
    let SecretSource::Env(name) = source else { return Err("tests have no secret files".into()) };
    let known = SECRETS.iter().find(|(known, _)| known == name);
    known.map(|(_, value)| SecretText::from(*value)).ok_or_else(|| format!("no test secret {name}"))
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// A member of the JSON body, as text.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        let json = self.json();
        json[member].as_str().unwrap_or_else(|| panic!("no {member} in {json}")).to_owned()
    }

    /// The OAuth error, empty for none.
    pub fn error(&self) -> String {
        serde_json::from_str::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|json| json["error"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// What a JWT in a member of the JSON body claims. Its signature is not looked at.
    #[track_caller]
    pub fn claims(&self, member: &str) -> serde_json::Value {
        let token = self.text(member);
        let claims = countersign::secrets::from_base64url(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&claims).unwrap()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
