//! An installation with everything in it: a server with its own PostgreSQL behind TLS, a mail server, an issuer at which
//! people sign in, and a program that is told of approvals.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::front::{Ca, Front};
use super::ports::free_port;

const SOON: Duration = Duration::from_mins(2);

pub const HOOK_SECRET: &str = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1mb3ItaG9va3M=";

pub struct Scene {
    pub directory: TempDir,
    pub ca: Ca,
    pub front: Front,
    pub hook: Front,
    pub issuer: Issuer,
    pub mail: MailServer,
    pub telemetry: u16,
    pub listen: u16,
    pub server: Child,
}

/// What the doctor said.
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Scene {
    /// Starts it all, and waits until the server is ready.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // PostgreSQL's own account has to pass.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let ca = Ca::write(&directory.path().join("ca.pem"));
        let [listen, telemetry] = [free_port(), free_port()];
        let front = Front::start(&ca, listen).await;
        let (hook, issuer, mail) = (Front::start(&ca, listen).await, Issuer::start().await, MailServer::start().await);
        let toml = format!(
            r#"
public_url = "https://localhost:{}"
listen = "127.0.0.1:{listen}"
data_dir = "{}"
trusted_proxies = ["127.0.0.1/32"]
telemetry.listen = "127.0.0.1:{telemetry}"
mail.smtp = "smtp://127.0.0.1:{}"
mail.from = "Acme sign-in <login@acme.example>"
"#,
            front.port,
            directory.path().join("data").display(),
            mail.port,
        );
        let acme = format!(
            r#"
[[organization]]
slug = "acme"
[[organization.provider]]
slug = "sso"
kind = "oidc"
issuer = "{}"
client_id = "countersign"
client_secret = {{ env = "SSO_SECRET" }}
[[organization.provider]]
slug = "password"
kind = "password"
[[organization.webhook]]
url = "https://localhost:{}/not-to-be-told"
secret = {{ env = "HOOK_SECRET" }}
"#,
            issuer.url(),
            hook.port,
        );
        for (name, text) in [("countersign.toml", toml), ("acme.toml", acme)] {
            fs::write(directory.path().join(name), text).unwrap();
            fs::set_permissions(directory.path().join(name), Permissions::from_mode(0o600)).unwrap();
        }
        let server = Self::serve(&directory).await;
        let scene = Self { directory, ca, front, hook, issuer, mail, telemetry, listen, server };
        let (code, told) = scene.run(&["apply", "acme.toml"], &[]).await;
        assert_eq!(code, 0, "{told}");
        scene
    }

    async fn serve(directory: &TempDir) -> Child {
        let mut command = command(directory, &["serve"]);
        let mut server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let ready = async {
            let mut told = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                let ready = line.contains("issuer=");
                told.push(line);
                if ready {
                    return;
                }
            }
            panic!("the server ended: {told:#?}");
        };
        timeout(SOON, ready).await.expect("the server starts");
        // What it says later is not read, and must not make it wait.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        server
    }

    /// Ends the server, and with it its PostgreSQL.
    pub async fn stop_server(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.server.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        timeout(SOON, self.server.wait()).await.expect("it ends").unwrap();
    }

    async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        let mut command = command(&self.directory, arguments);
        command.envs(environment.iter().copied());
        let Output { status, stdout, stderr } = timeout(SOON, command.output()).await.expect("it ends").unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        (status.code().unwrap(), stdout + &stderr)
    }

    /// Has a file with this text applied.
    pub async fn apply(&self, text: &str) -> (i32, String) {
        fs::write(self.directory.path().join("more.toml"), text).unwrap();
        self.run(&["apply", "more.toml"], &[]).await
    }

    /// Has the doctor look, with these variables besides.
    pub async fn doctor_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let (code, text) = self.run(&[&["doctor"], arguments].concat(), environment).await;
        for secret in [HOOK_SECRET, "a-secret-of-the-tests", "not-to-be-told", "hunter2"] {
            assert!(!text.contains(secret), "{text}");
        }
        Said { code, text: self.without_places(&text) }
    }

    pub async fn doctor(&self) -> Said {
        self.doctor_with(&[], &[]).await
    }

    /// Ports and directories are others each time.
    fn without_places(&self, text: &str) -> String {
        let mut text = text.replace(&self.directory.path().display().to_string(), "…");
        let ports = [
            (self.front.port, "FRONT"),
            (self.hook.port, "HOOK"),
            (self.issuer.port, "SSO"),
            (self.telemetry, "TELEMETRY"),
            (self.listen, "LISTEN"),
        ];
        for (port, name) in ports {
            text = text.replace(&port.to_string(), name);
        }
        text
    }

    /// The owner's connection to the managed PostgreSQL.
    pub async fn owner(&self) -> sqlx::PgConnection {
        let url = fs::read_to_string(self.directory.path().join("data/database-url")).unwrap();
        <sqlx::PgConnection as sqlx::Connection>::connect(url.trim()).await.unwrap()
    }
}

fn command(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(directory.path()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for (variable, _) in countersign::config::process_environment() {
        if variable.starts_with("COUNTERSIGN_") || variable.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(variable);
        }
    }
    command.env("SSL_CERT_FILE", directory.path().join("ca.pem"));
    command.env("SSO_SECRET", "a-secret-of-the-tests-and-nobody-else").env("HOOK_SECRET", HOOK_SECRET);
    command
}

impl Said {
    /// What was said of this check, with what is to be done.
    #[track_caller]
    pub fn of(&self, check: &str) -> String {
        let mut lines = self.text.lines().skip_while(|line| !line.get(9..).is_some_and(|rest| rest.starts_with(check)));
        let first = lines.next().unwrap_or_else(|| panic!("nothing of {check}: {}", self.text));
        let mend = lines.next().filter(|line| line.starts_with("         →"));
        std::iter::once(first).chain(mend).collect::<Vec<_>>().join("\n")
    }
}

/// An issuer that publishes what it is told to.
pub struct Issuer {
    pub port: u16,
    answers: Arc<Mutex<(StatusCode, Value)>>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(Mutex::new((StatusCode::OK, metadata(&format!("http://127.0.0.1:{port}"), port))));
        let keys = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "alg": "ES256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }] });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(published))
            .route("/jwks", get(move || std::future::ready(axum::Json(keys.clone()))))
            .with_state(answers.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, answers }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// It answers with this status.
    pub fn answers(&self, status: StatusCode) {
        self.answers.lock().unwrap().0 = status;
    }

    /// It calls itself so.
    pub fn is_called(&self, issuer: &str) {
        self.answers.lock().unwrap().1 = metadata(issuer, self.port);
    }
}

async fn published(State(answers): State<Arc<Mutex<(StatusCode, Value)>>>) -> (StatusCode, axum::Json<Value>) {
    let (status, json) = answers.lock().unwrap().clone();
    (status, axum::Json(json))
}

fn metadata(issuer: &str, port: u16) -> Value {
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    json!({
        "issuer": issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// A mail server that wants a login, or none, and notes what it was told.
pub struct MailServer {
    pub port: u16,
    pub told: Arc<Mutex<Vec<String>>>,
    pub refuses_logins: Arc<Mutex<bool>>,
}

impl MailServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, told: Arc::default(), refuses_logins: Arc::default() };
        let (told, refuses) = (server.told.clone(), server.refuses_logins.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, refuses) = (told.clone(), *refuses.lock().unwrap());
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    write.write_all(b"220 mail.acme.example ESMTP\r\n").await.unwrap();
                    let mut in_data = false;
                    while let Ok(Some(line)) = lines.next_line().await {
                        told.lock().unwrap().push(line.clone());
                        let answer = match line.split(' ').next().unwrap_or_default() {
                            "." => {
                                in_data = false;
                                "250 kept"
                            }
                            _ if in_data => continue,
                            "EHLO" => "250-mail.acme.example\r\n250 AUTH PLAIN",
                            "AUTH" if refuses => "535 not you",
                            "AUTH" => "235 welcome",
                            "DATA" => {
                                in_data = true;
                                "354 go on"
                            }
                            "QUIT" => "221 bye",
                            _ => "250 fine",
                        };
                        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }
}
