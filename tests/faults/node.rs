//! A server process: `countersign serve`, on a port of its own, with the database behind the proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::{Account, Running, leashed, logging};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// How long a start may take, migrations included.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// One server. Started and stopped by the test's own thread, spoken to by everybody.
pub struct Node {
    /// Which one, from 0.
    pub number: usize,
    /// Where it answers.
    pub url: String,
    configuration: PathBuf,
    log: PathBuf,
    process: Mutex<Option<Running>>,
    history: Mutex<History>,
}

/// What was done to a server.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// How often it was killed, and started again.
    turns: u32,
    killed: bool,
    /// How often it was suspended, and went on.
    pauses: u32,
    suspended: bool,
    /// Since when nothing is wrong with it.
    pub sound_since: Instant,
}

impl History {
    /// Whether a request that was sent at this moment may be lost, when this is the history now.
    pub fn excuses_loss(self, now: Self) -> bool {
        self.killed || now.killed || self.turns != now.turns
    }

    /// Whether it may take long.
    pub fn excuses_delay(self, now: Self) -> bool {
        self.excuses_loss(now) || self.suspended || now.suspended || self.pauses != now.pauses
    }
}

impl Node {
    /// Starts a server with this configuration, and waits until it answers.
    pub fn start(number: usize, port: u16, scene: &Path, configuration: &str) -> Self {
        let path = scene.join(format!("node-{number}.toml"));
        fs::write(&path, configuration).unwrap();
        let history = History { turns: 0, killed: false, pauses: 0, suspended: false, sound_since: Instant::now() };
        let node = Self {
            number,
            url: format!("http://127.0.0.1:{port}"),
            configuration: path,
            log: scene.join(format!("node-{number}.log")),
            process: Mutex::default(),
            history: Mutex::new(history),
        };
        node.spawn();
        node
    }

    /// Waits until it answers, as servers do that are started side by side.
    pub async fn ready(&self) {
        let deadline = Instant::now() + STARTS_WITHIN;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        let metadata = format!("{}/.well-known/oauth-authorization-server", self.url);
        while !client.get(&metadata).send().await.is_ok_and(|answer| answer.status().is_success()) {
            let over = self.process.lock().unwrap().as_mut().is_none_or(Running::has_ended);
            assert!(!over && Instant::now() < deadline, "server {} doesn't start: {}", self.number, self.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    fn spawn(&self) {
        let mut command = leashed(PROGRAM, &Account::Own, "KILL");
        command.arg("serve").arg("--config").arg(&self.configuration);
        logging(&mut command, &self.log);
        *self.process.lock().unwrap() = Some(Running::start(command, Signal::TERM));
    }

    /// Kills it outright.
    pub fn kill(&self) {
        self.note(|history| history.killed = true);
        let mut process = self.process.lock().unwrap().take().unwrap();
        process.signal(Signal::KILL);
        process.wait(STARTS_WITHIN);
    }

    /// Starts it again.
    pub async fn start_again(&self) {
        self.spawn();
        self.ready().await;
        self.note(|history| {
            history.killed = false;
            history.turns += 1;
        });
    }

    /// Suspends it: its connections stay, and nothing comes of what is sent there.
    pub fn suspend(&self) {
        self.note(|history| history.suspended = true);
        self.process.lock().unwrap().as_ref().unwrap().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.lock().unwrap().as_ref().unwrap().signal(Signal::CONT);
        self.note(|history| {
            history.suspended = false;
            history.pauses += 1;
        });
    }

    /// What was done to it.
    pub fn history(&self) -> History {
        *self.history.lock().unwrap()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn note(&self, what: impl FnOnce(&mut History)) {
        let mut history = self.history.lock().unwrap();
        what(&mut history);
        history.sound_since = Instant::now();
    }
}
