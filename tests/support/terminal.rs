//! A person's terminal: a pseudo-terminal, in which a command runs as it does in front of somebody.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Far above what anything here takes, on a machine with much else to do.
const SOON: Duration = Duration::from_mins(1);

/// A command in a terminal.
pub struct Terminal {
    process: Child,
    master: File,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    /// Starts it in a terminal of this width.
    pub fn start(mut command: Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = std::ffi::OsStr::from_bytes(name.as_bytes());
        let no_tty = i32::try_from(OpenptFlags::NOCTTY.bits()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(no_tty).open(name).unwrap();
        let [stdin, stdout] = [(); 2].map(|()| slave.try_clone().unwrap());
        command.stdin(stdin).stdout(stdout).stderr(slave).env("TERM", "xterm");
        let process = command.spawn().unwrap();
        // It holds this end of the terminal, too, and would keep it open.
        drop(command);
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::spawn({
            let (mut from, into) = (master.try_clone().unwrap(), shown.clone());
            move || {
                let mut buffer = [0; 4096];
                // EIO: nobody has the other end any more.
                while let Ok(read @ 1..) = from.read(&mut buffer) {
                    into.lock().unwrap().extend_from_slice(&buffer[..read]);
                }
            }
        });
        Self { process, master, shown, reader: Some(reader) }
    }

    /// What has been shown so far, with the line ends of files.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Waits until it shows this.
    pub async fn shows(&self, part: &str) -> String {
        let wait = async {
            while !self.shown().contains(part) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(SOON, wait).await;
        assert!(waited.is_ok(), "it never shows {part:?}: {}", self.shown());
        self.shown()
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Presses Ctrl-C, as far as a terminal without a session of its own can: the signal.
    pub fn interrupts(&self) {
        let id = i32::try_from(self.process.id().unwrap()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    }

    /// Waits for the command's end: its exit code, and all that was shown.
    pub async fn ends(mut self) -> (i32, String) {
        let status = timeout(SOON, self.process.wait()).await.expect("it ends").unwrap();
        let reader = self.reader.take().unwrap();
        tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
        (status.code().unwrap(), self.shown())
    }
}
