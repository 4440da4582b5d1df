//! The command line: one file per command.

mod apply;
mod login;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Device login for your own tools: a self-hosted OAuth 2.0 authorization server (RFC 8628).
#[derive(Debug, Parser)]
#[command(name = "countersign", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Login(login::LoginArgs),
}

/// Runs the command to its end and says how it ended.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("Can't start: {error}.")),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Login(args) => login::run(args).await,
        }
    });
    // A name lookup that hangs must not hold up an exit that a person asked for.
    runtime.shutdown_background();
    code
}

/// Says on standard error why the command can't go on.
fn fail(message: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "{message}"));
    ExitCode::FAILURE
}
