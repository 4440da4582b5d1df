//! What is wrong with a file, in words and with its place.

use std::fmt;

/// One thing that is wrong with a file. Says nothing of any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// Where in the file's own terms, such as `organization "acme", service "cli"`; empty at the top.
    pub place: String,
    /// The key that it is about; empty for the file or the table as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

/// Where in the files something stands: for what is found wrong with it later.
#[derive(Clone, Debug)]
pub(super) struct Where {
    pub file: String,
    pub line: usize,
    pub place: String,
}

impl Where {
    /// What is wrong with a key there; the message goes on after it.
    pub(super) fn fault(&self, key: &str, message: &str) -> Fault {
        let Self { file, line, place } = self.clone();
        Fault { file, line, place, key: key.to_owned(), message: format!("{key}{message}") }
    }
}

/// Everything that is wrong with the files, one line each. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

/// ` (did you mean "deploy"?)` when one of the known words is near, otherwise nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// Below this likeness a suggestion confuses more than it helps.
    const NEAR: f64 = 0.8;
    /// Of how many words: comparing every word with every other takes long where there are thousands.
    const MOST: usize = 200;
    /// And how long: two long words take the product of their lengths.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return String::new();
    }
    known
        .into_iter()
        .filter(|known| known.len() <= LONGEST)
        .take(MOST)
        .map(|known| (strsim::jaro(word, known), known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or_else(String::new, |(_, known)| format!(" (did you mean {known:?}?)"))
}
