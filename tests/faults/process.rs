//! Processes that end with the test that started them, however it ends: `setpriv` has the kernel send them a signal when the
//! thread that started them is gone.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The account that PostgreSQL runs as, which refuses to be root.
#[derive(Clone, Debug)]
pub enum Account {
    /// The test's own.
    Own,
    /// Another one, because the test is root.
    Other {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Account {
    /// Our own; root's PostgreSQL belongs to `postgres`, or else to `nobody`.
    pub fn of_postgres() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Own;
        }
        let id = |flag: &str, name: &str| -> Option<u32> {
            let said = Command::new("id").args([flag, name]).stderr(Stdio::null()).output().unwrap();
            String::from_utf8(said.stdout).unwrap().trim().parse().ok()
        };
        let of = |name| Some(Self::Other { uid: id("-u", name)?, gid: id("-g", name)? });
        of("postgres").or_else(|| of("nobody")).unwrap()
    }

    /// Makes a file or directory this account's.
    pub fn own(&self, path: &Path) {
        if let Self::Other { uid, gid } = self {
            std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).unwrap();
        }
    }

    /// The arguments with which `setpriv` becomes it.
    pub fn flags(&self) -> Vec<String> {
        match self {
            Self::Own => Vec::new(),
            Self::Other { uid, gid } => {
                vec![format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]
            }
        }
    }
}

/// A command that runs as this account, and gets `signal` when the test is gone. What it inherits of the environment is nothing:
/// whoever runs the tests may have settings of Countersign or PostgreSQL there.
pub fn leashed(program: impl AsRef<OsStr>, account: &Account, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(account.flags()).args(["--pdeathsig", signal]).arg(program.as_ref());
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Lets a command write to a file, behind what is there.
pub fn logging(command: &mut Command, log: &Path) {
    let file = File::options().create(true).append(true).open(log).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
}

/// Runs a command to its end, which must be a good one.
pub fn run(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}

/// A running process, which is killed when this is dropped.
pub struct Running {
    child: Child,
    /// What ends it at once and in order, as far as it has an order.
    last: Signal,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command, last: Signal) -> Self {
        Self { child: command.spawn().unwrap(), last }
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "process {} doesn't end", self.child.id());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // One that is suspended hears nothing else.
        let _heard = (kill_process(self.pid(), self.last), kill_process(self.pid(), Signal::CONT));
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _killed = (self.child.kill(), self.child.wait());
    }
}
