//! `docs/quickstart.md`, as a person does it: every command of it is taken from the page and run, in its order, in one place. What stands
//! in for the reader's own: a free port, and the issuer of the tests as their provider.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use countersign::mfa::totp;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::timeout;

use super::commands::{Running, countersign, directory, run};
use crate::support::oidc_provider::{self, OidcProvider, browser, sign_in};
use crate::support::{Browser, Remote, free_port};

/// A fenced block of the page.
struct Block {
    language: String,
    /// The comment in the line before.
    mark: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mark = before.trim_start_matches("<!--").trim_end_matches("-->").trim().to_owned();
            let mark = if before.starts_with("<!--") { mark } else { String::new() };
            blocks.push(Block { language: language.to_owned(), mark, text: text.join("\n") });
        }
        before = line;
    }
    blocks
}

/// Where the commands run: a home of its own, with the program in PATH.
struct Shell {
    home: PathBuf,
    place: PathBuf,
}

impl Shell {
    fn new(home: &Path) -> Self {
        let bin = home.join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_countersign"), bin.join("countersign")).unwrap();
        Self { home: home.to_owned(), place: home.to_owned() }
    }

    fn command(&self, text: &str) -> Command {
        // The environment of a command of the other tests, with another program.
        let model = countersign(&self.place, &[]);
        let mut command = Command::new("bash");
        command.args(["-euc", text]).current_dir(&self.place).stdin(Stdio::null()).kill_on_drop(true);
        for (name, value) in model.as_std().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.home.join("bin").display());
        command.env("PATH", path).env("COUNTERSIGN_KEYRING", "off").env("HOME", &self.home);
        command.env("XDG_CONFIG_HOME", self.home.join("config"));
        command
    }

    /// Runs a block to its end, and stays where it went.
    async fn run(&mut self, text: &str) -> String {
        let mut command = self.command(&format!("{text}\necho \"now in $PWD\""));
        let (code, stdout, stderr) = run(&mut command).await;
        assert_eq!(code, 0, "{text}\n{stdout}{stderr}");
        let (said, place) = stdout.trim_end().rsplit_once("now in ").unwrap();
        self.place = PathBuf::from(place);
        said.to_owned()
    }
}

/// What the reader puts in the place of what the page has.
struct Reader {
    port: u16,
    issuer: OidcProvider,
}

impl Reader {
    fn own(&self, text: &str) -> String {
        text.replace("localhost:8080", &format!("localhost:{}", self.port))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.port))
            .replace("https://sso.acme.example", self.issuer.issuer())
            .replace("the secret that you are shown", oidc_provider::CLIENT_SECRET)
    }

    fn server(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Enters the code, signs in at the issuer, sets up an authenticator and approves.
    async fn approve(&self, user_code: &str) {
        let mut person = Browser::at(&Remote::new(&self.server()));
        let page = person.enter(user_code).await;
        assert_eq!(page.path, "/activate/sign-in", "{}", page.text());
        let href = page.attribute("a[href^='/auth/sso?']", "href").unwrap();
        let away = person.open(&href).await.leads_to();
        let back = sign_in(&browser(), &away, "grace").await;
        let page = person.visit(&back).await;
        assert_eq!(page.path, "/activate/mfa", "{}", page.text());
        let secret = page.says("code.secret").concat();
        let code = totp::code_of(&secret, countersign::clock::Clock::system().now()).unwrap();
        let page = person.prove(&page, &code).await;
        assert_eq!(page.says("h1"), ["Save your recovery codes"], "{}", page.text());
        let page = person.open("/activate/confirm").await;
        let done = person.approve(&page).await;
        assert_eq!((done.status, done.path.as_str()), (StatusCode::OK, "/activate/done"), "{}", done.text());
    }
}

#[tokio::test]
async fn the_quickstart_does_what_it_says() {
    let scene = directory();
    let port = free_port();
    let callback = format!("http://localhost:{port}/auth/sso/callback");
    let reader = Reader { port, issuer: oidc_provider::start(&callback).await };
    let mut shell = Shell::new(scene.path());
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/quickstart.md")).unwrap();
    let blocks = blocks(&page);
    let (mut server, mut said, mut organization) = (None, String::new(), String::new());
    let mut ran = 0;
    for block in &blocks {
        let text = reader.own(&block.text);
        match (block.language.as_str(), block.mark.as_str()) {
            ("sh", "goes on") => {
                let mut running = Running::start(shell.command(&format!("exec {text}")));
                let link = running.says("/setup?token=csu_").await;
                assert!(link.trim().starts_with(&format!("{}/setup", reader.server())), "{link}");
                server = Some(running);
            }
            ("sh", "asks a person") => {
                let mut login = Running::start(shell.command(&text));
                let line = login.says("enter the user code: ").await;
                reader.approve(line.rsplit_once(' ').unwrap().1).await;
                login.says("Signed in. Granted: ").await;
                let status = timeout(Duration::from_mins(1), login.process.wait()).await.expect("it ends").unwrap();
                assert!(status.success());
            }
            ("sh", "") => {
                organization = if text.contains("acme.toml <<") { text.clone() } else { organization };
                said.push_str(&shell.run(&text).await);
            }
            // Another provider, in the place of the one that the file has.
            ("toml", "") => {
                let (kept, _) = organization.split_once("[[organization.provider]]").unwrap();
                let other = format!("{kept}{text}\nEND\n").replace("acme.toml", "other.toml");
                let told = shell.run(&format!("{other}countersign apply --dry-run other.toml")).await;
                let slug = text.lines().find_map(|line| line.strip_prefix("slug = ")).unwrap();
                assert!(told.contains(&format!("provider {slug}")), "{told}");
            }
            ("", "") => {
                let shown = block.text.lines().next().unwrap();
                assert!(shown.starts_with("This installation has no owner yet"), "shown and never run: {shown}");
                continue;
            }
            (language, mark) => panic!("nobody knows how to do this: {language} {mark}"),
        }
        ran += 1;
    }
    assert!(ran >= 11, "only {ran} blocks were run");
    assert!(said.contains("you@acme.example is an owner") && said.contains("otpauth://totp/"), "{said}");
    assert!(said.contains("would be created") && said.contains("were created"), "{said}");
    assert!(said.contains("grace@acme.example"), "whoami: {said}");
    let mut server = server.expect("a server was started");
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}
