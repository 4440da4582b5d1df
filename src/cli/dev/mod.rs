//! `countersign dev`: everything on loopback, with nothing to configure.

pub mod demo;
mod person;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::Credentials;
use crate::clock::Clock;
use crate::config::PublicUrl;
use crate::notice::mail::Mailer;
use crate::server::{Server, Settings};
use crate::telemetry::{self, LogFormat};

use super::kept::StoreArgs;
use super::opening::{self, Opened};
use super::stopping::{end_at_once_when_asked_again, end_of};
use super::{apply, environment, open_files};

/// Where mails are put, in the data directory.
const MAILS: &str = "mail";

/// Run everything on this machine, with a demo organization and nothing to configure
///
/// Starts its own PostgreSQL in the data directory and stops it again. For trying out and for development: its accounts
/// and secrets are known to everybody, so it listens on loopback only.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The loopback address to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the data is kept
    #[arg(long, default_value = ".countersign", value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// Apply these files besides the demo organization
    #[arg(long, value_name = "FILE")]
    apply: Vec<PathBuf>,
    /// Log in with the reference client in this terminal, to approve in the browser
    #[arg(long)]
    login: bool,
    /// Let the demo person approve that login over HTTP, show the token's claims and end
    #[arg(long, requires = "login")]
    approve: bool,
    #[command(flatten)]
    store: StoreArgs,
    /// What to log, as in `RUST_LOG`
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    log: String,
}

/// Serves until it is asked to stop, or until the demo person is done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if !args.listen.ip().is_loopback() {
        let mut stderr = io::stderr();
        writeln!(
            stderr,
            "countersign dev listens on loopback only: everybody knows its password. Use countersign serve."
        )?;
        return Ok(ExitCode::from(2));
    }
    telemetry::start(LogFormat::Text, &args.log, None);
    open_files::raise();
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!("can't listen on {}: choose another port with --listen 127.0.0.1:PORT", args.listen)
    })?;
    let issuer = format!("http://localhost:{}", listener.local_addr()?.port());
    let mut opened = opening::for_dev(&args.data_dir, PublicUrl::parse(&issuer)?).await?;
    let outcome = Box::pin(serve(&args, &mut opened, listener)).await;
    opened.close().await?;
    outcome
}

async fn serve(args: &Args, opened: &mut Opened, listener: TcpListener) -> anyhow::Result<ExitCode> {
    let installation = &opened.installation;
    demo::set_up(installation).await?;
    if !args.apply.is_empty() {
        let file = apply::read(&args.apply, &environment::variable)?;
        apply::apply_and_audit(installation, &file, apply::AS_WRITTEN).await?;
    }
    let mails = args.data_dir.join(MAILS);
    let mailer = Mailer::directory(mails.clone()).with_context(|| format!("{} can't be made", mails.display()))?;
    let server = Server::new(installation.clone(), Settings { mailer, ..Settings::default() }).await?;
    let issuer = installation.public_url.issuer();
    let ending = end_of(opened.postgres.as_mut());
    say_what_runs(args, issuer)?;
    let (stop, done) = (CancellationToken::new(), CancellationToken::new());
    let serving = server.serve(listener, stop.clone().cancelled_owned());
    let login = async {
        let outcome = if args.login { demo::log_in(issuer, credentials(args)?, args.approve).await } else { Ok(None) };
        match outcome {
            // The login is over and nobody is here to look around.
            Ok(Some(code)) if args.approve => Ok(code),
            Ok(Some(_)) => {
                say_what_is_next(issuer)?;
                done.cancelled().await;
                Ok(ExitCode::SUCCESS)
            }
            Ok(None) => {
                done.cancelled().await;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(error),
        }
    };
    let until = async {
        let code = tokio::select! {
            end = ending => {
                end_at_once_when_asked_again();
                end.into_code()
            }
            code = login => code,
        };
        stop.cancel();
        code
    };
    let (end_of_server, outcome) = tokio::join!(serving, until);
    end_of_server?;
    outcome
}

/// Where the tokens go: where every login's do. But nobody comes for those of the demo person's own approval.
fn credentials(args: &Args) -> anyhow::Result<Credentials> {
    if args.approve { Ok(Credentials::under(&args.data_dir, Clock::system())) } else { Ok(args.store.open()?) }
}

fn say_what_is_next(issuer: &str) -> io::Result<()> {
    let (mut out, program) = (io::stdout().lock(), program());
    writeln!(out, "\nThe server goes on at {issuer}. In another terminal:")?;
    writeln!(out, "  {program} whoami {issuer}")?;
    writeln!(out, "  {program} token {issuer} --for {issuer}/auth/userinfo | curl -H @- {issuer}/auth/userinfo")?;
    writeln!(out, "Ctrl-C stops everything.")
}

/// As this program was called: it need not be where the shell looks.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "countersign".to_owned())
}

fn say_what_runs(args: &Args, issuer: &str) -> io::Result<()> {
    let data_dir = args.data_dir.display();
    let mut out = io::stdout().lock();
    writeln!(out, "Countersign, for development, at {issuer}")?;
    writeln!(out, "  approve at     {issuer}/activate")?;
    writeln!(out, "  sign in as     {} with the password {}", demo::EMAIL, demo::PASSWORD)?;
    writeln!(out, "  second factor  shown on the page (TOTP secret {})", demo::TOTP_SECRET)?;
    writeln!(out, "  client         demo-cli, scopes read, write, openid, profile, email, offline_access")?;
    writeln!(out, "  mails          in {data_dir}/{MAILS}, one for each approval")?;
    writeln!(out, "  data           {data_dir} (PostgreSQL included; delete it to begin anew)")?;
    if args.login {
        writeln!(out)
    } else {
        let program = program();
        writeln!(out, "\nNext, in another terminal:")?;
        writeln!(out, "  {program} login {issuer} --scope 'openid email read offline_access'")?;
        writeln!(out, "Ctrl-C stops everything.")
    }
}
