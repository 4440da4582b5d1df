//! `countersign token`, `whoami` and `status` as processes, with logins that are kept already.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::Clock;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::ports::free_port;
use crate::stand_in::{Reply, StandIn, error};

/// A machine on which somebody has logged in.
pub struct Machine {
    configuration: TempDir,
}

impl Machine {
    pub fn with(logins: &[Value]) -> Self {
        let configuration = tempfile::tempdir().unwrap();
        fs::create_dir(configuration.path().join("countersign")).unwrap();
        let machine = Self { configuration };
        fs::write(machine.file(), json!({ "version": 2, "logins": logins }).to_string()).unwrap();
        machine
    }

    pub fn file(&self) -> PathBuf {
        self.configuration.path().join("countersign/credentials.json")
    }

    pub fn logins(&self) -> Vec<Value> {
        let contents: Value = serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap();
        contents["logins"].as_array().unwrap().clone()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments).env_clear().env("XDG_CONFIG_HOME", self.configuration.path());
        command.env("COUNTERSIGN_KEYRING", "off").env("SSH_TTY", "/dev/pts/0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Exit code, standard output, standard error.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        told(self.command(arguments).output().await.unwrap())
    }

    pub async fn run_json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(err, "");
        (code, serde_json::from_str(&out).unwrap())
    }
}

pub fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A login of ada's whose access token `at-1` lives for so many seconds more.
pub fn login(issuer: &str, client_id: &str, seconds: i64) -> Value {
    let now = Clock::system().now();
    let claims = json!({ "sub": "u1", "email": "ada@acme.example", "org": "acme", "amr": ["pwd", "otp"] });
    json!({
        "issuer": issuer, "client_id": client_id, "subject": "u1", "account": "ada@acme.example",
        "scope": "openid read", "signed_in_at": "2026-03-01T12:00:00Z",
        "tokens": {
            "access_token": "at-1", "token_type": "Bearer", "refresh_token": "csr_1",
            "id_token": format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())),
            "obtained_at": now, "expires_at": now + chrono::TimeDelta::seconds(seconds),
        },
    })
}

/// Tokens of generation `n`, which live for so many seconds.
pub fn generation(n: u32, seconds: u32) -> Reply {
    let body = json!({
        "access_token": format!("at-{n}"), "token_type": "Bearer", "expires_in": seconds,
        "refresh_token": format!("csr_{n}"), "scope": "openid read",
    });
    Reply::Json(200, body)
}

#[tokio::test]
async fn a_valid_token_is_printed_and_nobody_is_asked() {
    let server = StandIn::start([], []).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 600)]);
    assert_eq!(machine.run(&["token"]).await, (0, "at-1\n".to_owned(), String::new()));
    let (code, told) = machine.run_json(&["token", &server.issuer, "--client-id", "acme-cli"]).await;
    assert_eq!((code, &told["access_token"], &told["token_type"]), (0, &json!("at-1"), &json!("Bearer")));
    assert_eq!((&told["issuer"], &told["scope"]), (&json!(server.issuer), &json!("openid read")));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_token_that_expires_soon_is_refreshed() {
    let server = StandIn::start([], [generation(2, 900), generation(3, 900)]).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 59)]);
    assert_eq!(machine.run(&["token"]).await, (0, "at-2\n".to_owned(), String::new()));
    assert_eq!(machine.run(&["token"]).await.1, "at-2\n");
    assert_eq!(machine.run(&["token", "--min-valid", "1000"]).await.1, "at-3\n");
    let forms: Vec<_> = server.requests().into_iter().map(|request| request.form).collect();
    assert_eq!(forms.len(), 2);
    assert_eq!(forms[0]["grant_type"], "refresh_token");
    assert_eq!(forms[0]["client_id"], "acme-cli");
    assert_eq!((forms[0]["refresh_token"].as_str(), forms[1]["refresh_token"].as_str()), ("csr_1", "csr_2"));
    let kept = &machine.logins()[0];
    assert_eq!(kept["tokens"]["refresh_token"], "csr_3");
    assert_eq!(kept["account"], "ada@acme.example");
    assert!(kept["tokens"]["id_token"].is_string(), "an id token that isn't sent again stays");
    assert_eq!(fs::metadata(machine.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn ten_processes_at_once_make_one_refresh() {
    // Even when the new token lives shorter than is asked for.
    for seconds in [900, 30] {
        let server = StandIn::start([], [Reply::Late(4000, Box::new(generation(2, seconds)))]).await;
        let machine = Machine::with(&[login(&server.issuer, "acme-cli", -10)]);
        let ten: Vec<_> = (0..10).map(|_| machine.command(&["token"]).spawn().unwrap()).collect();
        for output in join_all(ten.into_iter().map(tokio::process::Child::wait_with_output)).await {
            assert_eq!(told(output.unwrap()), (0, "at-2\n".to_owned(), String::new()));
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let server = StandIn::start([], [Reply::Hangup, generation(2, 900)]).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", -10)]);
    assert_eq!(machine.run(&["token"]).await, (0, "at-2\n".to_owned(), String::new()));
    assert!(server.requests().iter().all(|request| request.form["refresh_token"] == "csr_1"));
}

#[tokio::test]
async fn a_signal_in_the_middle_of_a_refresh_does_not_lose_the_login() {
    let server = StandIn::start([], [Reply::Late(1500, Box::new(generation(2, 900)))]).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", -10)]);
    let child = machine.command(&["token"]).spawn().unwrap();
    while server.requests().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    assert_eq!(told(child.wait_with_output().await.unwrap()), (130, String::new(), String::new()));
    assert_eq!(machine.logins()[0]["tokens"]["refresh_token"], "csr_2");
}

#[tokio::test]
async fn a_revoked_login_is_forgotten_and_said_to_have_ended() {
    let server = StandIn::start([], [error("invalid_grant"), error("invalid_grant")]).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 30)]);
    let sentence = format!(
        "Signed out. The server says: “The stand-in says so.” Log in again: countersign login {}",
        server.issuer
    );
    assert_eq!(machine.run(&["token"]).await, (7, String::new(), format!("{sentence}\n")));
    assert!(machine.logins().is_empty());
    let (code, out, err) = machine.run(&["token"]).await;
    assert_eq!((code, out.as_str()), (7, ""));
    assert_eq!(err, "Not logged in. Log in: countersign login URL\n");

    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 30)]);
    let expected = json!({ "error": "signed_out", "error_description": sentence });
    assert_eq!(machine.run_json(&["token"]).await, (7, expected));
}

#[tokio::test]
async fn without_the_server_a_living_token_will_do_and_a_dead_one_will_not() {
    let issuer = format!("http://127.0.0.1:{}", free_port());
    let machine = Machine::with(&[login(&issuer, "acme-cli", 30)]);
    assert_eq!(machine.run(&["token"]).await, (0, "at-1\n".to_owned(), String::new()));
    let machine = Machine::with(&[login(&issuer, "acme-cli", -30)]);
    let (code, out, err) = machine.run(&["token"]).await;
    assert_eq!((code, out.as_str()), (5, ""));
    assert!(err.starts_with("Can't reach http://127.0.0.1:"), "{err}");
    assert_eq!(machine.logins().len(), 1);

    let server = StandIn::start([], [error("invalid_client")]).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", -30)]);
    assert_eq!(machine.run(&["token"]).await.0, 6);
    assert_eq!(machine.logins().len(), 1, "what is wrong with the client can be put right");
}

#[tokio::test]
async fn processes_that_waited_for_a_refresh_in_vain_do_not_try_it_again() {
    let busy = || Reply::Text(503, None, String::new());
    let server = StandIn::start([], [Reply::Late(2000, Box::new(busy())), busy(), busy(), busy()]).await;
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 50)]);
    let five: Vec<_> = (0..5).map(|_| machine.command(&["token"]).spawn().unwrap()).collect();
    for output in join_all(five.into_iter().map(tokio::process::Child::wait_with_output)).await {
        assert_eq!(told(output.unwrap()), (0, "at-1\n".to_owned(), String::new()));
    }
    assert_eq!(server.requests().len(), 4, "the attempts of one process");
}

#[tokio::test]
async fn without_a_refresh_token_the_login_ends_with_the_token() {
    let mut one = login("http://127.0.0.1:1", "acme-cli", 30);
    one["tokens"]["refresh_token"] = Value::Null;
    assert_eq!(Machine::with(&[one.clone()]).run(&["token"]).await.1, "at-1\n");
    one["tokens"]["expires_at"] = json!("2026-01-01T00:00:00Z");
    let (code, _, err) = Machine::with(&[one]).run(&["token"]).await;
    assert_eq!(code, 7);
    assert!(err.ends_with("Log in again: countersign login http://127.0.0.1:1\n"), "{err}");
}

#[tokio::test]
async fn several_logins_are_told_apart() {
    let mut bob = login("https://a.example", "acme-cli", 600);
    bob["subject"] = json!("u2");
    bob["account"] = json!("bob@acme.example");
    bob["tokens"]["access_token"] = json!("bobs");
    let mut other = login("https://b.example", "acme-cli", 600);
    other["tokens"]["access_token"] = json!("others");
    let machine = Machine::with(&[login("https://a.example", "acme-cli", 600), bob, other]);
    let (code, out, err) = machine.run(&["token"]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "There are several logins. Say which one you mean:\n  \
         https://a.example --client-id acme-cli --account ada@acme.example\n  \
         https://a.example --client-id acme-cli --account bob@acme.example\n  \
         https://b.example --client-id acme-cli  (ada@acme.example)\n"
    );
    assert_eq!(machine.run(&["token", "https://b.example/"]).await.1, "others\n");
    assert_eq!(machine.run(&["token", "https://a.example", "--account", "bob@acme.example"]).await.1, "bobs\n");
    assert_eq!(machine.run(&["token", "https://a.example", "--account", "u1"]).await.1, "at-1\n");
    let (code, _, err) = machine.run(&["token", "https://c.example", "--client-id", "x"]).await;
    assert_eq!(
        (code, err.as_str()),
        (7, "Not logged in to https://c.example as x. Log in: countersign login https://c.example\n")
    );
}

#[tokio::test]
async fn whoami_asks_the_server() {
    let server = StandIn::start([], []).await;
    let claims = json!({ "sub": "u1", "email": "ada@acme.example", "name": "Ada", "org": "acme", "service": "deploy" });
    server.will_answer("/userinfo", [Reply::Json(200, claims.clone()), Reply::Json(200, claims)]);
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 600)]);
    let (code, told) = machine.run_json(&["whoami"]).await;
    assert_eq!(code, 0);
    assert_eq!((&told["account"], &told["organization"]), (&json!("ada@acme.example"), &json!("acme")));
    assert_eq!((&told["service"], &told["claims_from"]), (&json!("deploy"), &json!("userinfo")));
    assert_eq!(told["claims"]["amr"], json!(["pwd", "otp"]), "what only the id token says");
    assert_eq!((&told["refresh"], &told["problem"]), (&json!(true), &Value::Null));
    let asked = &server.requests()[0];
    assert_eq!((asked.path.as_str(), asked.authorization.as_deref()), ("/userinfo", Some("Bearer at-1")));

    let (code, out, err) = machine.run(&["whoami"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("ada@acme.example\n  name          Ada\n  organization  acme\n"), "{out}");
    assert!(out.contains("  scopes        openid read\n  signed in     2026-03-01 12:00 UTC\n"), "{out}");
    assert!(!out.contains("at-1"), "{out}");
}

#[tokio::test]
async fn whoami_notices_that_it_was_signed_out_and_tells_what_it_knows_without_a_server() {
    let server = StandIn::start([], [error("invalid_grant")]).await;
    server.will_answer("/userinfo", [Reply::Json(401, json!({ "error": "invalid_token" }))]);
    let machine = Machine::with(&[login(&server.issuer, "acme-cli", 600)]);
    let (code, told) = machine.run_json(&["whoami"]).await;
    assert_eq!((code, &told["error"]), (7, &json!("signed_out")));
    assert!(machine.logins().is_empty());

    let machine = Machine::with(&[login("http://127.0.0.1:1", "acme-cli", 600)]);
    let (code, told) = machine.run_json(&["whoami"]).await;
    assert_eq!((code, &told["claims_from"], &told["organization"]), (0, &json!("id_token"), &json!("acme")));
    assert!(told["problem"].as_str().unwrap().starts_with("Can't reach"), "{told}");
}

#[tokio::test]
async fn status_shows_every_login() {
    let mut second = login("https://b.example", "other-cli", -60);
    second["tokens"]["refresh_token"] = Value::Null;
    let machine = Machine::with(&[login("https://a.example", "acme-cli", 600), second]);
    let (code, told) = machine.run_json(&["status"]).await;
    assert_eq!(code, 0);
    let logins = told["logins"].as_array().unwrap();
    let facts =
        |login: &Value| [&login["client_id"], &login["access_token_valid"], &login["refresh"]].map(Value::clone);
    assert_eq!(facts(&logins[0]), [json!("acme-cli"), json!(true), json!(true)]);
    assert_eq!(facts(&logins[1]), [json!("other-cli"), json!(false), json!(false)]);
    assert_eq!((&logins[0]["kept_in"], &logins[0]["credentials_file"]), (&json!("file"), &json!(machine.file())));
    assert!(!told.to_string().contains("at-1") && !told.to_string().contains("csr_"), "{told}");

    let (code, out, _) = machine.run(&["status"]).await;
    assert_eq!(code, 0);
    assert!(out.starts_with("https://a.example\n  client     acme-cli\n  account    ada@acme.example\n"), "{out}");
    assert!(out.contains("\n\nhttps://b.example\n") && out.contains("  access     expired at "), "{out}");

    let nobody = Machine::with(&[]);
    assert_eq!(nobody.run_json(&["status"]).await, (7, json!({ "logins": [] })));
    assert_eq!(nobody.run(&["status"]).await.2, "Not logged in. Log in: countersign login URL\n");
}

#[tokio::test]
async fn the_exit_codes_stand_in_the_help() {
    let machine = Machine::with(&[]);
    for command in ["token", "whoami", "status", "logout"] {
        let (code, out, _) = machine.run(&[command, "--help"]).await;
        assert!(code == 0 && out.contains("Exit codes:") && out.contains("--no-keyring"), "{out}");
    }
}
