//! Where the tokens stay: one file that only its owner can read.
//!
//! ```text
//! {"version": 1, "issuers": {"https://login.acme.example": {"acme-cli": {"access_token": "…", …}}}}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::SignedIn;
use super::secret::Secret;
use crate::clock::Clock;

const FILE: &str = "credentials.json";
const LOCK: &str = "credentials.lock";
const VERSION: u32 = 1;

/// The credentials of one user of this machine, by issuer and client.
#[derive(Debug)]
pub struct CredentialsFile {
    directory: PathBuf,
    path: PathBuf,
    clock: Clock,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` says where it would be.
    #[error("There is no configuration directory to keep the tokens in: set HOME or XDG_CONFIG_HOME.")]
    NoDirectory,
    /// It, or its directory, can't be read or written.
    #[error("Can't use {}: {source}.", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// It holds something else; it is left as it is.
    #[error("{} is not a credentials file of this version of countersign: move it away and log in again.", .0.display())]
    NotOurs(PathBuf),
}

/// Entries are kept as they were found, so that a newer version's additions survive.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    issuers: BTreeMap<String, BTreeMap<String, Value>>,
}

impl CredentialsFile {
    /// The file in `configuration`/countersign, `configuration` being the user's directory for that (often ~/.config).
    /// Touches nothing yet.
    #[must_use]
    pub fn under(configuration: &Path, clock: Clock) -> Self {
        let directory = configuration.join("countersign");
        Self { path: directory.join(FILE), directory, clock }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure, before anybody approves anything, that the tokens will have a place: the directory exists, is the
    /// owner's alone (0700), can be written, and what is in it can be read.
    pub fn prepare(&self) -> Result<(), CredentialsError> {
        self.lock()?;
        self.read().map(drop)
    }

    /// Adds the tokens, or puts them in the place of older ones of the same issuer and client.
    pub fn save(&self, signed_in: &SignedIn) -> Result<(), CredentialsError> {
        let _locked = self.lock()?;
        let mut contents = self.read()?;
        let clients = contents.issuers.entry(signed_in.issuer.clone()).or_default();
        clients.insert(signed_in.client_id.clone(), self.entry(signed_in));
        let text = serde_json::to_vec_pretty(&contents).map_err(|error| unusable(&self.path, error.into()))?;
        self.replace(&Zeroizing::new(text))
    }

    fn entry(&self, signed_in: &SignedIn) -> Value {
        let now = self.clock.now();
        let tokens = &signed_in.tokens;
        json!({
            "access_token": tokens.access_token.expose(),
            "token_type": tokens.token_type,
            "refresh_token": tokens.refresh_token.as_ref().map(Secret::expose),
            "id_token": tokens.id_token.as_ref().map(Secret::expose),
            "scope": signed_in.granted_scope(),
            "obtained_at": now,
            "expires_at": tokens.expires_in.map(|life| now + life),
        })
    }

    /// Two logins at once must not lose each other's tokens. The lock ends with the handle.
    fn lock(&self) -> Result<File, CredentialsError> {
        let directory = |error| unusable(&self.directory, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(directory)?;
        fs::set_permissions(&self.directory, Permissions::from_mode(0o700)).map_err(directory)?;
        let path = self.directory.join(LOCK);
        let lock = || -> io::Result<File> {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| unusable(&path, error))
    }

    fn read(&self) -> Result<Contents, CredentialsError> {
        let text = match fs::read(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Contents { version: VERSION, issuers: BTreeMap::new() });
            }
            Err(error) => return Err(unusable(&self.path, error)),
        };
        serde_json::from_slice(&text)
            .ok()
            .filter(|contents: &Contents| contents.version == VERSION)
            .ok_or_else(|| CredentialsError::NotOurs(self.path.clone()))
    }

    /// A reader finds the old file or the new one, never half of either, whenever the power goes.
    fn replace(&self, text: &[u8]) -> Result<(), CredentialsError> {
        let temporary = self.directory.join(format!(".{FILE}.{}", std::process::id()));
        let write = || -> io::Result<()> {
            // Left behind by a process that was killed here; the lock says that nobody is writing it now.
            fs::remove_file(&temporary).or_else(ignore_missing)?;
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| {
            drop(fs::remove_file(&temporary));
            unusable(&self.path, error)
        })
    }
}

fn unusable(path: &Path, source: io::Error) -> CredentialsError {
    CredentialsError::Io { path: path.to_owned(), source }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::answer::Tokens;

    fn signed_in(client_id: &str, access_token: &str) -> SignedIn {
        SignedIn {
            issuer: "https://acme.example".to_owned(),
            client_id: client_id.to_owned(),
            asked_scope: Some("read".to_owned()),
            tokens: Tokens {
                access_token: access_token.to_owned().into(),
                token_type: "Bearer".to_owned(),
                expires_in: Some(std::time::Duration::from_mins(15)),
                scope: None,
                refresh_token: None,
                id_token: None,
            },
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_read_it_and_logins_stand_beside_each_other() {
        let configuration = tempfile::tempdir().unwrap();
        fs::create_dir(configuration.path().join("countersign")).unwrap();
        let start = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let file = CredentialsFile::under(configuration.path(), Clock::manual(start));
        for (client, token) in [("a", "1"), ("b", "2"), ("a", "3")] {
            file.save(&signed_in(client, token)).unwrap();
        }
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(&file.directory), 0o700);
        let contents = file.read().unwrap();
        let clients = &contents.issuers["https://acme.example"];
        assert_eq!(clients["a"]["access_token"], "3");
        assert_eq!(clients["b"]["access_token"], "2");
        assert_eq!(clients["a"]["expires_at"], "2027-01-15T08:15:00Z");
        assert_eq!(clients["a"]["scope"], "read");
        let left: Vec<_> = fs::read_dir(&file.directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the file and its lock, nothing temporary: {left:?}");
    }

    #[test]
    fn a_file_that_is_not_ours_is_left_alone() {
        let configuration = tempfile::tempdir().unwrap();
        let file = CredentialsFile::under(configuration.path(), Clock::system());
        file.prepare().unwrap();
        for foreign in ["not JSON", r#"{"version":2,"issuers":{}}"#] {
            fs::write(file.path(), foreign).unwrap();
            assert!(matches!(file.prepare(), Err(CredentialsError::NotOurs(_))));
            assert!(file.save(&signed_in("a", "1")).is_err());
            assert_eq!(fs::read_to_string(file.path()).unwrap(), foreign);
        }
    }
}
