//! The account PostgreSQL runs as: our own, unless we are root, which PostgreSQL refuses.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Stdio,
};

use tokio::process::Command;

use super::{
    error::{Explain, ManagedError},
    place,
};

/// Accounts root hands the server to, in order of preference: the one its packages create, and the one that always
/// exists. The second is shared with whatever else runs as nobody, which is why it is the second.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Where the system's own programs are, whatever our own `PATH` says.
pub(super) const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The account PostgreSQL and its tools run as.
#[derive(Debug, Clone)]
pub(super) enum Account {
    /// The account of this process.
    Own,
    /// Another one, because this process is root.
    Other {
        /// For messages.
        name: String,
        /// User id.
        uid: u32,
        /// Primary group id.
        gid: u32,
    },
}

impl Account {
    /// Our own account; as root the owner of the existing cluster, else the first of [`CANDIDATES`] that exists.
    pub(super) async fn choose(data_dir: &Path) -> Result<Self, ManagedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let cluster = place::recorded_home(data_dir)?.unwrap_or_else(|| data_dir.to_owned()).join(place::CLUSTER);
        if let Some(owner) = owner_of(&cluster) {
            return Ok(owner);
        }
        for name in CANDIDATES {
            if let (Some(uid), Some(gid)) = (id("-u", name).await, id("-g", name).await) {
                return Ok(Self::Other { name: name.to_owned(), uid, gid });
            }
        }
        Err(ManagedError::NoAccount)
    }

    /// For messages and logs.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Own => "own",
            Self::Other { name, .. } => name,
        }
    }

    /// The group that may pass through root's directories on the way to the cluster; none when there is no such need.
    pub(super) fn group(&self) -> Option<u32> {
        match self {
            Self::Own => None,
            Self::Other { gid, .. } => Some(*gid),
        }
    }

    /// A command that runs as this account with a bare environment: our own may hold secrets that are none of
    /// PostgreSQL's business, and `PG…` variables that would mislead it.
    ///
    /// It starts in `/`, because PostgreSQL's programs return to where they were started, which has to be possible.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", SYSTEM_PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Self::Other { uid, gid, .. } = self {
            // The standard library drops root's supplementary groups along with this.
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes `path`, which we just created, this account's.
    pub(super) fn give(&self, path: &Path) -> Result<(), ManagedError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid)).explain("change the owner of", path),
        }
    }

    /// Whether this account can enter `dir`. The kernel is asked by trying: it alone knows about access lists, mounts
    /// and every directory on the way.
    pub(super) async fn can_enter(&self, dir: &Path) -> bool {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.args(["-c", r#"cd -- "$1""#, "sh"]).arg(dir);
        matches!(shell.status().await, Ok(status) if status.success())
    }
}

/// The account that owns a cluster already there, so that root goes on with what an ordinary user began.
fn owner_of(cluster: &Path) -> Option<Account> {
    let metadata = fs::metadata(cluster.join("PG_VERSION")).ok()?;
    let (uid, gid) = (metadata.uid(), metadata.gid());
    (uid != 0).then(|| Account::Other { name: format!("user id {uid}"), uid, gid })
}

/// Asks `id` for a number of the account `name`; unlike `/etc/passwd` it knows directory services too.
async fn id(flag: &str, name: &str) -> Option<u32> {
    let mut command = Command::new("id");
    command.args([flag, name]).env("PATH", SYSTEM_PATH).stdin(Stdio::null());
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
