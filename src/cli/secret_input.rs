//! Secrets that a command needs: from a file, from standard input, or typed unseen. Never from an argument, which every account of
//! the machine can read.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::config::is_open_to_all;
use crate::secrets::SecretText;

use super::opening::EXPOSED;
use super::stopping::asked_to_stop;

/// More than a secret has, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Where a secret comes from.
pub enum Source {
    /// A file, without the line break at its end.
    File(PathBuf),
    /// All of standard input, likewise.
    StandardInput,
    /// Somebody at a terminal.
    Terminal,
}

impl Source {
    /// What an option says; `-` is standard input.
    pub fn of(option: Option<&Path>) -> Self {
        match option {
            None => Self::Terminal,
            Some(path) if path == Path::new("-") => Self::StandardInput,
            Some(path) => Self::File(path.to_owned()),
        }
    }
}

/// Reads a secret; at a terminal, which is asked for `what`, twice.
pub async fn read(source: &Source, what: &str) -> anyhow::Result<SecretText> {
    match source {
        Source::File(path) => of_file(path).with_context(|| format!("{} can't be read", path.display())),
        Source::StandardInput => of_standard_input().context("standard input can't be read"),
        Source::Terminal => typed_twice(what).await,
    }
}

/// A secret out of a file, without the line break at its end. A file that isn't kept private is warned of.
pub fn of_file(path: &Path) -> io::Result<SecretText> {
    if is_open_to_all(path) {
        writeln!(io::stderr(), "warning: {}: {EXPOSED}", path.display())?;
    }
    std::fs::read_to_string(path).map(|text| without_line_break(&SecretText::from(text)))
}

/// All of standard input, likewise; of what is far longer than any secret, the beginning.
pub fn of_standard_input() -> io::Result<SecretText> {
    let mut text = String::new();
    io::stdin().take(LONGEST).read_to_string(&mut text)?;
    Ok(without_line_break(&SecretText::from(text)))
}

fn without_line_break(text: &SecretText) -> SecretText {
    text.expose().trim_end_matches(['\r', '\n']).into()
}

async fn typed_twice(what: &str) -> anyhow::Result<SecretText> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask for the password: say --password-file FILE, or - for standard input");
    }
    let unseen = Unseen::begin()?;
    let asking = [format!("{what}: "), "Once more: ".to_owned()].map(|prompt| {
        // On a thread of its own: nothing wakes a read that waits for a person.
        async move { tokio::task::spawn_blocking(move || line(&prompt)).await? }
    });
    let [first, second] = asking;
    let typed = async { anyhow::Ok((first.await?, second.await?)) };
    let (first, second) = tokio::select! {
        typed = typed => typed?,
        () = asked_to_stop() => bail!("nothing was done"),
    };
    drop(unseen);
    if first.expose() != second.expose() {
        bail!("the two are not the same; nothing was done");
    }
    Ok(first)
}

fn line(prompt: &str) -> anyhow::Result<SecretText> {
    let mut out = io::stderr();
    write!(out, "{prompt}")?;
    out.flush()?;
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text)?;
    writeln!(out)?;
    Ok(without_line_break(&SecretText::from(text)))
}

/// A terminal that doesn't show what is typed, as long as this is there.
pub struct Unseen(Termios);

impl Unseen {
    /// From now on.
    pub fn begin() -> io::Result<Self> {
        let as_it_was = tcgetattr(io::stdin())?;
        let mut unseen = as_it_was.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(as_it_was))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _the_terminal_is_gone = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
