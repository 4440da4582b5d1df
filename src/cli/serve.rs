//! `countersign serve`: the server, as configured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::{Config, is_open_to_all, process_environment};
use crate::http::client_address::TrustedProxies;
use crate::notice::mail::Mailer;
use crate::postgres::roles;
use crate::server::tls::Tls;
use crate::server::{Server, Settings};
use crate::session::signing_keys::life;
use crate::telemetry;
use crate::telemetry::traces::{Traces, Unwanted, Wanted};

use super::dev::demo;
use super::open_files;
use super::opening::{self, EXPOSED};
use super::setup;
use super::sockets::Sockets;
use super::stopping::{End, end_at_once_when_asked_again, end_of};

/// Run the server
///
/// Reads countersign.toml and COUNTERSIGN_… from the environment; docs/configuration.md lists every setting.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: countersign.toml, if it is there]
    #[arg(long, env = "COUNTERSIGN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Serves until it is asked to stop.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = opening::configuration(args.config.as_deref())?;
    let traces = traces(&config)?;
    warn_of_reach(&config, config.listen);
    // First of all: a port that is taken, or may not be used, is told before anything is made.
    let sockets = Sockets::open(config.listen, config.telemetry.listen).await?;
    let places = opening::places(config.geo.database.as_deref())?;
    let tls = config.tls.files().map(certificate).transpose()?;
    let mailer = opening::mailer(&config)?;
    let mut opened = opening::for_server(&config).await?;
    if let Err(error) = demo::refuse(&opened.installation).await {
        opened.close().await?;
        return Err(error);
    }
    if config.public_url.is_secure() && config.trusted_proxies.is_empty() && tls.is_none() {
        tracing::warn!(
            "trusted_proxies is empty, and something in front must speak TLS: its address will be everybody's"
        );
    }
    if roles::may_rewrite_audit(&opened.installation.pool).await? {
        tracing::warn!("the server's database role owns the audit and could rewrite it: set database.owner_url");
    }
    opened.keep_audit_for(config.retention.audit).await;
    // The socket may have been handed over.
    let listen = sockets.public.local_addr()?;
    if listen.ip() != config.listen.ip() {
        warn_of_reach(&config, listen);
    }
    if matches!(mailer, Mailer::None) {
        tracing::info!("mail is not configured: nobody gets a mail when a device is approved with their account");
    }
    for file in &config.exposed_files {
        tracing::warn!(file = %file.display(), "{EXPOSED}");
    }
    let settings = Settings {
        direct: opening::direct(&config.database)?,
        proxies: TrustedProxies::from(config.trusted_proxies),
        keys: life::Policy { rotation: config.keys.rotation },
        places,
        phishing: config.phishing,
        limits: config.limits,
        retention: config.retention,
        mailer,
        drain: config.drain,
        tls,
        traced: traces.is_some(),
        ..Settings::default()
    };
    open_files::raise();
    let server = Server::new(opened.installation.clone(), settings).await?;
    let Sockets { public: listener, telemetry } = sockets;
    let server = match telemetry {
        Some(listener) => server.observed_at(listener),
        None => server,
    };
    let ending = end_of(opened.postgres.as_mut());
    tracing::info!(listen = %listener.local_addr()?, issuer = config.public_url.issuer(), "ready");
    if let Err(error) = setup::print_link(&opened.installation, &mut std::io::stdout()).await {
        tracing::warn!(%error, "no setup link can be printed; `countersign setup` makes an owner without one");
    }
    let mut end = End::Asked;
    let stop = async {
        end = ending.await;
        end_at_once_when_asked_again();
    };
    server.serve(listener, stop).await?;
    tracing::info!("every request is answered; ending");
    opened.close().await?;
    if let Some(traces) = traces {
        traces.end().await;
    }
    end.into_code()
}

/// Begins to log, and to tell a collector of requests if one is named.
fn traces(config: &Config) -> anyhow::Result<Option<Traces>> {
    let wanted = Wanted::read(process_environment());
    let traces = wanted.as_ref().ok().map(Traces::begin).transpose()?;
    telemetry::start(config.log.format, &config.log.filter, traces.as_ref());
    if let Err(Unwanted::Impossible(variable, possible)) = wanted {
        tracing::warn!("no traces: {variable} must be {possible}");
    }
    Ok(traces)
}

fn warn_of_reach(config: &Config, listen: SocketAddr) {
    if !config.public_url.is_secure() && !listen.ip().is_loopback() {
        tracing::warn!(
            %listen,
            "public_url is http://, for this machine only, but other machines may reach this address: let none of them"
        );
    }
}

fn certificate((certificate, key): (&Path, &Path)) -> anyhow::Result<Tls> {
    if is_open_to_all(key) {
        tracing::warn!(file = %key.display(), "{EXPOSED}");
    }
    Tls::open(certificate, key).context("tls can't be used")
}
