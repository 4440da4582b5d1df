//! Where it was measured.

use std::fs;
use std::process::Command;

use super::processes::DATABASE_CONNECTIONS;
use super::report::list;
use super::scene::Scene;
use super::settings::CONNECTIONS;
use super::stage;

/// The first value of a field in a file of /proc.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// A list of what this run was made on, for docs/performance.md.
pub async fn description(scene: &Scene) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1_048_576.0;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lines = [
        format!("measured on {}", stage::now().format("%Y-%m-%d")),
        format!(
            "{cores} cores of {}, for everything together: server, PostgreSQL and what drives them",
            field("/proc/cpuinfo", "model name")
        ),
        format!("{memory:.0} GiB of memory, Linux {}", kernel.trim()),
        format!("Countersign {}, {}", env!("CARGO_PKG_VERSION"), said("rustc", &["--version"])),
        format!("{}; the server opens {DATABASE_CONNECTIONS} connections", scene.cluster.described().await),
        format!("pgbench with {CONNECTIONS} clients, prepared statements, on its own database of the same PostgreSQL"),
        format!(
            "{} turns of {:?} for each closed loop and its baseline, one after the other; medians of the turns",
            scene.settings.rounds, scene.settings.round
        ),
    ];
    list(&lines)
}
