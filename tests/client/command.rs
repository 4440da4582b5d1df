//! `countersign login` as a process: its words, its JSON, its exit codes, the file it leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::stand_in::{Reply, StandIn, a_code, code_with, error, pending, tokens};

/// The command in an environment that holds nothing of the machine's but a configuration directory of its own.
fn command(configuration: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.arg("login").args(arguments).env_clear().env("XDG_CONFIG_HOME", configuration).env("USER", "ada");
    // As over SSH: neither a keyring nor a browser of the machine's has a part in this.
    command.env("COUNTERSIGN_KEYRING", "off").env("SSH_TTY", "/dev/pts/0");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(server: &StandIn, arguments: &[&str]) -> (Output, TempDir) {
    let configuration = tempfile::tempdir().unwrap();
    let arguments = [&[server.issuer.as_str()], arguments].concat();
    (command(configuration.path(), &arguments).output().await.unwrap(), configuration)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_login_in_words() {
    let polls = [pending(), error("slow_down"), tokens("read")];
    let server = StandIn::start([a_code()], polls).await;
    let (output, configuration) = run(&server, &["--scope", "read write"]).await;

    let file = configuration.path().join("countersign/credentials.json");
    // A second may have passed.
    let told = stdout(&output).replace("14:59 left", "15:00 left");
    assert_eq!(
        told,
        format!(
            "Visit http://localhost:8080/activate on any device with a browser and enter the user code: WDJB-MJHT\n\
             Waiting for authorization… 15:00 left\n\
             Signed in. Granted: read\n\
             You asked for \"read write\"; \"write\" was not granted.\n\
             The token is in {}\n",
            file.display()
        )
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));

    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let login = &kept["logins"][0];
    assert_eq!((&login["issuer"], &login["client_id"]), (&json!(server.issuer), &json!("demo-cli")));
    assert_eq!(login["tokens"]["access_token"], "the-access-token");
    assert_eq!(login["tokens"]["refresh_token"], "the-refresh-token");
    assert_eq!(login["scope"], "read");

    let requests = server.requests();
    assert_eq!(requests[0].form["client_id"], "demo-cli");
    assert_eq!(requests[0].form["scope"], "read write");
    assert!(requests[0].form["device_name"].starts_with("ada@"), "{:?}", requests[0].form);
    assert!(requests[1..].iter().all(|poll| poll.form["device_code"] == "csd_device-code"));
}

#[tokio::test]
async fn a_login_in_json() {
    let server = StandIn::start([a_code()], [pending(), tokens("read")]).await;
    let arguments = ["--json", "--client-id", "acme-cli", "--scope", "read", "--scope", "write", "--device-name", ""];
    let (output, configuration) = run(&server, &arguments).await;
    let text = stdout(&output);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            json!({
                "event": "code", "user_code": "WDJB-MJHT", "verification_uri": "http://localhost:8080/activate",
                "verification_uri_complete": "http://localhost:8080/activate?user_code=WDJB-MJHT",
                "expires_in": 900, "interval": 1,
            }),
            json!({ "event": "waiting", "expires_in": lines[1]["expires_in"] }),
            json!({
                "event": "done", "issuer": server.issuer, "client_id": "acme-cli", "scope": "read",
                "not_granted": ["write"], "token_type": "Bearer", "expires_in": 900, "kept_in": "file",
                "credentials_file": configuration.path().join("countersign/credentials.json"),
            }),
        ]
    );
    assert!(text.starts_with(r#"{"event":"code","#), "{text}");
    assert!(!text.contains("the-access-token") && !text.contains("csd_"), "{text}");
    assert_eq!(output.status.code(), Some(0));
    let asked = &server.requests()[0].form;
    assert_eq!(asked["scope"], "read write");
    assert!(!asked.contains_key("device_name"));
}

#[tokio::test]
async fn every_end_has_its_exit_code() {
    let ends = [
        (vec![a_code()], vec![error("access_denied")], 3, "access_denied"),
        (vec![a_code()], vec![error("expired_token")], 4, "expired_token"),
        (vec![a_code()], vec![Reply::Text(404, None, String::new())], 5, "not_understood"),
        (vec![Reply::Text(503, None, String::new())], vec![], 5, "unavailable"),
        (vec![error("unauthorized_client")], vec![], 6, "unauthorized_client"),
        (vec![a_code()], vec![error("invalid_grant")], 6, "invalid_grant"),
    ];
    let checks = ends.map(|(codes, polls, exit_code, name)| async move {
        let server = StandIn::start(codes, polls).await;
        let (output, configuration) = run(&server, &["--json"]).await;
        assert_eq!(output.status.code(), Some(exit_code), "{name}: {}", stdout(&output));
        let last: Value = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
        assert_eq!((&last["event"], &last["error"]), (&json!("error"), &json!(name)));
        assert!(!configuration.path().join("countersign/credentials.json").exists());
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn an_expired_code_is_followed_by_a_new_one() {
    let codes = [a_code(), code_with(json!({ "user_code": "BCDF-GHJK" }))];
    let server = StandIn::start(codes, [error("expired_token"), tokens("read")]).await;
    let (output, _configuration) = run(&server, &["--max-codes", "2"]).await;
    let text = stdout(&output);
    let codes: Vec<_> = text.lines().filter_map(|line| line.split("user code: ").nth(1)).collect();
    assert_eq!(codes, ["WDJB-MJHT", "BCDF-GHJK"]);
    assert_eq!(stderr(&output), "That code has expired. Here is a new one.\n");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn wrong_usage_is_told_before_anything_is_asked() {
    let configuration = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["https://login.acme.example"][..], "--client-id is required"),
        (&["localhost:8080"], "say it with http:// or https://"),
        (&["http://login.acme.example", "--client-id", "acme-cli"], "not protected by https"),
        (&[], "<URL>"),
    ] {
        let output = command(configuration.path(), arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
    let help = command(configuration.path(), &["--help"]).output().await.unwrap();
    assert!(stdout(&help).contains("Exit codes:"), "{}", stdout(&help));
}

#[tokio::test]
async fn a_place_that_cannot_hold_the_tokens_is_told_before_anybody_approves() {
    let server = StandIn::start([], []).await;
    let configuration = tempfile::tempdir().unwrap();
    fs::create_dir(configuration.path().join("countersign")).unwrap();
    fs::write(configuration.path().join("countersign/credentials.json"), "something else").unwrap();
    let output = command(configuration.path(), &[&server.issuer]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("move it away"), "{}", stderr(&output));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn ctrl_c_ends_it_with_one_line() {
    let server = StandIn::start([code_with(json!({ "interval": 60 }))], []).await;
    let configuration = tempfile::tempdir().unwrap();
    let mut child =
        command(configuration.path(), &[&server.issuer]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().starts_with("Waiting for authorization…") {}
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(stderr(&output), "Interrupted. Nobody is signed in.\n");
    assert_eq!(output.status.code(), Some(130));
}

#[tokio::test]
async fn on_a_desktop_it_says_what_device_login_is_for() {
    for (variable, value, said) in
        [("DISPLAY", ":0", true), ("WAYLAND_DISPLAY", "wayland-0", true), ("SSH_TTY", "/dev/pts/0", false)]
    {
        let server = StandIn::start([error("invalid_client")], []).await;
        let configuration = tempfile::tempdir().unwrap();
        let mut command = command(configuration.path(), &[&server.issuer]);
        let output = command.env_remove("SSH_TTY").env("DISPLAY", "").env(variable, value).output().await.unwrap();
        let lines = stderr(&output).lines().filter(|line| line.contains("a browser of its own")).count();
        let said = said || (cfg!(target_os = "macos") && variable != "SSH_TTY");
        assert_eq!(lines, usize::from(said), "{variable}: {}", stderr(&output));
    }
}
