//! The commands as processes: what they need, how they end, and what they say when they can't go on.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use countersign::secrets::{InstallationSecret, Random};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::app::{ACME, SECRETS, form_request};
use crate::support::{Browser, Remote, free_port};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_mins(1);

/// A directory that PostgreSQL's own account can pass through, whatever the umask.
pub fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The command in a directory, with nothing of this process's environment that it would read.
pub fn countersign(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for (variable, _) in countersign::config::process_environment() {
        if variable.starts_with("COUNTERSIGN_") {
            command.env_remove(variable);
        }
    }
    command.env("XDG_CONFIG_HOME", directory.join("config")).env("NO_PROXY", "*");
    command.envs(SECRETS);
    command
}

/// Runs a command to its end.
pub async fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = timeout(SOON, command.output()).await.expect("it ends").unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

/// A process that goes on, and a stream that it writes to.
pub struct Running<T> {
    pub process: Child,
    lines: Lines<BufReader<T>>,
}

impl Running<tokio::process::ChildStdout> {
    /// Starts a command whose standard output is piped already.
    pub fn around(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Starts a command and reads what it says on standard output.
    pub fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }
}

impl Running<tokio::process::ChildStderr> {
    /// Starts a command and reads its log.
    pub fn start_log(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, lines }
    }
}

impl<T: AsyncRead + Unpin> Running<T> {
    /// Waits for a line that holds this.
    pub async fn says(&mut self, part: &str) -> String {
        self.says_at_last(part).await.pop().unwrap()
    }

    /// Waits for a line that holds this, and returns what was said up to it.
    pub async fn says_at_last(&mut self, part: &str) -> Vec<String> {
        let find = async {
            let mut all = vec![];
            while let Some(line) = self.lines.next_line().await.unwrap() {
                all.push(line);
                if all.last().is_some_and(|line| line.contains(part)) {
                    return all;
                }
            }
            panic!("it ended without saying {part:?}: {all:#?}");
        };
        timeout(SOON, find).await.unwrap_or_else(|_| panic!("it does not say {part:?}"))
    }

    /// Everything that is still said, once it has ended.
    pub async fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            rest.push_str(&line);
        }
        rest
    }

    /// Sends a signal and waits for the end: its exit code, none when the signal ended it.
    pub async fn end(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.process.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        timeout(SOON, self.process.wait()).await.expect("it ends").unwrap().code()
    }
}

type Dev = Running<tokio::process::ChildStdout>;

/// Starts `countersign dev` and returns when it has said where it is.
async fn dev(directory: &Path) -> (Dev, String) {
    let mut running = Running::start(countersign(directory, &["dev", "--listen", "127.0.0.1:0"]));
    let line = running.says("Countersign, for development, at ").await;
    let issuer = line.rsplit_once(' ').unwrap().1.to_owned();
    (running, issuer)
}

/// Logs in with `countersign login --json`, approved as Ada, and returns its exit code and last line.
async fn log_in(directory: &Path, issuer: &str) -> (i32, Value) {
    let mut running = Running::start(countersign(directory, &["login", issuer, "--client-id", "acme-cli", "--json"]));
    let code: Value = serde_json::from_str(&running.says(r#""event":"code""#).await).unwrap();
    Browser::at(&Remote::new(issuer)).approve_code(code["user_code"].as_str().unwrap()).await;
    let done = serde_json::from_str(&running.says(r#""event":"done""#).await).unwrap();
    let status = timeout(SOON, running.process.wait()).await.expect("it ends").unwrap();
    (status.code().unwrap(), done)
}

#[tokio::test]
async fn serve_needs_nothing_but_its_environment() {
    let scene = directory();
    let (data_dir, port) = (scene.path().join("data"), free_port());
    let issuer = format!("http://localhost:{port}");
    let environment = [
        ("COUNTERSIGN_PUBLIC_URL", issuer.clone()),
        ("COUNTERSIGN_LISTEN", format!("127.0.0.1:{port}")),
        ("COUNTERSIGN_DATA_DIR", data_dir.display().to_string()),
    ];
    let mut command = countersign(scene.path(), &["serve"]);
    command.envs(environment);
    let mut server = Running::start_log(command);
    server.says("issuer=").await;

    let toml = ACME.replace("device_login = true", "device_login = true\ninterval = 1");
    fs::write(scene.path().join("acme.toml"), &toml).unwrap();
    let arguments = ["apply", "acme.toml", "--data-dir", data_dir.to_str().unwrap()];
    let (code, said, wrong) = run(&mut countersign(scene.path(), &[&arguments[..], &["--dry-run"]].concat())).await;
    assert_eq!((code, wrong.as_str()), (0, ""));
    assert!(said.contains("+ organization \"acme\"") && said.contains("would be created"), "{said}");
    let (code, said, wrong) = run(&mut countersign(scene.path(), &arguments)).await;
    assert_eq!((code, wrong.as_str()), (0, ""));
    assert!(said.contains("were created"), "{said}");
    let (code, done) = log_in(scene.path(), &issuer).await;
    assert_eq!((code, &done["scope"]), (0, &"read".into()));

    let remote = Remote::new(&issuer);
    // A lost phone, beside the running server.
    let reset = |email: &'static str, organization: &'static str| {
        let arguments = ["reset-mfa", email, "--organization", organization, "--json", "--data-dir"];
        countersign(scene.path(), &[&arguments[..], &[data_dir.to_str().unwrap()]].concat())
    };
    let (code, said, wrong) = run(&mut reset("ada@acme.example", "acme")).await;
    assert_eq!((code, wrong.as_str()), (0, ""));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["was_enrolled"], said["sessions_ended"].as_array().unwrap().len()), (&false.into(), 1));
    let (code, _, wrong) = run(&mut reset("nobody@acme.example", "acme")).await;
    assert!(code == 1 && wrong.contains("acme has nobody with the address nobody@acme.example"), "{wrong}");
    let (code, _, wrong) = run(&mut reset("ada@acme.example", "elsewhere")).await;
    assert!(code == 1 && wrong.contains("there is no organization elsewhere"), "{wrong}");

    // A forgotten password.
    fs::write(scene.path().join("new-password"), "a new one of hers\n").unwrap();
    let reset = |email: &'static str, organization: &'static str, file: &'static str| {
        let arguments =
            ["reset-password", email, "--organization", organization, "--password-file", file, "--data-dir"];
        countersign(scene.path(), &[&arguments[..], &[data_dir.to_str().unwrap()]].concat())
    };
    let (code, said, wrong) = run(&mut reset("ada@acme.example", "acme", "new-password")).await;
    assert_eq!(code, 0, "{wrong}");
    let first = said.lines().next().unwrap();
    assert_eq!(first, "ada@acme.example has another password, and is signed out everywhere: no device was signed in.");
    let more = "[[organization.user]]\nemail = \"bob@acme.example\"\n\
                [[organization.user]]\nemail = \"cay@acme.example\"\n[[organization]]\nslug = \"bare\"\n\
                [[organization.user]]\nemail = \"eve@bare.example\"\n";
    fs::write(scene.path().join("more.toml"), format!("{toml}{more}")).unwrap();
    let arguments = ["apply", "more.toml", "--data-dir", data_dir.to_str().unwrap()];
    assert_eq!(run(&mut countersign(scene.path(), &arguments)).await.0, 0);
    let (code, said, _) = run(reset("bob@acme.example", "acme", "new-password").arg("--first")).await;
    assert!(code == 0 && said.starts_with("bob@acme.example has a password, their first, and is"), "{said}");
    // The file has another one for her.
    assert_eq!(run(&mut reset("ada@acme.example", "acme", "new-password")).await.0, 0);
    let (code, said, _) = run(reset("Ada@acme.example", "acme", "new-password").arg("--json")).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["had_password"], &said["locked"]), (0, &true.into(), &false.into()));
    fs::write(scene.path().join("short"), "seven77").unwrap();
    for (email, organization, file, because) in [
        ("nobody@acme.example", "acme", "new-password", "acme has nobody with the address nobody@acme.example"),
        ("ada@acme.example", "elsewhere", "new-password", "there is no organization elsewhere"),
        ("ada@acme.example", "acme", "short", "A password has at least 8 characters."),
        ("ada@acme.example", "acme", "missing", "missing can't be read"),
        ("cay@acme.example", "acme", "new-password", "cay@acme.example has no password here"),
        ("eve@bare.example", "bare", "new-password", "bare has no provider of the kind password"),
        ("ada@acme.example", "platform", "new-password", "platform has nobody with the address ada@acme.example"),
    ] {
        let (code, said, wrong) = run(&mut reset(email, organization, file)).await;
        assert_eq!((code, said.as_str()), (1, ""));
        assert!(wrong.contains(because), "{wrong}");
    }
    let mut browser = Browser::at(&remote);
    let page = browser.open("/account/acme").await;
    let form = [("email", "ada@acme.example"), ("password", "a new one of hers")];
    assert_eq!(browser.submit(&page, "/account/acme/sign-in", &form).await.path, "/account/acme");

    // A poll that is held when the server is asked to end is answered, and nothing is left running.
    let codes = remote.post("/auth/device/code", &[("client_id", "acme-cli")]).await;
    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    let device_code = codes.text("device_code");
    let form = [("grant_type", grant_type), ("device_code", &device_code), ("client_id", "acme-cli")];
    let mut held = form_request("/auth/token", &form);
    held.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    let end = async {
        // Far more than it takes until the server has it.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.end(Signal::TERM).await
    };
    let begun = std::time::Instant::now();
    let (held, code) = tokio::join!(remote.send(held), end);
    assert_eq!((code, held.error().as_str()), (Some(0), "authorization_pending"));
    assert!(begun.elapsed() < Duration::from_secs(25), "it does not wait for the poll's time to run out");
    assert!(!data_dir.join("postgres/postmaster.pid").exists(), "PostgreSQL has ended too");
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_said() {
    let scene = directory();
    let serve = |variables: &[(&str, &str)]| {
        let mut command = countersign(scene.path(), &["serve"]);
        command.env("COUNTERSIGN_DATA_DIR", scene.path().join("data")).env("COUNTERSIGN_LISTEN", "127.0.0.1:0");
        command.envs(variables.iter().copied());
        command
    };
    let url = ("COUNTERSIGN_PUBLIC_URL", "https://auth.acme.example");
    fs::write(scene.path().join("broken.mmdb"), "half of a fi").unwrap();
    for (mut command, said) in [
        (serve(&[url, ("COUNTERSIGN_PUBLIC_ULR", "x")]), "did you mean COUNTERSIGN_PUBLIC_URL"),
        (serve(&[]), "nothing is configured"),
        (serve(&[("COUNTERSIGN_PUBLIC_URL", "http://auth.acme.example")]), "the public URL must be https://"),
        (
            serve(&[url, ("COUNTERSIGN_LISTEN", "everywhere")]),
            "COUNTERSIGN_LISTEN: listen: it must be an IP address and a port",
        ),
        (serve(&[url, ("COUNTERSIGN_CONFIG", "missing.toml")]), "missing.toml: it can't be read"),
        (
            serve(&[url, ("COUNTERSIGN_DATABASE_URL_FILE", "missing")]),
            "COUNTERSIGN_DATABASE_URL_FILE: database.url: the file can't be read",
        ),
        (
            serve(&[url, ("COUNTERSIGN_GEO_DATABASE", "places.mmdb")]),
            "geo.database can't be used: places.mmdb can't be read: ",
        ),
        (serve(&[url, ("COUNTERSIGN_GEO_DATABASE", "broken.mmdb")]), "broken.mmdb is no MaxMind database: "),
        (serve(&[url, ("COUNTERSIGN_PHISHING_WITHIN", "2d")]), "it must be between a minute (\"1m\") and a day"),
    ] {
        let (code, stdout, stderr) = run(&mut command).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.starts_with("countersign: ") && stderr.contains(said), "{stderr}");
    }
    fs::write(scene.path().join("countersign.toml"), "public_url = \"https://a.example\"\nlistem = \"x\"\n").unwrap();
    let (code, _, stderr) = run(&mut serve(&[])).await;
    assert!(code == 1 && stderr.contains("countersign.toml") && stderr.contains("listem"), "{stderr}");
    assert!(!scene.path().join("data").exists(), "nothing was begun");
}

#[tokio::test]
async fn what_everybody_can_read_or_reach_is_warned_of() {
    let scene = directory();
    let (data_dir, port) = (scene.path().join("data"), free_port());
    fs::create_dir(&data_dir).unwrap();
    let secret = InstallationSecret::generate(&Random::system()).encode();
    for (name, text, mode) in
        [("data/installation-secret", secret.expose(), 0o644), ("password", "ada's password", 0o604)]
    {
        fs::write(scene.path().join(name), text).unwrap();
        fs::set_permissions(scene.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    let environment = [
        ("COUNTERSIGN_PUBLIC_URL", format!("http://localhost:{port}")),
        ("COUNTERSIGN_LISTEN", format!("127.0.0.1:{port}")),
        ("COUNTERSIGN_DATA_DIR", data_dir.display().to_string()),
    ];
    let mut command = countersign(scene.path(), &["serve"]);
    let mut process = command.envs(environment.clone()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut server = Running { process, lines };
    let line = server.says("every account of this machine can read this file").await;
    assert!(line.contains("installation-secret") && line.contains("WARN") && !line.contains(secret.expose()), "{line}");
    server.says("ready").await;
    // An address of no machine (RFC 5737): it says so, and then that it can't listen there.
    let mut elsewhere = countersign(scene.path(), &["serve"]);
    let (code, _, said) = run(elsewhere.envs(environment).env("COUNTERSIGN_LISTEN", "192.0.2.1:8080")).await;
    assert!(code == 1 && said.contains("other machines may reach this address"), "{said}");
    assert!(said.contains("can't listen on 192.0.2.1:8080"), "{said}");

    let user = "[[organization]]\nslug = \"acme\"\n[[organization.user]]\nemail = \"ada@acme.example\"\n";
    fs::write(scene.path().join("acme.toml"), format!("{user}password = {{ file = \"password\" }}\n")).unwrap();
    let arguments = ["apply", "acme.toml", "--dry-run", "--data-dir", data_dir.to_str().unwrap()];
    let (code, _, wrong) = run(&mut countersign(scene.path(), &arguments)).await;
    assert_eq!(code, 0, "{wrong}");
    assert!(wrong.starts_with("warning: password: every account of this machine can read this file"), "{wrong}");
    fs::set_permissions(scene.path().join("password"), Permissions::from_mode(0o640)).unwrap();
    let (code, _, wrong) = run(&mut countersign(scene.path(), &arguments)).await;
    assert_eq!((code, wrong.as_str()), (0, ""));
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn what_is_wrong_with_a_directory_file_is_said() {
    let scene = directory();
    fs::write(scene.path().join("wrong.toml"), "[[organization]]\nslug = \"acme\"\nmfa = \"sometimes\"\n").unwrap();
    let (code, stdout, stderr) = run(&mut countersign(scene.path(), &["apply", "wrong.toml"])).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("wrong.toml:3") && stderr.contains("mfa"), "{stderr}");
    assert_eq!(run(&mut countersign(scene.path(), &["apply"])).await.0, 2, "no file named");
}

#[tokio::test]
async fn dev_goes_on_with_its_data_however_it_was_ended() {
    let scene = directory();
    let (mut first, issuer) = dev(scene.path()).await;
    let data_dir = scene.path().join(".countersign");
    let metadata = Remote::new(&issuer).get("/.well-known/openid-configuration").await;
    assert_eq!(metadata.text("issuer"), issuer);
    let keys = Remote::new(&issuer).get("/.well-known/jwks.json").await.json();

    // Somebody else is told who has the directory, and that the port is taken.
    let (code, _, stderr) = run(&mut countersign(scene.path(), &["dev", "--listen", "127.0.0.1:0"])).await;
    assert_eq!(code, 1);
    let pid = first.process.id().unwrap().to_string();
    assert!(stderr.contains(".countersign") && stderr.contains(&pid), "{stderr}");
    let port = issuer.rsplit_once(':').unwrap().1;
    let busy = ["dev", "--listen", &format!("127.0.0.1:{port}"), "--data-dir", "other"];
    let (code, _, stderr) = run(&mut countersign(scene.path(), &busy)).await;
    assert!(code == 1 && stderr.contains(port) && stderr.contains("--listen 127.0.0.1:PORT"), "{stderr}");
    assert!(!scene.path().join("other").exists(), "nothing was begun");

    assert_eq!(first.end(Signal::KILL).await, None);
    let (mut second, issuer) = dev(scene.path()).await;
    assert_eq!(Remote::new(&issuer).get("/.well-known/jwks.json").await.json(), keys, "the same installation");
    assert_eq!(second.end(Signal::INT).await, Some(0));
    assert!(!data_dir.join("postgres/postmaster.pid").exists(), "PostgreSQL has ended too");
    let (mut third, _) = dev(scene.path()).await;
    assert_eq!(third.end(Signal::TERM).await, Some(0));

    // Its person is known to everybody, and so it is for nobody else.
    let mut serve = countersign(scene.path(), &["serve"]);
    serve.env("COUNTERSIGN_PUBLIC_URL", "https://auth.acme.example").env("COUNTERSIGN_DATA_DIR", &data_dir);
    serve.env("COUNTERSIGN_LISTEN", "127.0.0.1:0");
    let (code, stdout, stderr) = run(&mut serve).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("demo@example.com, whose password and second factor everybody knows"), "{stderr}");
}

#[tokio::test]
async fn dev_refuses_to_be_reached_from_elsewhere() {
    let scene = directory();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        let (code, stdout, stderr) = run(&mut countersign(scene.path(), &["dev", "--listen", listen])).await;
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(stderr.contains("loopback only"), "{stderr}");
    }
    assert_eq!(fs::read_dir(scene.path()).unwrap().count(), 0, "nothing was begun");
}

#[tokio::test]
async fn dev_shows_a_whole_login() {
    let scene = directory();
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--login", "--approve"];
    let (code, stdout, stderr) = run(&mut countersign(scene.path(), &arguments)).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (_, claims) = stdout.split_once("The access token says:\n").unwrap_or_else(|| panic!("{stdout}"));
    let claims: Value = serde_json::from_str(claims).unwrap();
    assert_eq!((&claims["client_id"], &claims["email"]), (&"demo-cli".into(), &"demo@example.com".into()));
    assert_eq!(claims["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    assert!(!stdout.contains("eyJ"), "the token itself is for no screen");
}
