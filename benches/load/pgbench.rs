//! The baseline of what is written: pgbench with the same statements, as fast as PostgreSQL alone does them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use tokio::process::Command;

use super::cpu::{Cpu, Meter};
use super::database::Database;
use super::settings::CONNECTIONS;

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// So long.
    Time(Duration),
    /// So many transactions of each client.
    Each(usize),
}

/// What pgbench told.
pub struct Told {
    /// Transactions in a second.
    pub rate: f64,
    /// How many transactions.
    pub count: f64,
    /// Processor time for each.
    pub cpu: Cpu,
}

/// Runs a script with these variables.
pub async fn run(
    database: &Database,
    script: &Path,
    variables: &[(&str, String)],
    amount: Amount,
    meter: &Meter,
) -> Told {
    let options = sqlx::postgres::PgConnectOptions::from_url(&database.server_url.parse().unwrap()).unwrap();
    let mut command = Command::new(program(*meter));
    let clients = CONNECTIONS.to_string();
    command.args(["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-f"]).arg(script);
    command.arg("-h").arg(options.get_socket().unwrap()).args(["-p", &options.get_port().to_string()]);
    command.args(["-U", options.get_username()]);
    match amount {
        Amount::Time(time) => command.args(["-T", &time.as_secs().max(1).to_string()]),
        Amount::Each(count) => command.args(["-t", &count.to_string()]),
    };
    for (name, value) in variables {
        command.arg("-D").arg(format!("{name}={value}"));
    }
    command.arg(options.get_database().unwrap()).stdin(Stdio::null());
    let before = meter.read();
    let output = command.output().await.unwrap();
    let spent = meter.read() - before;
    let (told, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "pgbench: {complaint}");
    let number = |begins: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(begins)).unwrap_or_else(|| panic!("{told}"));
        line.trim().split([' ', '/']).next().unwrap().parse::<f64>().unwrap()
    };
    let count = number("number of transactions actually processed:");
    assert!(number("number of failed transactions:") < 1.0, "{told}{complaint}");
    Told { rate: number("tps ="), count, cpu: spent.per(count) }
}

/// Beside the server that runs, or in `PATH`.
fn program(meter: Meter) -> PathBuf {
    let server = std::fs::read_link(format!("/proc/{}/exe", meter.postgres)).unwrap_or_default();
    let beside = server.with_file_name("pgbench");
    if beside.exists() { beside } else { PathBuf::from("pgbench") }
}
