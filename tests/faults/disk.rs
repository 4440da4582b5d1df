//! A small disk of its own, which a test can fill: a tmpfs in a mount namespace that only its processes see, so that nothing is
//! left mounted whatever happens. Only root may have one.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::{Account, Running, leashed};

/// A disk of so many MiB.
pub struct Disk {
    /// Keeps the namespace.
    holder: Running,
    mounted_at: PathBuf,
}

impl Disk {
    /// Mounts one of `size` MiB at a directory that exists. `None`: this process may not.
    pub fn mount(at: &Path, size: u32, account: &Account) -> Option<Self> {
        let Account::Other { uid, gid } = account else { return None };
        if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
            return None;
        }
        let ready = at.join("mounted");
        let script = format!(
            "mount -t tmpfs -o size={size}m,mode=0700,uid={uid},gid={gid} tmpfs {0} && touch {1} && exec sleep 600",
            at.display(),
            ready.display()
        );
        let mut command = leashed("unshare", &Account::Own, "KILL");
        command.args(["--mount", "sh", "-c", &script]);
        let mut holder = Running::start(command, Signal::KILL);
        let disk = |holder| Self { holder, mounted_at: at.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(5);
        while !seen_by(&holder, &ready).exists() {
            if holder.has_ended() || Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(disk(holder))
    }

    /// The arguments that run a program where the disk is seen.
    pub fn entrance(&self) -> [String; 4] {
        let pid = self.holder.pid().as_raw_nonzero().to_string();
        ["nsenter".to_owned(), "--target".to_owned(), pid, "--mount".to_owned()]
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
    }

    /// Makes room again.
    pub fn clear(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        seen_by(&self.holder, &self.mounted_at.join("filler"))
    }
}

/// A path as this process sees it.
fn seen_by(process: &Running, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", process.pid().as_raw_nonzero()));
    root.join(path.strip_prefix("/").unwrap())
}
