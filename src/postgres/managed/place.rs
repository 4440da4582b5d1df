//! Where the parts of a managed server are: cluster, socket and log.
//!
//! Ordinarily all of them are in the data directory. Two things can force a part elsewhere: root's data directory may
//! be out of reach for the account that PostgreSQL runs as (the cluster then lives under `/var/lib`, recorded in
//! `postgres-location`), and the path of a Unix socket may not be longer than about a hundred bytes (the socket then
//! lives in a private directory for runtime or temporary files).

use std::{
    collections::hash_map::RandomState,
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    hash::{BuildHasher, Hasher},
    io::{self, Read, Seek, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use sqlx::postgres::PgConnectOptions;

use super::{
    PORT, ROLE,
    account::Account,
    error::{Explain, ManagedError},
};

/// The cluster's directory in its home.
pub(super) const CLUSTER: &str = "postgres";

/// The file in the data directory that says where the cluster's home is when it is elsewhere.
const RECORD: &str = "postgres-location";

/// The socket's directory in the cluster's home.
const SOCKET_DIR: &str = "run";

/// Longest path of a Unix socket that every system can bind, in bytes (Linux takes 107, macOS 103).
const LONGEST_SOCKET_PATH: usize = 103;

/// A log longer than this, in bytes, is put aside at the next start.
const LONGEST_LOG: u64 = 8 * 1024 * 1024;

/// How much of the log an error message carries.
const LOG_LINES: usize = 12;

/// Where the parts of one managed server are.
#[derive(Debug)]
pub(super) struct Place {
    /// Holds the cluster and usually the socket: the data directory or the recorded place.
    pub(super) home: PathBuf,
    /// PostgreSQL's data directory.
    pub(super) cluster: PathBuf,
    /// Mode 0700: whoever can enter it is trusted.
    pub(super) socket_dir: PathBuf,
    /// The socket's directory is outside the home and goes away with the server.
    pub(super) socket_dir_is_temporary: bool,
    log: PathBuf,
}

/// Creates the data directory with mode 0700 where it is missing and returns its absolute path.
pub(super) fn create_data_dir(data_dir: &Path) -> Result<PathBuf, ManagedError> {
    if let Some(parent) = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).explain("create", parent)?;
    }
    match DirBuilder::new().mode(0o700).create(data_dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).explain("create", data_dir);
        }
        _ => {}
    }
    let path = fs::canonicalize(data_dir).explain("open", data_dir)?;
    if path.to_str().is_none() {
        return Err(ManagedError::NotUtf8 { path });
    }
    Ok(path)
}

/// The cluster's home as recorded in the data directory; none when it is the data directory itself.
pub(super) fn recorded_home(data_dir: &Path) -> Result<Option<PathBuf>, ManagedError> {
    let record = data_dir.join(RECORD);
    let home = match fs::read_to_string(&record) {
        Ok(home) => PathBuf::from(home.trim_end()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).explain("read", &record),
    };
    if home.is_dir() { Ok(Some(home)) } else { Err(ManagedError::PlaceGone { home, record }) }
}

impl Place {
    /// Finds, or decides, where the parts of this data directory's server are.
    pub(super) async fn choose(data_dir: &Path, account: &Account, durable: bool) -> Result<Self, ManagedError> {
        let home = match recorded_home(data_dir)? {
            Some(home) => home,
            None => home_for(data_dir, account, durable).await?,
        };
        let cluster = home.join(CLUSTER);
        // Resolved where it exists: that is the path a running server's working directory shows.
        let cluster = fs::canonicalize(&cluster).unwrap_or(cluster);
        let (socket_dir, socket_dir_is_temporary) = socket_dir_for(&home, account).await?;
        let log = data_dir.join("postgres.log");
        Ok(Self { home, cluster, socket_dir, socket_dir_is_temporary, log })
    }

    /// The cluster and the major version that made it; none before it exists.
    pub(super) fn cluster_version(&self) -> Result<Option<(&Path, u32)>, ManagedError> {
        let file = self.cluster.join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some((&self.cluster, major))),
                Err(_) => Err(ManagedError::NotACluster { path: self.cluster.clone() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).explain("read", &file),
        }
    }

    /// Makes the socket's directory and clears it of the socket that a killed server left: its lock file would be
    /// taken for a running server's if its process number has been given to another process since.
    pub(super) fn prepare_socket_dir(&self, account: &Account) -> Result<(), ManagedError> {
        let dir = &self.socket_dir;
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => account.give(dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).explain("create", dir),
        }
        for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
            let path = dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).explain("remove", &path);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the log for appending, and says how long it already is, in bytes.
    pub(super) fn open_log(&self) -> Result<(File, u64), ManagedError> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LONGEST_LOG) {
            let aside = self.log.with_extension("log.old");
            fs::rename(&self.log, &aside).explain("rename", &self.log)?;
        }
        let log =
            OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log).explain("open", &self.log)?;
        let length = log.metadata().explain("read", &self.log)?.len();
        Ok((log, length))
    }

    /// The last lines that came into the log after its first `start` bytes, for an error message.
    pub(super) fn log_since(&self, start: u64) -> String {
        let read = || {
            let mut log = File::open(&self.log)?;
            log.seek(SeekFrom::Start(start))?;
            let mut text = Vec::new();
            log.read_to_end(&mut text).map(|_| text)
        };
        match read() {
            Ok(text) => last_lines(&text),
            Err(error) => format!("(cannot read {}: {error})", self.log.display()),
        }
    }

    /// The URL of a database on this server.
    pub(super) fn url(&self, database: &str) -> String {
        let database = percent_encode(database);
        let host = percent_encode(&self.socket_dir.to_string_lossy());
        format!("postgres://{ROLE}@localhost:{PORT}/{database}?host={host}")
    }

    /// How sqlx connects to a database on this server.
    pub(super) fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().socket(&self.socket_dir).port(PORT).username(ROLE).database(database)
    }
}

/// The last [`LOG_LINES`] lines of a text.
pub(super) fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Decides where a cluster's home is: the data directory if the account can enter it, or could if we let it through.
async fn home_for(data_dir: &Path, account: &Account, durable: bool) -> Result<PathBuf, ManagedError> {
    let Some(group) = account.group() else {
        return Ok(data_dir.to_owned());
    };
    if account.can_enter(data_dir).await {
        return Ok(data_dir.to_owned());
    }
    let parent = data_dir.parent().unwrap_or(data_dir);
    let metadata = fs::metadata(data_dir).explain("read", data_dir)?;
    if metadata.uid() == 0 && account.can_enter(parent).await {
        let_group_pass(data_dir, group)?;
        return Ok(data_dir.to_owned());
    }
    if data_dir.join(CLUSTER).exists() {
        return Err(ManagedError::Unreachable { path: data_dir.to_owned(), account: account.name().to_owned() });
    }
    home_elsewhere(data_dir, group, durable)
}

/// Lets a group pass through a directory of ours to the names it knows; it can list and change nothing there.
fn let_group_pass(dir: &Path, group: u32) -> Result<(), ManagedError> {
    let mode = fs::metadata(dir).explain("read", dir)?.mode();
    chown(dir, None, Some(group)).explain("change the group of", dir)?;
    let mode = (mode & 0o7707) | 0o010;
    fs::set_permissions(dir, Permissions::from_mode(mode)).explain("change the mode of", dir)
}

/// Makes a home outside the data directory and records it there. What need not be durable goes with the temporary
/// files, everything else where it outlives a reboot.
fn home_elsewhere(data_dir: &Path, group: u32, durable: bool) -> Result<PathBuf, ManagedError> {
    let bases = if durable {
        vec![PathBuf::from("/var/lib"), PathBuf::from("/var/tmp")]
    } else {
        vec![std::env::temp_dir(), PathBuf::from("/tmp")]
    };
    let mut failure = None;
    for base in bases {
        let home = base.join(unused_name());
        match DirBuilder::new().mode(0o700).create(&home) {
            Ok(()) => {
                let_group_pass(&home, group)?;
                record_home(data_dir, &home)?;
                tracing::warn!(
                    data_dir = %data_dir.display(),
                    home = %home.display(),
                    "PostgreSQL's account cannot enter the data directory: the database is kept outside it",
                );
                return Ok(home);
            }
            Err(error) => failure = Some(Err(error).explain("create", &home)),
        }
    }
    failure.unwrap_or_else(|| Ok(data_dir.to_owned()))
}

/// Writes down in the data directory where the home is, and in the home whose it is.
fn record_home(data_dir: &Path, home: &Path) -> Result<(), ManagedError> {
    let back = home.join("data-dir");
    fs::write(&back, format!("{}\n", data_dir.display())).explain("write", &back)?;

    let record = data_dir.join(RECORD);
    let draft = data_dir.join("postgres-location.new");
    let write = || {
        let mut file = File::create(&draft)?;
        writeln!(file, "{}", home.display())?;
        file.sync_all()?;
        fs::rename(&draft, &record)
    };
    write().explain("write", &record)
}

/// The socket's directory, and whether it is a temporary one because the path would be too long or PostgreSQL would
/// read it as several.
async fn socket_dir_for(home: &Path, account: &Account) -> Result<(PathBuf, bool), ManagedError> {
    let dir = home.join(SOCKET_DIR);
    if fits(&dir) {
        return Ok((dir, false));
    }
    let mut bases = vec![std::env::temp_dir(), PathBuf::from("/tmp")];
    if account.group().is_none() {
        let user = rustix::process::geteuid().as_raw();
        bases.insert(0, PathBuf::from(format!("/run/user/{user}")));
    }
    for base in bases {
        let dir = base.join(unused_name());
        if fits(&dir) && base.is_dir() && account.can_enter(&base).await {
            return Ok((dir, true));
        }
    }
    Err(ManagedError::NoSocketDir { path: dir })
}

/// Whether PostgreSQL can make its socket in `dir`.
fn fits(dir: &Path) -> bool {
    let path = dir.join(format!(".s.PGSQL.{PORT}"));
    let separators = |text: &str| text.contains([',', '"']);
    path.as_os_str().len() <= LONGEST_SOCKET_PATH && !dir.to_str().is_none_or(separators)
}

/// A name that nothing has yet, for a directory in a place we share with others. Creating it fails if it exists, so
/// it need not be a secret.
pub(super) fn unused_name() -> String {
    format!("countersign-{:016x}", RandomState::new().build_hasher().finish())
}

/// Encodes everything but unreserved characters (RFC 3986 §2.3).
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{fits, last_lines, percent_encode};

    #[test]
    fn a_url_survives_any_path() {
        assert_eq!(percent_encode("/tmp/a b&c=ü"), "%2Ftmp%2Fa%20b%26c%3D%C3%BC");
    }

    #[test]
    fn a_socket_needs_a_short_path_without_separators() {
        assert!(fits(Path::new("/srv/countersign/run")));
        assert!(!fits(Path::new("/srv/a,b/run")));
        assert!(!fits(&Path::new("/srv").join("x".repeat(90))));
    }

    #[test]
    fn an_error_carries_the_end_of_the_log() {
        let log = (1..=30).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
        let end = last_lines(log.as_bytes());
        assert!(end.starts_with("line 19\n") && end.ends_with("line 30"), "{end}");
    }
}
