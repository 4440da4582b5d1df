//! `countersign completions`: what a shell needs to complete the commands.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::Cli;

/// The shells whose completions are tried.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Print completions for a shell
///
/// bash: countersign completions bash > ~/.local/share/bash-completion/completions/countersign
/// zsh: countersign completions zsh > a file `_countersign` in a directory of $fpath
/// fish: countersign completions fish > ~/.config/fish/completions/countersign.fish
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    shell: Known,
}

/// Prints them.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    // Not at once to the output, which may be closed in the middle.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
