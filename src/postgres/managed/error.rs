//! Why the managed PostgreSQL could not be started or stopped.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// Why the managed PostgreSQL could not be started or stopped. Every message is for the person at the terminal and
/// says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    /// No usable PostgreSQL on this machine.
    #[error(
        "PostgreSQL 14 or newer is not installed: `apt-get install postgresql` (Debian, Ubuntu), `dnf install \
         postgresql-server` (Fedora, RHEL) or `brew install postgresql@17` (macOS), or give a database URL"
    )]
    Missing,

    /// The cluster was made by another major version than any that is installed.
    #[error(
        "{} was made by PostgreSQL {cluster}, which is not installed (found: {found}): install version {cluster}, or \
         move its data with pg_upgrade", path.display()
    )]
    OtherVersion {
        /// The cluster.
        path: PathBuf,
        /// Major version that made it.
        cluster: u32,
        /// Major versions on this machine.
        found: String,
    },

    /// Another process runs on this data directory.
    #[error(
        "{} is in use by another Countersign ({holder}): stop it first, or choose another data directory",
        data_dir.display()
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// Who has it, such as `process 4711`.
        holder: String,
    },

    /// Started by root, and no account to hand PostgreSQL to.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither an account `postgres` nor `nobody` to run it as: \
         create one, or start Countersign as an ordinary user"
    )]
    NoAccount,

    /// The recorded place of the cluster no longer exists.
    #[error(
        "the database of this data directory was in {}, which is gone; bring it back, or remove {} to begin anew",
        home.display(), record.display()
    )]
    PlaceGone {
        /// Where it was.
        home: PathBuf,
        /// The file that says so.
        record: PathBuf,
    },

    /// The account that PostgreSQL runs as can't get to an existing cluster.
    #[error(
        "PostgreSQL does not run as root but as {account}, who cannot enter {}: open the directories above it, or move \
         it", path.display()
    )]
    Unreachable {
        /// The data directory.
        path: PathBuf,
        /// The account's name.
        account: String,
    },

    /// No directory's path is short enough for a Unix socket.
    #[error("no directory for PostgreSQL's socket: the path {} is too long, and no temporary one is usable", path.display())]
    NoSocketDir {
        /// Where it would have been.
        path: PathBuf,
    },

    /// The cluster's directory holds something else.
    #[error("{} is neither empty nor a PostgreSQL cluster: move it away, or choose another data directory", path.display())]
    NotACluster {
        /// The directory.
        path: PathBuf,
    },

    /// The data directory's path cannot be handed to PostgreSQL.
    #[error("the path {} is not UTF-8, which PostgreSQL's settings need: choose another data directory", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },

    /// `initdb` failed.
    #[error("initdb could not create the database cluster in {} ({status}):\n{output}", path.display())]
    Initdb {
        /// Where it worked.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },

    /// The server ended instead of accepting connections.
    #[error("PostgreSQL did not start ({status}); the end of its log:\n{log}")]
    Start {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },

    /// The server runs but accepts no connection.
    #[error("PostgreSQL accepts no connection after {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// How long we waited, in seconds.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },

    /// A server does not end.
    #[error("PostgreSQL (process {pid}) does not stop within {seconds} s")]
    Stop {
        /// The process, 0 when unknown.
        pid: u32,
        /// How long we waited, in seconds.
        seconds: u64,
    },

    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Gives an I/O error the words and the path that make it a message.
pub(super) trait Explain<T> {
    /// Says what was tried, as a verb, and on what.
    fn explain(self, action: &'static str, path: &Path) -> Result<T, ManagedError>;
}

impl<T, E: Into<io::Error>> Explain<T> for Result<T, E> {
    fn explain(self, action: &'static str, path: &Path) -> Result<T, ManagedError> {
        self.map_err(|error| ManagedError::Io { action, path: path.to_owned(), source: error.into() })
    }
}
