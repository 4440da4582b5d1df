//! `countersign setup`, and the link that `countersign serve` prints, as processes.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use countersign::clock::Clock;
use countersign::mfa::totp;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::commands::{Running, countersign, directory, run};
use crate::support::{Browser, Page, Remote, free_port};

const EMAIL: &str = "grace@acme.example";
const PASSWORD: &str = "correct horse battery";

/// A configuration in a directory, which stays where it is.
struct Scene {
    directory: TempDir,
    issuer: String,
}

impl Scene {
    fn new() -> Self {
        let (directory, port) = (directory(), free_port());
        let issuer = format!("http://localhost:{port}");
        let toml = format!(
            "public_url = \"{issuer}\"\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n[log]\nfilter = \"trace\"\n"
        );
        fs::write(directory.path().join("countersign.toml"), toml).unwrap();
        fs::write(directory.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self { directory, issuer }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        countersign(self.path(), arguments)
    }

    /// `countersign setup` with the password in its file.
    async fn setup(&self, more: &[&str]) -> (i32, String, String) {
        run(&mut self.command(&[&["setup", "--email", EMAIL, "--password-file", "password"][..], more].concat())).await
    }

    /// A server whose log goes to a file.
    fn serve(&self) -> Running<tokio::process::ChildStdout> {
        let log = File::options().create(true).append(true).open(self.path().join("log")).unwrap();
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::piped()).stderr(log);
        Running::around(command)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    async fn until_ready(&self, times: usize) {
        for _ in 0..600 {
            if self.log().matches("ready listen=").count() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it does not get ready: {}", self.log());
    }
}

async fn send(browser: &mut Browser<'_>, page: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
    let carried: Vec<(&str, String)> =
        ["token", "candidate"].into_iter().filter_map(|name| Some((name, page.field(name)?))).collect();
    let carried: Vec<(&str, &str)> = carried.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.submit(page, path, &[fields, &carried[..]].concat()).await
}

fn code(secret: &str) -> String {
    totp::code_of(secret, Clock::system().now()).unwrap()
}

#[tokio::test]
async fn serve_prints_a_link_until_somebody_is_the_owner_and_logs_nothing_of_it() {
    let scene = Scene::new();
    let mut first = scene.serve();
    let link = first.says("/setup?token=").await.trim().to_owned();
    assert_eq!(first.end(Signal::TERM).await, Some(0));
    let mut second = scene.serve();
    let newer = second.says("/setup?token=").await.trim().to_owned();
    let mut browser = Browser::at(&Remote::new(&scene.issuer));
    let path = |link: &str| link.strip_prefix(&scene.issuer).unwrap().to_owned();
    let old = browser.open(&path(&link)).await;
    assert_eq!(old.says("h1"), ["There is a newer setup link"]);
    let page = browser.open(&path(&newer)).await;
    let form = [("email", EMAIL), ("password", PASSWORD), ("password_again", PASSWORD)];
    let page = send(&mut browser, &page, "/setup", &form).await;
    let secret = page.says("code.secret").concat();
    let page = send(&mut browser, &page, "/setup/authenticator", &[("code", &code(&secret))]).await;
    assert_eq!(page.says("h1"), ["Save your recovery codes"], "{}", page.text());
    let recovery = page.says("ol.codes code");
    assert_eq!(second.end(Signal::TERM).await, Some(0));

    let mut third = scene.serve();
    scene.until_ready(3).await;
    assert_eq!(third.end(Signal::TERM).await, Some(0));
    assert_eq!(third.rest().await, "", "there is an owner: nothing is printed");
    let log = scene.log();
    assert!(log.contains("/setup/authenticator"), "at trace level everything is logged");
    for secret in [&link, &newer] {
        let token = secret.rsplit_once("csu_").unwrap().1;
        assert!(!log.contains(token), "the log holds a token");
    }
    for secret in [PASSWORD, &secret, &recovery[0]] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
}

#[tokio::test]
async fn setup_makes_an_owner_without_a_browser_and_one_only() {
    let scene = Scene::new();
    // What is wrong is told before anything is begun.
    for (wrong, told) in [
        (&["setup", "--email", "grace", "--password-file", "password"][..], "is no e-mail address"),
        (&["setup", "--email", EMAIL][..], "say --password-file FILE"),
        (&["setup", "--email", EMAIL, "--password-file", "nowhere"][..], "nowhere can't be read"),
        (
            &["setup", "--email", EMAIL, "--password-file", "password", "--totp-secret-file", "password"][..],
            "holds no key of 128 bits",
        ),
    ] {
        let (code, stdout, stderr) = run(&mut scene.command(wrong)).await;
        assert!(code == 1 && stdout.is_empty() && stderr.contains(told), "{stderr}");
    }
    fs::write(scene.path().join("short"), "seven77").unwrap();
    let short = ["setup", "--email", EMAIL, "--password-file", "short"];
    let (code, _, stderr) = run(&mut scene.command(&short)).await;
    assert!(code == 1 && stderr.contains("at least 8 characters") && !stderr.contains("seven77"), "{stderr}");
    assert!(!scene.path().join("data").exists(), "nothing was begun");

    let mut server = scene.serve();
    let link = server.says("/setup?token=").await.trim().to_owned();
    let (code, stdout, stderr) = scene.setup(&["--name", "Grace", "--json"]).await;
    assert_eq!(code, 0, "{stderr}");
    let made: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((made["organization"].as_str(), made["email"].as_str()), (Some("platform"), Some(EMAIL)));
    assert_eq!(made["recovery_codes"].as_array().unwrap().len(), 10);
    let uri = url::Url::parse(made["otpauth_uri"].as_str().unwrap()).unwrap();
    let secret = uri.query_pairs().find(|(name, _)| name == "secret").unwrap().1.into_owned();

    // They are the owner: the link is over, and they sign in.
    let mut browser = Browser::at(&Remote::new(&scene.issuer));
    let over = browser.open(link.strip_prefix(&scene.issuer).unwrap()).await;
    assert_eq!(over.says("h1"), ["This server is set up already"]);
    let page = browser.open("/account/platform").await;
    let fields = [("email", EMAIL), ("password", PASSWORD)];
    let page = browser.submit(&page, "/account/platform/sign-in", &fields).await;
    let page = browser.submit(&page, "/account/platform/mfa", &[("code", &self::code(&secret))]).await;
    assert_eq!(page.path, "/account/platform", "{}", page.text());

    let (code, stdout, stderr) = scene.setup(&[]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("has an owner already") && stderr.contains("--another"), "{stderr}");
    let (code, _, stderr) = scene.setup(&["--another"]).await;
    assert!(code == 1 && stderr.contains("somebody with the address") && stderr.contains("reset-mfa"), "{stderr}");
    // One more, with an authenticator that is there already and a password from standard input.
    fs::write(scene.path().join("key"), "KRSXG5DTEBQXEZJAMVXGI3DFONZSA33O\n").unwrap();
    let more =
        ["setup", "--another", "--email", "Hopper@Acme.Example", "--password-file", "-", "--totp-secret-file", "key"];
    let mut command = scene.command(&more);
    command.stdin(File::open(scene.path().join("password")).unwrap());
    let (code, stdout, stderr) = run(&mut command).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("hopper@acme.example is an owner") && !stdout.contains("otpauth"), "{stdout}");
    assert!(!stdout.contains("KRSXG5DT"), "what was theirs already is not printed");
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

/// A person at a terminal, which is util-linux's `script`.
#[tokio::test]
async fn a_terminal_is_asked_for_the_password_twice_and_shows_none_of_it() {
    let scene = Scene::new();
    let setup = format!("{} setup --email {EMAIL}", env!("CARGO_BIN_EXE_countersign"));
    for (answers, code, told) in [
        ([PASSWORD, "correct horse battering"], 1, "the two are not the same; nothing was done"),
        ([PASSWORD, PASSWORD], 0, "grace@acme.example is an owner of this installation."),
    ] {
        let mut command = Command::new("script");
        command.args(["-qfec", &setup, "/dev/null"]).current_dir(scene.path()).kill_on_drop(true);
        let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
        let conversation = async {
            let mut shown = String::new();
            for (prompt, answer) in ["Password of the new owner: ", "Once more: "].into_iter().zip(answers) {
                while !shown.ends_with(prompt) {
                    shown.push(char::from(screen.read_u8().await.unwrap()));
                }
                keys.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
            let mut rest = Vec::new();
            screen.read_to_end(&mut rest).await.unwrap();
            shown + &String::from_utf8(rest).unwrap()
        };
        let shown = timeout(Duration::from_mins(1), conversation).await.expect("it asks");
        assert_eq!(terminal.wait().await.unwrap().code(), Some(code), "{shown}");
        assert!(shown.contains(told), "{shown}");
        assert!(answers.iter().all(|answer| !shown.contains(answer)), "{shown}");
    }
}
