//! `countersign config show`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::config::settings::{SETTINGS, Setting, Unset};
use crate::config::{ConfigError, Place, Reading};

/// What stands for a secret.
const MASKED: &str = "(secret)";

/// A setting as it is now.
#[derive(Debug, Serialize)]
struct Shown {
    key: &'static str,
    /// None: it has no value, or a secret one.
    value: Option<toml::Value>,
    secret: bool,
    set: bool,
    origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
enum Origin {
    Default,
    File { file: String, line: Option<usize> },
    Environment { variable: String },
    EnvironmentFile { variable: String, file: String },
}

/// Shows them; a configuration that can't be used is an error, after what could be read of it.
pub(super) fn run(reading: &Reading, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    if !reading.faults().is_empty() {
        return Err(ConfigError { faults: reading.faults().to_vec() }.into());
    }
    let shown: Vec<Shown> = SETTINGS.iter().map(|setting| look(reading, setting)).collect();
    if json {
        serde_json::to_writer_pretty(&mut out, &shown)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines: Vec<[String; 3]> =
        SETTINGS.iter().zip(&shown).map(|(setting, shown)| line(reading, setting, shown)).collect();
    let width = |column: fn(&[String; 3]) -> &String| lines.iter().map(|line| column(line).chars().count()).max();
    let (of_keys, of_values) = (width(|[key, ..]| key).unwrap_or(0), width(|[_, value, _]| value).unwrap_or(0));
    for [key, value, origin] in &lines {
        writeln!(out, "{key:of_keys$}  {value:of_values$}  {origin}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn look(reading: &Reading, setting: &Setting) -> Shown {
    let found = reading.found(setting);
    let value = match (found, setting.default) {
        (Some(found), _) => Some(found.value.clone()),
        (None, Unset::Is(literal)) => literal_value(literal),
        (None, _) => None,
    };
    Shown {
        key: setting.key,
        value: value.filter(|_| !setting.secret),
        secret: setting.secret,
        set: found.is_some(),
        origin: match found.map(|found| found.place.clone()) {
            None => Origin::Default,
            Some(Place::File(file, line)) => Origin::File { file: file.display().to_string(), line },
            Some(Place::Variable(variable)) => Origin::Environment { variable },
            Some(Place::NamedBy(variable, file)) => {
                Origin::EnvironmentFile { variable, file: file.display().to_string() }
            }
        },
    }
}

fn literal_value(literal: &str) -> Option<toml::Value> {
    let mut table: toml::Table = format!("value = {literal}").parse().ok()?;
    table.remove("value")
}

fn line(reading: &Reading, setting: &Setting, shown: &Shown) -> [String; 3] {
    let value = match (&shown.value, setting.default) {
        (Some(value), _) => value.to_string(),
        (None, _) if shown.set => MASKED.to_owned(),
        (None, Unset::None(words)) => words.replace('`', ""),
        (None, _) => String::new(),
    };
    let origin = reading.found(setting).map_or_else(|| "default".to_owned(), |found| found.place.to_string());
    [setting.key.to_owned(), value, origin]
}
