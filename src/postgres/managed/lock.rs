//! One process per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Managed, Options,
    error::{Explain, ManagedError},
};

/// Pause between two looks whether a data directory's lock is free.
const TURN_POLL: Duration = Duration::from_millis(100);

impl Managed {
    /// [Starts](Self::start) the server, and while another process has the data directory waits for its end, so long at
    /// most. Zero is no wait at all.
    ///
    /// For whoever can't join that other process because its server ends with it. Dropped while it waits, or killed, it
    /// has begun nothing.
    ///
    /// # Errors
    ///
    /// Those of a start: [`ManagedError::InUse`] says who has the directory when the time is over.
    pub async fn start_in_turn(options: Options, within: Duration) -> Result<Self, ManagedError> {
        let deadline = Instant::now() + within;
        let mut said = false;
        loop {
            match Self::start(options.clone()).await {
                Err(ManagedError::InUse { data_dir, holder }) if Instant::now() < deadline => {
                    if !said {
                        tracing::warn!(
                            data_dir = %data_dir.display(),
                            %holder,
                            seconds = within.as_secs(),
                            "another Countersign uses the data directory: waiting for it to end",
                        );
                    }
                    said = true;
                    tokio::time::sleep(TURN_POLL).await;
                }
                outcome => return outcome,
            }
        }
    }
}

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
