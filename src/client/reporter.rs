//! What a login tells while it goes on, to whoever shows it.

use std::io;
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
}

impl<F: FnMut(&Event<'_>) -> io::Result<()>> Reporter for F {
    fn report(&mut self, event: &Event<'_>) -> io::Result<()> {
        self(event)
    }
}
