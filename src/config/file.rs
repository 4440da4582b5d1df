//! Settings from `countersign.toml`, each with its line.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::fault::{Fault, Place};
use super::kind::type_of;
use super::nearest::did_you_mean;
use super::reading::Found;
use super::settings::{self, SETTINGS, Setting};

/// What a file sets, and what is wrong with it as far as no value is looked at.
pub(super) struct FileReading {
    pub(super) found: Vec<(&'static Setting, Found)>,
    pub(super) faults: Vec<Fault>,
    /// Whether the rest of the file could be read, so that what is missing really is.
    pub(super) whole: bool,
}

/// Reads it.
pub(super) fn read(path: &Path) -> FileReading {
    let file = |line| Some(Place::File(path.to_owned(), line));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("it can't be read: {error}");
            let fault = Fault { place: file(None), key: None, what, mend: String::new() };
            return FileReading { found: Vec::new(), faults: vec![fault], whole: false };
        }
    };
    let (lines, errors) = DeTable::parse_recoverable(&text);
    let mut faults: Vec<Fault> = errors
        .iter()
        .map(|error| {
            let what = format!("this is not TOML: {}", without_values(error.message()));
            Fault {
                place: file(error.span().map(|span| line_of(&text, span.start))),
                key: None,
                what,
                mend: String::new(),
            }
        })
        .collect();
    let values = match text.parse::<Table>() {
        Ok(values) => values,
        Err(error) if faults.is_empty() => {
            let what = format!("this is not TOML: {}", without_values(error.message()));
            let place = file(error.span().map(|span| line_of(&text, span.start)));
            faults.push(Fault { place, key: None, what, mend: String::new() });
            Table::new()
        }
        Err(_) => Table::new(),
    };
    if !faults.is_empty() {
        return FileReading { found: Vec::new(), faults, whole: false };
    }
    let mut walk = Walk { path, text: &text, found: Vec::new(), faults };
    walk.table("", lines.get_ref(), &values);
    FileReading { found: walk.found, faults: walk.faults, whole: true }
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<(&'static Setting, Found)>,
    faults: Vec<Fault>,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, lines: &DeTable<'_>, values: &Table) {
        for (name, line) in lines {
            let word: &str = name.get_ref();
            let Some(value) = values.get(word) else { continue };
            let key = if section.is_empty() { word.to_owned() } else { format!("{section}.{word}") };
            let place = Place::File(self.path.to_owned(), Some(line_of(self.text, name.span().start)));
            if let Some(setting) = settings::of_key(&key) {
                self.found.push((setting, Found { value: value.clone(), place }));
                continue;
            }
            let is_section = settings::sections().any(|section| section == key);
            match (line.get_ref(), value) {
                (DeValue::Table(lines), Value::Table(values)) if is_section => self.table(&key, lines, values),
                (_, value) if is_section => self.faults.push(Fault {
                    place: Some(place),
                    what: format!("it must be a section, and not {}", type_of(value)),
                    mend: format!("write [{key}] in a line of its own, and its settings below"),
                    key: Some(key),
                }),
                _ => {
                    let sections = settings::sections().map(str::to_owned);
                    let known = SETTINGS.iter().map(|setting| setting.key.to_owned()).chain(sections);
                    let mend = did_you_mean(&key, known, "docs/configuration.md lists every setting");
                    let what = if line.get_ref().is_table() { "unknown section" } else { "unknown key" }.to_owned();
                    self.faults.push(Fault { place: Some(place), key: Some(key), what, mend });
                }
            }
        }
    }
}

/// The line of a byte, the first is 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// What was found may be a secret in the wrong place, and is not told.
fn without_values(message: &str) -> String {
    let found = message.find(['"', '`']).and_then(|at| message.split_at_checked(at));
    match (found, message.rsplit_once(", expected")) {
        (Some((before, _)), Some((_, after))) if message.starts_with("invalid ") => {
            format!("{}, expected{after}", before.trim_end())
        }
        _ => message.to_owned(),
    }
}
