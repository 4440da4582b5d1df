//! This machine: open files, disk, and what the server tells here of its own health.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustix::process::{Resource, getrlimit};

use crate::config::Config;

use super::super::open_files::ENOUGH;
use super::finding::{Finding, Verdict};

const FILES: &str = "open files";
const DISK: &str = "disk";
const TELEMETRY: &str = "telemetry";

const PATIENCE: Duration = Duration::from_secs(5);

const MEBIBYTE: u64 = 1024 * 1024;
/// Below this PostgreSQL may stop at any moment.
const FULL: u64 = 256 * MEBIBYTE;
/// Below this it will, some day soon.
const SCARCE: u64 = 2048 * MEBIBYTE;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    vec![open_files().of(FILES), disk(config).of(DISK), telemetry(config.telemetry.listen).await.of(TELEMETRY)]
}

/// Of this process, which has the server's limit only where it is started the same way.
fn open_files() -> Verdict {
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < ENOUGH => Verdict::warning(
            format!("a process may have {limit} open files, and each held poll is one"),
            "raise LimitNOFILE= of the service, ulimit -Hn, or the container's limit",
        ),
        Some(limit) => Verdict::ok(format!("a process may have {limit}")),
        None => Verdict::ok("a process may have any number"),
    }
}

/// Where the managed PostgreSQL keeps its files.
fn disk(config: &Config) -> Verdict {
    if config.database.url.is_some() {
        return Verdict::skipped("the database is elsewhere");
    }
    let elsewhere = std::fs::read_to_string(config.data_dir.join("postgres-location")).ok();
    let directory = elsewhere.as_deref().map_or_else(|| config.data_dir.as_path(), |path| Path::new(path.trim()));
    match rustix::fs::statvfs(directory) {
        Ok(disk) => room(disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_favail, disk.f_files),
        Err(error) => {
            let mend = "start countersign serve once, which makes it, or run the doctor as its account";
            Verdict::warning(format!("{} can't be looked at: {error}", directory.display()), mend)
        }
    }
}

fn room(bytes: u64, files: u64, of_files: u64) -> Verdict {
    let mend = "make room on the disk of data_dir, or give it a larger one; docs/operations.md says what grows";
    let says = format!("{} MiB are free", bytes / MEBIBYTE);
    // Some file systems have no fixed number of files, and say 0.
    if bytes < FULL || (of_files > 0 && files < 1000) {
        Verdict::failure(format!("the disk of the database is full: {says}, and {files} files"), mend)
    } else if bytes < SCARCE {
        Verdict::warning(format!("the disk of the database is nearly full: {says}"), mend)
    } else {
        Verdict::ok(says)
    }
}

async fn telemetry(listen: Option<SocketAddr>) -> Verdict {
    let Some(listen) = listen else { return Verdict::skipped("telemetry.listen is not set") };
    let mut at = listen;
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let Ok(client) = Client::builder().no_proxy().timeout(PATIENCE).build() else {
        return Verdict::failure("there is no HTTP client", "install the system's CA certificates");
    };
    match client.get(format!("http://{at}/healthz/ready")).send().await.map(|answer| answer.status()) {
        Ok(StatusCode::OK) => Verdict::ok(format!("the server at {at} says that it is ready")),
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Verdict::failure(
            format!("the server at {at} says that it is not ready"),
            format!("ask it why: curl http://{at}/healthz/ready"),
        ),
        Ok(status) => Verdict::failure(
            format!("{at} answers {status}"),
            "give telemetry.listen a port of its own: something else has this one",
        ),
        Err(_) => Verdict::failure(
            format!("no server answers at {at}"),
            "start countersign serve on this machine, with this telemetry.listen",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Outcome;
    use super::*;

    #[test]
    fn a_disk_is_told_of_before_it_is_full() {
        let outcome = |mebibytes: u64, files| room(mebibytes * MEBIBYTE, files, 1_000_000).outcome;
        assert_eq!(outcome(5000, 500_000), Outcome::Ok);
        assert_eq!(outcome(2000, 500_000), Outcome::Warning);
        assert_eq!(outcome(200, 500_000), Outcome::Failure);
        assert_eq!(outcome(5000, 10), Outcome::Failure);
        assert_eq!(room(5000 * MEBIBYTE, 0, 0).outcome, Outcome::Ok);
    }
}
