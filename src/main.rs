//! The `countersign` command.

use std::process::ExitCode;

use clap::Parser;
use countersign::cli::{self, Cli};

/// A server that answers polls makes and drops many small things, on all threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
