//! Finds PostgreSQL's programs on this machine.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::error::ManagedError;

/// The oldest major version Countersign works with.
const OLDEST: u32 = 14;

/// Directories that hold one directory per installed version, and where the programs are in those: Debian and Ubuntu,
/// the PostgreSQL project's RPMs, Postgres.app, Alpine.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ("/usr/libexec", ""),
];

/// Directories of Homebrew's versions (`postgresql@17`) on Apple silicon, Intel and Linux.
const HOMEBREW: [&str; 3] = ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"];

/// The programs of one installed PostgreSQL.
#[derive(Debug)]
pub(super) struct Programs {
    /// The server.
    pub(super) postgres: PathBuf,
    /// Creates clusters.
    pub(super) initdb: PathBuf,
    /// Major version of both.
    pub(super) major: u32,
}

impl Programs {
    /// The first usable version in `PATH`, in `pg_config`'s directory or in the usual places, newest first. A cluster
    /// that is already there can be served by its own major version only.
    pub(super) async fn find(cluster: Option<(&Path, u32)>) -> Result<Self, ManagedError> {
        let mut found = Vec::new();
        for directory in candidates().await {
            let Some(programs) = Self::in_directory(&directory).await else {
                continue;
            };
            if cluster.is_none_or(|(_, major)| major == programs.major) {
                return Ok(programs);
            }
            found.push(programs.major.to_string());
        }
        match cluster {
            Some((path, major)) if !found.is_empty() => {
                Err(ManagedError::OtherVersion { path: path.to_owned(), cluster: major, found: found.join(", ") })
            }
            _ => Err(ManagedError::Missing),
        }
    }

    /// The programs in `directory` if both are there and recent enough.
    async fn in_directory(directory: &Path) -> Option<Self> {
        // Resolved, because a link's own directory need not hold the other program.
        let postgres = fs::canonicalize(directory.join("postgres")).ok()?;
        let initdb = postgres.parent()?.join("initdb");
        if !initdb.is_file() {
            return None;
        }
        let major = major_version(&output_of(&postgres, "--version").await?)?;
        (major >= OLDEST).then_some(Self { postgres, initdb, major })
    }
}

/// Where to look, in order.
async fn candidates() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = std::env::split_paths(&search_path()).collect();
    if let Some(bindir) = output_of(Path::new("pg_config"), "--bindir").await {
        directories.push(PathBuf::from(bindir.trim()));
    }
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, programs) in VERSIONED {
        versions.extend(versions_in(Path::new(parent), programs));
    }
    for parent in HOMEBREW {
        versions.extend(versions_in(Path::new(parent), "bin"));
    }
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    directories.extend(versions.into_iter().map(|(_, directory)| directory));
    directories
}

/// The directories of the machine's programs.
#[expect(clippy::disallowed_methods, reason = "PATH is the operating system's, not a setting of ours")]
fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// The subdirectories of `parent` that are named after a version of PostgreSQL, with the directory of their programs.
fn versions_in(parent: &Path, programs: &str) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            Some((directory_version(name.to_str()?)?, entry.path().join(programs)))
        })
        .collect()
}

/// The version a directory's name says: `17`, `pgsql-17`, `postgresql@17`, `postgresql17`.
fn directory_version(name: &str) -> Option<u32> {
    let number = ["pgsql-", "postgresql@", "postgresql"]
        .into_iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    number.parse().ok()
}

/// The major version in what `postgres --version` prints: `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What a program prints for one argument, if it runs and succeeds.
async fn output_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{directory_version, major_version};

    #[test]
    fn reads_the_major_version_of_releases_and_previews() {
        let debian = "postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n";
        assert_eq!(major_version(debian), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major_version("postgres (EnterpriseDB) x"), None);
    }

    #[test]
    fn reads_the_version_of_every_layout_and_of_nothing_else() {
        for name in ["17", "pgsql-17", "postgresql@17", "postgresql17"] {
            assert_eq!(directory_version(name), Some(17), "{name}");
        }
        for name in ["bin", "postgresql", "postgresql@", "local"] {
            assert_eq!(directory_version(name), None, "{name}");
        }
    }
}
