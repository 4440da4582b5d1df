//! Questions to a person at a terminal, and secrets that they type without seeing them.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::secret_input::Unseen;
use crate::cli::stopping::end_of;
use crate::secrets::SecretText;

use super::failure::Failure;

/// Asks whether it is meant.
///
/// # Errors
/// When it isn't, or nobody is there to be asked.
pub async fn confirm(question: &str) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Usage(format!("error: {question} Nobody is here to be asked: say --yes if it is meant")));
    }
    let answer = ask(&format!("{question} [y/N] ")).await?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(Failure::NotConfirmed) }
}

/// Asks for a secret; what is typed isn't shown.
pub async fn secret(what: &str) -> Result<SecretText, Failure> {
    // What is no terminal shows nothing.
    let _unseen = Unseen::begin();
    let answer = ask(&format!("{what}: ")).await;
    drop(writeln!(io::stderr()));
    Ok(answer?.trim_end_matches(['\r', '\n']).into())
}

/// A line, or Ctrl-C, whichever comes first.
async fn ask(question: &str) -> Result<String, Failure> {
    // Before the question: who answers it with Ctrl-C at once is heard.
    let stop = end_of(None);
    let mut err = io::stderr();
    drop(err.write_all(question.as_bytes()).and_then(|()| err.flush()));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = read => {
            let line = line.map_err(io::Error::other).and_then(|line| line);
            line.map_err(|error| Failure::Io("Can't read the answer".to_owned(), error))
        }
        _ = stop => {
            drop(writeln!(io::stderr()));
            Err(Failure::Interrupted)
        }
    }
}
