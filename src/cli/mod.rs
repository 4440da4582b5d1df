//! The command line: one file per command.

mod admin;
pub mod apply;
mod audit;
mod completions;
mod config;
mod dev;
pub mod doctor;
mod environment;
mod health;
mod kept;
mod keys;
mod login;
mod logout;
mod man;
mod moment;
mod open_files;
mod opening;
mod person;
mod rekey;
mod reset_mfa;
mod reset_password;
mod secret_input;
mod serve;
mod setup;
mod sockets;
mod status;
mod stopping;
mod token;
mod whoami;

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
    Dev(dev::Args),
    Serve(serve::Args),
    Config(config::Args),
    Doctor(doctor::Args),
    Setup(setup::Args),
    Apply(apply::Args),
    #[command(visible_alias = "key")]
    Keys(keys::Args),
    Rekey(rekey::Args),
    Health(health::Args),
    ResetMfa(reset_mfa::Args),
    ResetPassword(reset_password::Args),
    Audit(audit::Args),
    Login(login::LoginArgs),
    Token(token::TokenArgs),
    Whoami(whoami::WhoamiArgs),
    Status(status::StatusArgs),
    Logout(logout::LogoutArgs),
    Org(admin::OrgArgs),
    Service(admin::ServiceArgs),
    Provider(admin::ProviderArgs),
    User(admin::UserArgs),
    Session(admin::SessionArgs),
    Grant(admin::GrantArgs),
    Webhook(admin::WebhookArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs the command to its end and says how it ended.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("Can't start: {error}.")),
    };
    let code = runtime.block_on(async {
        let outcome = match cli.command {
            Command::Dev(args) => Box::pin(dev::run(args)).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Config(args) => config::run(args),
            Command::Doctor(args) => Box::pin(doctor::run(args)).await,
            Command::Setup(args) => setup::run(args).await,
            Command::Apply(args) => apply::run(args).await,
            Command::Keys(args) => keys::run(args).await,
            Command::Rekey(args) => rekey::run(args).await,
            Command::Health(args) => health::run(args).await,
            Command::ResetMfa(args) => reset_mfa::run(args).await,
            Command::ResetPassword(args) => reset_password::run(args).await,
            Command::Audit(args) => audit::run(args).await,
            Command::Login(args) => Ok(login::run(args).await),
            Command::Token(args) => Ok(token::run(args).await),
            Command::Whoami(args) => Ok(whoami::run(args).await),
            Command::Status(args) => Ok(status::run(args).await),
            Command::Logout(args) => Ok(logout::run(args).await),
            Command::Org(args) => Ok(admin::org(args).await),
            Command::Service(args) => Ok(admin::service(args).await),
            Command::Provider(args) => Ok(admin::provider(args).await),
            Command::User(args) => Ok(admin::user(args).await),
            Command::Session(args) => Ok(admin::session(args).await),
            Command::Grant(args) => Ok(admin::grant(args).await),
            Command::Webhook(args) => Ok(admin::webhook(args).await),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        };
        // With its causes, on as few lines as they have.
        outcome.unwrap_or_else(|error| fail(&format!("countersign: {error:#}")))
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
