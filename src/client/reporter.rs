//! What a login tells while it goes on, to whoever shows it.

use std::io::{self, BufRead as _};
use std::time::Duration;

use super::SignedIn;
use super::answer::Code;
use super::credentials::KeptIn;
use super::error::LoginError;

/// One thing worth knowing.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A code to be approved. A second one means that the first is of no use any more.
    Code(&'a Code),
    /// About once a second until there is a decision.
    Waiting {
        /// Until the code expires.
        left: Duration,
    },
    /// The server gave no usable answer; the wait goes on.
    Retrying {
        /// In words.
        reason: &'a str,
        /// Until the next attempt.
        after: Duration,
    },
    /// Approved; and now the number that the approving page shows has to be typed in here.
    NumberWanted {
        /// How many wrong ones end the login, if told.
        tries_left: Option<u8>,
    },
    /// What was typed is no number of two digits.
    NoNumber,
    /// The code expired, and another one is asked for.
    Expired,
    /// The end: signed in.
    SignedIn {
        /// Where, with what.
        signed_in: &'a SignedIn,
        /// Where the tokens are now.
        kept_in: Option<&'a KeptIn>,
    },
    /// The end: not signed in.
    Failed(&'a LoginError),
}

/// Shows events: [`Screen`](super::Screen) to people, [`JsonLines`](super::JsonLines) to scripts. A closure
/// `|event: &Event<'_>| -> io::Result<()>` is a reporter too.
pub trait Reporter {
    /// Shows one event.
    ///
    /// # Errors
    /// When it can't be shown: a login whose code nobody can see ends.
    fn report(&mut self, event: &Event<'_>) -> io::Result<()>;

    /// What the person types when a number is wanted; `None` where nobody can.
    ///
    /// # Errors
    /// When it can't be read.
    fn number(&mut self) -> impl Future<Output = io::Result<Option<String>>> {
        std::future::ready(Ok(None))
    }
}

/// A line of standard input, for reporters whose person sits there; `None` at its end.
pub(super) async fn typed_line() -> io::Result<Option<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        // No number has a hundred signs, and a device file never ends.
        let read = io::Read::take(io::stdin().lock(), 100).read_line(&mut line)?;
        Ok((read > 0).then_some(line))
    });
    read.await.map_err(io::Error::other)?
}

impl<F: FnMut(&Event<'_>) -> io::Result<()>> Reporter for F {
    fn report(&mut self, event: &Event<'_>) -> io::Result<()> {
        self(event)
    }
}
