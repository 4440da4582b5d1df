//! Administration from a terminal: the program itself, against a server on a real socket.

mod failures;
mod files;
mod history;
mod outward;
mod people;
mod platform;
mod services;
mod shells;

use std::path::Path;

use countersign::clock::Clock;
use countersign::installation::Parts;
use countersign::outbound::Outbound;
use countersign::server::Settings;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::directory_of_all;
use crate::flows::commands::{countersign, run};
use crate::support::app::ADA_PASSWORD;
use crate::support::database::database;
use crate::support::{App, Browser, Terminal};

/// Somebody at a machine of theirs, and the server that they administer.
struct Person<'a> {
    app: &'a App,
    home: TempDir,
}

impl<'a> Person<'a> {
    fn new(app: &'a App) -> Self {
        Self { app, home: tempfile::tempdir().unwrap() }
    }

    /// Logs in to administer an organization, approving it in a browser as somebody of that organization.
    async fn logged_in(app: &'a App, email: &str) -> Self {
        let person = Self::new(app);
        let organization = email.split_once('@').unwrap().1.strip_suffix(".example").unwrap();
        let arguments: &[&str] = if organization == "platform" { &[] } else { &["--org", organization] };
        person.log_in(email, arguments).await;
        person
    }

    async fn log_in(&self, email: &str, arguments: &[&str]) -> String {
        let arguments = [&["login", self.app.issuer(), "--admin", "--no-qr"], arguments].concat();
        let terminal = self.at_terminal(&arguments, 200);
        let shown = terminal.shows("Waiting").await;
        let (_, code) = shown.split_once("user code: ").unwrap();
        let mut browser = Browser::new(self.app);
        let page = browser.enter(code.lines().next().unwrap().trim()).await;
        let confirm = browser.sign_in(&page, email, ADA_PASSWORD).await;
        let done = browser.approve(&confirm).await;
        assert_eq!(done.path, "/activate/done", "{}", done.html);
        let (code, shown) = terminal.ends().await;
        assert_eq!(code, 0, "{shown}");
        shown
    }

    fn command(&self, arguments: &[&str]) -> Command {
        command(self.home.path(), arguments)
    }

    /// In front of a person.
    fn at_terminal(&self, arguments: &[&str], columns: u16) -> Terminal {
        Terminal::start(self.command(arguments), columns)
    }

    /// In a script: exit code, output, errors. The server's address is left out of them.
    async fn runs(&self, arguments: &[&str]) -> (i32, String, String) {
        let (code, out, err) = run(&mut self.command(arguments)).await;
        let named = |text: String| text.replace(self.app.issuer(), "SERVER");
        (code, named(out), named(err))
    }

    /// In a script, and it goes well: what it prints.
    async fn does(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.runs(arguments).await;
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
        out
    }

    /// What `--json` prints.
    async fn reads(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.does(&[arguments, &["--json"]].concat()).await).unwrap()
    }
}

/// The program, with a home of its own and nothing else of this machine.
fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = countersign(home, arguments);
    command.env("COUNTERSIGN_KEYRING", "off").env("SSH_TTY", "/dev/pts/0").env("USER", "ada").env_remove("NO_COLOR");
    command
}

async fn app() -> App {
    app_with(Settings::default()).await
}

/// The same with these settings.
async fn app_with(settings: Settings) -> App {
    listening(settings, Outbound::default()).await
}

async fn listening(settings: Settings, outbound: Outbound) -> App {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let parts = Parts { outbound, ..by_the_clock(App::parts(database().await, &issuer)) };
    let app = App::of_parts_and_settings(parts, settings).await;
    app.apply(&directory_of_all()).await;
    app.serve(listener);
    app
}

/// With a clock that goes on, as the program's own does: to one that stands still its proofs would soon be of the future
/// (RFC 9449 §11.1).
fn by_the_clock(parts: Parts) -> Parts {
    Parts { clock: Clock::system(), ..parts }
}

/// What differs from run to run, left out: ids and times.
fn steady(text: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let word = |word: &str| if is_id(word) { "ID".to_owned() } else { word.to_owned() };
    let line = |line: &str| {
        let line = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
        match line.split_once(" UTC") {
            // `2026-03-01 14:05` is before it.
            Some((before, after)) => {
                let kept = before.chars().count() - 16;
                format!("{}TIME{after}", before.chars().take(kept).collect::<String>())
            }
            None => line,
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}
