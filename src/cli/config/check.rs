//! `countersign config check`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::settings::SETTINGS;
use crate::config::{Place, Reading};
use crate::server::tls::Tls;

use super::super::opening::{self, EXPOSED};

/// Says what was looked at, on standard output; what is wrong is the error.
pub(super) fn run(file: Option<&Path>, reading: Reading) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    let (mut of_file, mut of_environment) = (0, 0);
    for found in SETTINGS.iter().filter_map(|setting| reading.found(setting)) {
        match found.place {
            Place::File(..) => of_file += 1,
            Place::Variable(_) | Place::NamedBy(..) => of_environment += 1,
        }
    }
    match file {
        Some(file) => writeln!(out, "{}: {}", file.display(), settings(of_file))?,
        None => writeln!(out, "no file")?,
    }
    writeln!(out, "environment: {}", settings(of_environment))?;
    writeln!(out, "defaults: {}", settings(SETTINGS.len() - of_file - of_environment))?;
    let config = reading.config()?;
    for file in &config.exposed_files {
        writeln!(out, "warning: {}: {EXPOSED}", file.display())?;
    }
    opening::places(config.geo.database.as_deref())?;
    opening::mailer(&config)?;
    if let Some((certificate, key)) = config.tls.files() {
        Tls::open(certificate, key).context("tls can't be used")?;
    }
    writeln!(out, "the configuration can be used")?;
    Ok(ExitCode::SUCCESS)
}

fn settings(count: usize) -> String {
    if count == 1 { "1 setting".to_owned() } else { format!("{count} settings") }
}
