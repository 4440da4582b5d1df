//! Everything that the tests of this binary log, at trace level.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex};

/// One subscriber for all threads, from the first moment: who comes later misses what others have logged before.
static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    subscriber.with_writer(|| Writer).init();
    Mutex::default()
});

/// Starts to keep the log.
pub fn start() {
    LazyLock::force(&LOG);
}

/// What was logged up to now.
pub fn text() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
