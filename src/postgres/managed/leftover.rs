//! What a killed process may leave behind: a server that still runs, or a `postmaster.pid` that says so wrongly.
//!
//! PostgreSQL takes any living process with the number in `postmaster.pid` for itself. After a reboot, or in a fresh
//! container, that number is often some other process's, and the server would never start again.

use std::{
    fs, io,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};
use tokio::process::Command;

use super::{
    account::SYSTEM_PATH,
    error::{Explain, ManagedError},
};

/// Longest wait for a leftover server's fast shutdown, and again for its immediate one.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Makes the way clear for a new server on `cluster`: stops the one that still runs, removes a stale lock file. The
/// caller holds the data directory's lock, so no other Countersign runs a server here.
pub(super) async fn clear(cluster: &Path) -> Result<(), ManagedError> {
    let pid_file = cluster.join("postmaster.pid");
    let text = match fs::read_to_string(&pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).explain("read", &pid_file),
    };
    match server_process(&text) {
        // PostgreSQL deals with this case best: it also looks for processes that outlived their server.
        Some(pid) if !is_alive(pid) => return Ok(()),
        Some(pid) if serves(pid, cluster).await => return stop(pid, cluster).await,
        _ => {}
    }
    tracing::warn!(file = %pid_file.display(), "removing a stale PostgreSQL lock file");
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).explain("remove", &pid_file),
        _ => Ok(()),
    }
}

/// The process number on the first line of a `postmaster.pid`.
fn server_process(text: &str) -> Option<Pid> {
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

/// Whether a process of that number exists, be it another account's.
fn is_alive(pid: Pid) -> bool {
    !matches!(rustix::process::test_kill_process(pid), Err(Errno::SRCH))
}

/// Whether that process is the server of this cluster: a `postgres` that works in its directory.
async fn serves(pid: Pid, cluster: &Path) -> bool {
    let process = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    if Path::new("/proc/self/cwd").exists() {
        // Unreadable means another account's process or a zombie's: neither is our server.
        let program = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let directory = fs::read_link(process.join("cwd")).ok();
        return ["postgres", "postmaster"].contains(&program.trim())
            && directory.is_some_and(|directory| directory == cluster);
    }
    // Without /proc: our servers carry their directory in their command line.
    let mut ps = Command::new("ps");
    ps.args(["-o", "command=", "-p", &pid.as_raw_nonzero().to_string()]).env("PATH", SYSTEM_PATH).stdin(Stdio::null());
    let Ok(output) = ps.output().await else {
        return false;
    };
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    line.contains("postgres -D") && line.contains(&*cluster.to_string_lossy())
}

/// Stops a leftover server: its fast shutdown first, which its guardian may have begun, then its immediate one.
async fn stop(pid: Pid, cluster: &Path) -> Result<(), ManagedError> {
    tracing::info!(pid = %pid.as_raw_nonzero(), "stopping the PostgreSQL of a process that was killed");
    for signal in [Signal::INT, Signal::QUIT] {
        let deadline = Instant::now() + STOP_WITHIN;
        // Not an error when it fails: the process is gone then, which the loop sees.
        let _ = rustix::process::kill_process(pid, signal);
        while Instant::now() < deadline {
            if !is_alive(pid) || !serves(pid, cluster).await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    Err(ManagedError::Stop { pid: pid.as_raw_nonzero().get().unsigned_abs(), seconds: 2 * STOP_WITHIN.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::server_process;

    #[test]
    fn only_a_positive_number_names_a_process() {
        let pid = |text| server_process(text).map(|pid| pid.as_raw_nonzero().get());
        assert_eq!(pid("4711\n/srv/countersign/postgres\n"), Some(4711));
        for text in ["", "\n", "0\n", "-4711\n", "no number\n"] {
            assert_eq!(pid(text), None, "{text:?}");
        }
    }
}
