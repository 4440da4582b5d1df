//! The file that only its owner can read, and its locks.
//!
//! ```text
//! {"version": 2, "logins": [{"issuer": "https://login.acme.example", "client_id": "acme-cli", "tokens": {…}, …}]}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::CredentialsError;
use super::entry::{Entry, LoginKey};

const FILE: &str = "credentials.json";
const LOCK: &str = "credentials.lock";
const VERSION: u32 = 2;

/// The file in its directory.
#[derive(Clone, Debug)]
pub(super) struct CredentialsFile {
    directory: PathBuf,
    path: PathBuf,
}

/// What is in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Contents {
    version: u32,
    pub(super) logins: Vec<Entry>,
}

/// The first form, in which a client had one account: by issuer and client.
#[derive(Deserialize)]
struct FirstContents {
    issuers: BTreeMap<String, BTreeMap<String, Value>>,
}

/// A lock. It ends with its value, and with the process.
#[derive(Debug)]
pub(crate) struct Held {
    #[expect(dead_code, reason = "the lock ends when this is dropped")]
    file: File,
    /// Whether somebody else had it before.
    pub(crate) waited: bool,
}

impl CredentialsFile {
    pub(super) fn under(configuration: &Path) -> Self {
        let directory = configuration.join("countersign");
        Self { path: directory.join(FILE), directory }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory exists, is the owner's alone, can be written, and what is in it can be read.
    pub(super) fn prepare(&self) -> Result<(), CredentialsError> {
        self.lock(LOCK)?;
        self.read().map(drop)
    }

    /// Reads it. Needs no lock: the file is only ever replaced as a whole.
    pub(super) fn read(&self) -> Result<Contents, CredentialsError> {
        let text = match fs::read(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Contents { version: VERSION, logins: Vec::new() });
            }
            Err(error) => return Err(unusable(&self.path, error)),
        };
        Contents::read(&text).ok_or_else(|| CredentialsError::NotOurs(self.path.clone()))
    }

    /// Changes it. Two processes at once don't lose each other's changes.
    pub(super) fn update(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), CredentialsError> {
        let _locked = self.lock(LOCK)?;
        let mut contents = self.read()?;
        change(&mut contents.logins);
        let text = serde_json::to_vec_pretty(&contents).map_err(|error| unusable(&self.path, error.into()))?;
        self.replace(&Zeroizing::new(text))
    }

    /// Waits for the lock of one login, which is held while its tokens are changed at the server: that takes seconds, and
    /// must hold up no other login.
    pub(super) async fn hold(&self, key: &LoginKey) -> Result<Held, CredentialsError> {
        let name = lock_name(key);
        let file = self.clone();
        let path = self.directory.join(&name);
        tokio::task::spawn_blocking(move || file.lock(&name))
            .await
            .map_err(|error| unusable(&path, io::Error::other(error)))?
    }

    fn lock(&self, name: &str) -> Result<Held, CredentialsError> {
        let directory = |error| unusable(&self.directory, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(directory)?;
        fs::set_permissions(&self.directory, Permissions::from_mode(0o700)).map_err(directory)?;
        let path = self.directory.join(name);
        let lock = || -> io::Result<Held> {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            let waited = match file.try_lock() {
                Ok(()) => false,
                Err(TryLockError::WouldBlock) => file.lock().map(|()| true)?,
                Err(TryLockError::Error(error)) => return Err(error),
            };
            Ok(Held { file, waited })
        };
        lock().map_err(|error| unusable(&path, error))
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

impl Contents {
    /// `None`: it is something else.
    fn read(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        match serde_json::from_slice::<Version>(text).ok()?.version {
            VERSION => serde_json::from_slice(text).ok(),
            1 => Self::from_first(serde_json::from_slice(text).ok()?),
            _ => None,
        }
    }

    fn from_first(first: FirstContents) -> Option<Self> {
        let mut logins = Vec::new();
        for (issuer, clients) in first.issuers {
            for (client_id, entry) in clients {
                logins.push(Entry::from_first(issuer.clone(), client_id, entry)?);
            }
        }
        Some(Self { version: VERSION, logins })
    }
}

/// The same for every version of this program that may run beside this one.
fn lock_name(key: &LoginKey) -> String {
    let LoginKey { issuer, client_id, subject } = key;
    let name = format!("{issuer}\n{client_id}\n{}", subject.as_deref().unwrap_or_default());
    let hash = digest(&SHA256, name.as_bytes());
    let hash = hash.as_ref().get(..9).unwrap_or_default();
    format!("login-{}.lock", URL_SAFE_NO_PAD.encode(hash))
}

fn unusable(path: &Path, source: io::Error) -> CredentialsError {
    CredentialsError::Io { path: path.to_owned(), source }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
