//! `--json`: one JSON object per event and line, for scripts and build logs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::SignedIn;
use super::credentials::KeptIn;
use super::reporter::{Event, Reporter, typed_line};

/// Writes events as JSON lines. `event` is `code`, `waiting`, `retrying`, `number`, `no_number`, `expired`, `done` or `error`; the
/// last line is always one of the last two. Never a token. The number is read from standard input, a line.
pub struct JsonLines<W> {
    out: W,
    waiting_said: bool,
}

#[derive(Serialize)]
struct Line<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    rest: T,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, flushing after each line.
    pub const fn new(out: W) -> Self {
        Self { out, waiting_said: false }
    }

    fn line(&mut self, event: &str, rest: impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &Line { event, rest })?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

impl<W: Write> Reporter for JsonLines<W> {
    fn report(&mut self, event: &Event<'_>) -> io::Result<()> {
        match *event {
            Event::Code(code) => {
                self.waiting_said = false;
                self.line("code", code)
            }
            // Once per code: a build log is no place for a countdown.
            Event::Waiting { .. } if self.waiting_said => Ok(()),
            Event::Waiting { left } => {
                self.waiting_said = true;
                self.line("waiting", json!({ "expires_in": left.as_secs() }))
            }
            Event::Retrying { reason, after } => {
                self.line("retrying", json!({ "reason": reason, "after": after.as_secs() }))
            }
            Event::NumberWanted { tries_left } => self.line("number", json!({ "tries_left": tries_left })),
            Event::NoNumber => self.line("no_number", json!({})),
            Event::Expired => self.line("expired", json!({})),
            Event::SignedIn { signed_in, kept_in } => self.line("done", done(signed_in, kept_in)),
            Event::Failed(error) => {
                self.line("error", json!({ "error": error.code(), "error_description": error.to_string() }))
            }
        }
    }

    fn number(&mut self) -> impl Future<Output = io::Result<Option<String>>> {
        typed_line()
    }
}

fn done(signed_in: &SignedIn, kept_in: Option<&KeptIn>) -> Value {
    json!({
        "issuer": signed_in.issuer,
        "client_id": signed_in.client_id,
        "scope": signed_in.granted_scope(),
        "not_granted": signed_in.not_granted(),
        "token_type": signed_in.tokens.token_type,
        "expires_in": signed_in.tokens.expires_in.map(|life| life.as_secs()),
        "kept_in": kept_in.map(KeptIn::word),
        "credentials_file": kept_in.and_then(KeptIn::file),
    })
}
