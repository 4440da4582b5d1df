//! `countersign man`: manual pages, made of the commands.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::Cli;

/// Print the manual page, or write one per command into a directory
///
/// For example: countersign man ~/.local/share/man/man1; then: man countersign-login
#[derive(Args, Debug)]
pub struct ManArgs {
    /// A directory, which is made where it isn't there
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints or writes them.
pub fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &args.directory {
        let place = || format!("manual pages can't be written to {}", directory.display());
        fs::create_dir_all(directory).with_context(place)?;
        clap_mangen::generate_to(Cli::command(), directory).with_context(place)?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        io::stdout().write_all(&page)?;
    }
    Ok(ExitCode::SUCCESS)
}
