//! `countersign config`: looks at the configuration, and at nothing else.

mod check;
mod show;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Reading, process_environment, schema};

use super::opening;

/// Check and show the configuration
///
/// Reads countersign.toml and COUNTERSIGN_… as `countersign serve` does, and connects to nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The configuration [default: countersign.toml, if it is there]
    #[arg(long, env = "COUNTERSIGN_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Say whether it can be used, and everything that is wrong with it
    Check,
    /// Show each setting with its value and where it comes from; secrets are masked
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of countersign.toml, for editors
    Schema,
}

/// Looks.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { action, config } = args;
    let file = opening::configuration_file(config.as_deref());
    let read = || Reading::of(file.as_deref(), process_environment());
    match action {
        Action::Check => check::run(file.as_deref(), read()),
        Action::Show { json } => show::run(&read(), json),
        Action::Schema => {
            writeln!(io::stdout(), "{:#}", schema::schema())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
