//! `countersign health`: for supervisors that run a command instead of asking by HTTP, such as Docker's health checks. The
//! image has no other program that could.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use url::Url;

use super::opening;

/// How long the answer may take: it has two seconds to look at the database.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Ask a server of this machine whether it is well
///
/// Exit code 0 when it runs and answers. With --ready: when requests should go to it, which they shouldn't while the
/// database is away. Nobody should start it anew for that.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where it tells [default: telemetry.listen of the configuration, on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Whether requests should go to it
    #[arg(long)]
    ready: bool,
    /// The configuration [default: countersign.toml, if it is there]
    #[arg(long, env = "COUNTERSIGN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Asks.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let base = if let Some(url) = args.url {
        url
    } else {
        let listen = opening::configuration(args.config.as_deref())?.telemetry.listen;
        let listen = listen.context("telemetry.listen is not set, so that nobody tells: set it, or say --url")?;
        Url::parse(&format!("http://{}", reached(listen)))?
    };
    let url = base.join(if args.ready { "/healthz/ready" } else { "/healthz/live" })?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().redirect(reqwest::redirect::Policy::none());
    let answer = client.build()?.get(url.clone()).send().await.with_context(|| format!("{url} doesn't answer"))?;
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        bail!("{url} says {status}: {}", answer.text().await.unwrap_or_default().trim());
    }
    Ok(ExitCode::SUCCESS)
}

/// Where somebody of this machine reaches it.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
