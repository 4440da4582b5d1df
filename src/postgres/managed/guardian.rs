//! The guardian: a shell process between us and PostgreSQL that stops it when we are gone.
//!
//! A process that is killed outright cannot clean up after itself. What the kernel always does is close its files. So
//! the guardian reads a pipe that only we hold; end of file means that we stopped the server on purpose, or that we
//! are dead. As the server's parent it can also signal it without ever meeting another process of the same number.
//!
//! Guardian and server form a process group of their own: Ctrl-C in the terminal reaches us alone, and we drain first.

use std::{
    fs::File,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, ChildStdin};

use super::{
    account::Account,
    error::{Explain, ManagedError},
    place::Place,
};

/// The guardian's program, explained in its own words.
const SCRIPT: &str = include_str!("guardian.sh");

/// What runs it.
const SHELL: &str = "/bin/sh";

/// Longest wait for the server to end. The script turns to immediate shutdown at half of it.
const STOP_WITHIN: Duration = Duration::from_mins(1);

/// A running guardian with its server.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
    /// Held open and never written to; closing it stops the server.
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts `program` with `arguments` under a guardian, both writing to `log`.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        place: &Place,
        account: &Account,
        log: File,
    ) -> Result<Self, ManagedError> {
        let shell = Path::new(SHELL);
        let temporary = if place.socket_dir_is_temporary { &*place.socket_dir } else { Path::new("") };
        let mut command = account.command(shell);
        command
            .args(["-c", SCRIPT, "countersign-guardian"])
            .arg(temporary)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().explain("open", shell)?)
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().explain("run", shell)?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Waits for the server to end by itself. Safe to drop and call again.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, ManagedError> {
        // The pipe is not the child's any more, so waiting does not close it.
        self.child.wait().await.explain("wait for", Path::new(SHELL))
    }

    /// Stops the server and waits for it.
    pub(super) async fn stop(mut self) -> Result<(), ManagedError> {
        drop(self.pipe.take());
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(status) => status.map(drop).explain("wait for", Path::new(SHELL)),
            Err(_) => {
                Err(ManagedError::Stop { pid: self.child.id().unwrap_or_default(), seconds: STOP_WITHIN.as_secs() })
            }
        }
    }
}
