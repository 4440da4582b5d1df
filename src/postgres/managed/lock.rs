//! One process per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::error::{Explain, ManagedError};

/// The lock of a data directory. The kernel releases it with the process, however that ends; the file stays and is
/// never evidence of anything.
#[derive(Debug)]
pub(super) struct DataDirLock {
    file: File,
}

/// Said, and not left to the closing of the file: a process that is being started at this moment has a copy of it until it
/// runs its own program, and the lock would last as long.
impl Drop for DataDirLock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a data directory's lock ends with its file");
        }
    }
}

impl DataDirLock {
    /// Takes the lock or says which process has it.
    pub(super) fn acquire(data_dir: &Path) -> Result<Self, ManagedError> {
        let path = data_dir.join("postgres.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .explain("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ManagedError::InUse { data_dir: data_dir.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(error).explain("lock", &path),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .explain("write", &path)?;
        Ok(Self { file })
    }
}

/// Who has the lock, in words. The number may be missing for the instant between locking and writing.
fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
        _ => "a process that just started".to_owned(),
    }
}
