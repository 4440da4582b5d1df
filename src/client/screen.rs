//! What people see.

use std::io::{self, Write};
use std::time::Duration;

use url::Url;

use super::SignedIn;
use super::answer::Code;
use super::credentials::KeptIn;
use super::environment::Terminal;
use super::issuer::is_protected;
use super::qr;
use super::reporter::{Event, Reporter, typed_line};

/// Lines that the QR code leaves for what stands around it.
const LINES_AROUND: usize = 3;
/// How many numbers may be typed; fewer are left after a wrong one.
const TRIES: u8 = 3;
/// To the first column, and the line is empty.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Tells a person what to do on `out`, and what is wrong on `err`. On a terminal the time left counts down in place;
/// elsewhere nothing but plain lines is written.
pub struct Screen<O, E> {
    out: O,
    err: E,
    terminal: Option<Terminal>,
    qr: bool,
    waiting: Option<String>,
}

impl Screen<io::Stdout, io::Stderr> {
    /// This process's own.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(io::stdout(), io::stderr(), Terminal::of_stdout())
    }
}

impl<O: Write, E: Write> Screen<O, E> {
    /// On `out` and `err`, `out` being a terminal or not.
    pub const fn new(out: O, err: E, terminal: Option<Terminal>) -> Self {
        Self { out, err, terminal, qr: true, waiting: None }
    }

    /// Leaves the QR code away.
    #[must_use]
    pub fn without_qr(mut self) -> Self {
        self.qr = false;
        self
    }

    fn code(&mut self, code: &Code) -> io::Result<()> {
        self.clear_countdown()?;
        if !Url::parse(&code.verification_uri).is_ok_and(|url| is_protected(&url)) {
            writeln!(
                self.err,
                "Warning: {} is not protected by https; others on the network can read or change what is entered there.",
                code.verification_uri
            )?;
        }
        writeln!(
            self.out,
            "Visit {} on any device with a browser and enter the user code: {}",
            code.verification_uri, code.user_code
        )?;
        for line in self.qr_code(code).unwrap_or_default() {
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }

    fn qr_code(&self, code: &Code) -> Option<Vec<String>> {
        let terminal = self.terminal.filter(|terminal| self.qr && terminal.unicode)?;
        let rows = usize::from(terminal.rows).checked_sub(LINES_AROUND)?;
        qr::lines(code.verification_uri_complete.as_deref()?, terminal.columns.into(), rows)
    }

    fn waiting(&mut self, left: Duration) -> io::Result<()> {
        let text = format!("Waiting for authorization… {} left", minutes(left));
        match (&self.waiting, self.terminal) {
            (None, None) => writeln!(self.out, "{text}")?,
            // Said already: another line per second would fill a log.
            (Some(_), None) => return Ok(()),
            (Some(shown), Some(_)) if *shown == text => return Ok(()),
            (_, Some(_)) => write!(self.out, "{CLEAR_LINE}{text}")?,
        }
        self.waiting = Some(text);
        self.out.flush()
    }

    /// On a terminal the countdown makes room for what comes next. Elsewhere it is a line like any other, and is said
    /// again only for a new code.
    fn clear_countdown(&mut self) -> io::Result<()> {
        if self.terminal.is_some() && self.waiting.take().is_some() {
            write!(self.out, "{CLEAR_LINE}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn problem(&mut self, text: &str) -> io::Result<()> {
        self.clear_countdown()?;
        writeln!(self.err, "{text}")?;
        self.err.flush()
    }

    /// Only those who approved know the number: whoever types it sits at this device.
    fn ask_for_number(&mut self, tries_left: Option<u8>) -> io::Result<()> {
        match tries_left {
            Some(tries) if tries < TRIES => {
                let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
                self.problem(&format!("That is not the number on the page. {tries} left."))?;
                self.ask("The number on the page: ")
            }
            _ => {
                self.clear_countdown()?;
                self.ask("Approved. Type the number that the page shows: ")
            }
        }
    }

    fn ask(&mut self, question: &str) -> io::Result<()> {
        write!(self.out, "{question}")?;
        self.out.flush()
    }

    fn signed_in(&mut self, signed_in: &SignedIn, kept_in: Option<&KeptIn>) -> io::Result<()> {
        self.clear_countdown()?;
        match signed_in.granted_scope() {
            Some(scope) if !scope.is_empty() => writeln!(self.out, "Signed in. Granted: {scope}")?,
            _ => writeln!(self.out, "Signed in.")?,
        }
        let not_granted = signed_in.not_granted();
        if let (Some(asked), [_, ..]) = (&signed_in.asked_scope, not_granted.as_slice()) {
            let quoted: Vec<_> = not_granted.iter().map(|scope| format!("\"{scope}\"")).collect();
            let verb = if quoted.len() == 1 { "was" } else { "were" };
            writeln!(self.out, "You asked for \"{asked}\"; {} {verb} not granted.", quoted.join(", "))?;
        }
        if let Some(place) = kept_in {
            writeln!(self.out, "The token is in {place}")?;
        }
        self.out.flush()
    }
}

impl<O: Write, E: Write> Reporter for Screen<O, E> {
    fn report(&mut self, event: &Event<'_>) -> io::Result<()> {
        match *event {
            Event::Code(code) => {
                self.waiting = None;
                self.code(code)
            }
            Event::Waiting { left } => self.waiting(left),
            Event::Retrying { reason, after } => self.problem(&format!(
                "No usable answer from the server ({reason}); trying again in {} s.",
                after.as_secs()
            )),
            Event::NumberWanted { tries_left } => self.ask_for_number(tries_left),
            Event::NoNumber => self.ask("Two digits, please. The number on the page: "),
            Event::Expired => self.problem("That code has expired. Here is a new one."),
            Event::SignedIn { signed_in, kept_in } => self.signed_in(signed_in, kept_in),
            Event::Failed(error) => self.problem(&error.to_string()),
        }
    }

    fn number(&mut self) -> impl Future<Output = io::Result<Option<String>>> {
        typed_line()
    }
}

/// `14:05`, `1:00:00`.
fn minutes(time: Duration) -> String {
    // Rounded up: it reads 15:00 at first, and 0:00 when it is over.
    let seconds = time.as_millis().div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
