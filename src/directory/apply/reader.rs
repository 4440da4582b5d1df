//! One table of a file, read key by key.
//!
//! A derived `Deserialize` would end at the first fault. Here every fault of every key is noted with its line, unknown
//! keys included, so that a file is mended in one go.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::secrets::SecretText;

use super::fault::{Fault, Where, did_you_mean};

/// Where a secret is: never in the file itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretSource {
    /// `{ env = "NAME" }`: an environment variable.
    Env(String),
    /// `{ file = "path" }`: a file, of which a relative path starts beside the file that names it.
    File(PathBuf),
}

/// How the secret of a source is had; the error says in words why not.
pub type SecretLookup<'a> = dyn Fn(&SecretSource) -> Result<SecretText, String> + 'a;

/// So many faults of a file are told: nobody mends more in one go, and to tell endlessly many of a long file would take for ever.
const MOST_FAULTS: usize = 200;

/// So many signs of a place are told.
const LONGEST_PLACE: usize = 300;

/// A file being read, and what was found wrong with it so far.
pub(super) struct Document<'a> {
    name: &'a str,
    text: &'a str,
    /// Where its lines end.
    breaks: Vec<usize>,
    secrets: &'a SecretLookup<'a>,
    faults: RefCell<Vec<Fault>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(name: &'a str, text: &'a str, secrets: &'a SecretLookup<'a>) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { name, text, breaks, secrets, faults: RefCell::default() }
    }

    /// The whole file as a table; `None` when it is no TOML, which is noted. What could be guessed of such a file
    /// would have faults of its own that its author never made.
    pub(super) fn parse(&self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            // Its Display would quote the line, and there may be a secret in it.
            self.fault(error.span().map_or(0, |span| span.start), String::new(), "", error.message().to_owned());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// Notes a fault at a byte of the text.
    pub(super) fn fault(&self, at: usize, place: String, key: &str, message: String) {
        let told = self.faults.borrow().len();
        let (key, message) = match told {
            ..MOST_FAULTS => (key, message),
            MOST_FAULTS => ("", "there is more that is wrong: mend this first".to_owned()),
            _ => return,
        };
        let line = self.line(at);
        self.faults.borrow_mut().push(Fault { file: self.name.to_owned(), line, place, key: key.to_owned(), message });
    }

    /// Whether so much is wrong that nothing more is told.
    fn is_full(&self) -> bool {
        self.faults.borrow().len() > MOST_FAULTS
    }

    /// The line of a byte of the text, counted from 1.
    fn line(&self, at: usize) -> usize {
        1 + self.breaks.partition_point(|end| *end < at)
    }

    /// Everything that was found wrong, in the order of the lines.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| fault.line);
        faults
    }
}

/// A table being read. Which keys it was asked for is remembered: at the end, all others are unknown.
pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    /// Where the table begins.
    at: usize,
    place: String,
    asked: Vec<&'static str>,
}

/// What stands beside a name.
pub(super) enum Entry<'a> {
    /// Words.
    Words(String),
    /// More than words.
    Table(Reader<'a>),
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document<'a>, table: &'a DeTable<'a>, at: usize, place: String) -> Self {
        Self { document, table, at, place, asked: Vec::new() }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Says what this table is about, once that is known: with a name that is too long for one, its beginning. Everything in it is told
    /// with its place.
    pub(super) fn set_place(&mut self, place: &str) {
        self.place = place.chars().take(LONGEST_PLACE).collect();
    }

    /// Where this table stands.
    pub(super) fn stands(&self) -> Where {
        let (file, line) = (self.document.name.to_owned(), self.document.line(self.at));
        Where { file, line, place: self.place.clone() }
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key that may be missing; a faulty one is noted and counts as missing.
    pub(super) fn get<T: DeserializeOwned, U>(
        &mut self,
        key: &'static str,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        let value = self.value(key)?;
        let read = T::deserialize(ValueDeserializer::from(value.clone())).map_err(|error| error.message().to_owned());
        match read.and_then(check) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(key, &format!(": {message}"));
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn require<T: DeserializeOwned, U>(
        &mut self,
        key: &'static str,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        if !self.has(key) {
            self.fault(key, " is missing");
        }
        self.get(key, check)
    }

    /// The tables of `[[key]]`, each with the byte at which it begins.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(usize, &'a DeTable<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let tables: Option<Vec<_>> = value.get_ref().as_array().and_then(|items| {
            items.iter().map(|item| item.get_ref().as_table().map(|table| (item.span().start, table))).collect()
        });
        tables.unwrap_or_else(|| {
            self.fault(key, &format!(": each one begins with [[…{key}]]"));
            Vec::new()
        })
    }

    /// A table of names, each with words or a table of its own, in its order. `thing` is what has such a name.
    pub(super) fn entries(&mut self, key: &'static str, thing: &str, example: &str) -> Vec<(String, Entry<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let entry = |name: &str, value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::String(words) => Some(Entry::Words(words.to_string())),
            DeValue::Table(table) => {
                let place = format!("{}, {thing} {name:?}", self.place).chars().take(LONGEST_PLACE).collect();
                Some(Entry::Table(Reader::new(self.document, table, value.span().start, place)))
            }
            _ => None,
        };
        let entries: Option<Vec<_>> = value.get_ref().as_table().and_then(|table| {
            let entries = table.iter().map(|(name, value)| {
                let name = name.get_ref().to_string();
                let entry = entry(&name, value)?;
                Some((name, entry))
            });
            entries.collect()
        });
        entries.unwrap_or_else(|| {
            self.fault(key, &format!(" must be a table of names and words, such as {example}"));
            Vec::new()
        })
    }

    /// A secret, from where the file says that it is. One that stands in the file itself is refused.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        check: impl FnOnce(&SecretText) -> Result<(), String>,
    ) -> Option<SecretText> {
        let value = self.value(key)?;
        let secret = self.secret_source(value).and_then(|source| (self.document.secrets)(&source)).and_then(|secret| {
            let checked = if secret.expose().is_empty() { Err("it is empty".to_owned()) } else { check(&secret) };
            checked.map(|()| secret)
        });
        secret.map_err(|message| self.fault(key, &format!(": {message}"))).ok()
    }

    /// Reads `{ env = "NAME" }` or `{ file = "path" }`. No message repeats what stands there.
    fn secret_source(&self, value: &Spanned<DeValue<'_>>) -> Result<SecretSource, String> {
        const FORM: &str = "{ env = \"NAME\" } or { file = \"path\" }";
        let Some(table) = value.get_ref().as_table() else {
            return Err(format!(
                "a secret doesn't stand in this file, because files like this one are shared, committed and copied; \
                 say where it is, as {FORM}"
            ));
        };
        let mut keys = table.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref().as_str()));
        match (keys.next(), keys.next()) {
            (Some(("env", Some(name))), None) if !name.is_empty() => Ok(SecretSource::Env(name.to_owned())),
            (Some(("file", Some(path))), None) if !path.is_empty() => {
                let beside = Path::new(self.document.name).parent().unwrap_or_else(|| Path::new(""));
                Ok(SecretSource::File(beside.join(path)))
            }
            _ => Err(format!("where the secret is can't be understood; it is {FORM}")),
        }
    }

    /// Notes a fault of a key, at its line when it is there; `message` goes on after the key.
    pub(super) fn fault(&self, key: &str, message: &str) {
        let at = self.table.get(key).map_or(self.at, |value| value.span().start);
        self.document.fault(at, self.place.clone(), key, format!("{key}{message}"));
    }

    /// Whether it makes no difference what else is wrong.
    pub(super) fn is_full(&self) -> bool {
        self.document.is_full()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn end(self) {
        for (key, _) in self.table {
            if self.is_full() {
                break;
            }
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let hint = did_you_mean(name, self.asked.iter().copied());
                let message = format!("unknown key {name:?}{hint}");
                self.document.fault(key.span().start, self.place.clone(), name, message);
            }
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.get(key)
    }
}
