//! How fast is it, beside what it could be on the same machine at the same moment?
//!
//! Starts a PostgreSQL of its own with the durability it has by itself, the server as `countersign serve`, and as baselines a
//! bare axum handler and pgbench. docs/performance.md says what is measured and how to read it; a whole run writes its
//! tables and pictures.
//!
//! ```text
//! make bench                                     # everything, some 20 minutes; writes docs/performance.md
//! make bench PARTS="polls tokens"                # some of polls, authorization, tokens, open, idle, held; only shows
//! BENCH_QUICK=1 make bench                       # everything for a moment: whether it works, not how fast it is
//! BENCH_SECONDS=60 BENCH_RATE=5000 make bench PARTS=open
//! BENCH_WRITE=1 or =0                            # writes, or doesn't, whatever was measured
//! ```
//!
//! One thread drives: it costs less than two that wake each other, and shares the cores with what it measures.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement on a screen; one that can't go on has failed"
)]

mod authorization;
mod bare;
mod browser;
mod closed;
mod cpu;
mod database;
mod held;
mod http;
mod idle;
mod logins;
mod machine;
mod open;
mod pgbench;
mod plot;
mod pollers;
mod polls;
mod processes;
mod report;
mod scene;
mod settings;
mod stage;
mod tokens;

use std::path::Path;
use std::process::ExitCode;

use scene::Scene;
use settings::Settings;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, bare, address] = arguments.as_slice()
        && bare == bare::ARGUMENT
    {
        bare::serve(address.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let settings = Settings::read();
    held::raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(settings))
}

async fn measure(settings: Settings) -> ExitCode {
    let writes = settings.writes;
    let mut scene = Scene::set_up(settings).await;
    for part in settings::PARTS {
        if !scene.settings.wants(part) {
            continue;
        }
        println!("{part}");
        match part {
            "polls" => polls::measure(&mut scene).await,
            "authorization" => authorization::measure(&mut scene).await,
            "tokens" => tokens::measure(&mut scene).await,
            "open" => open::measure(&mut scene).await,
            "idle" => idle::measure(&mut scene).await,
            _ => held::measure(&mut scene).await,
        }
    }
    scene.report.print();
    if writes {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let about = machine::description(&scene).await;
        scene.report.write(&docs, &about);
        println!("\nWritten to docs/performance.md");
    }
    let complaints = std::fs::read_to_string(scene.installation.log()).unwrap_or_default();
    if !complaints.is_empty() {
        let last: Vec<&str> = complaints.lines().rev().take(10).collect();
        println!("\nThe servers said, at last:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    scene.end().await;
    ExitCode::SUCCESS
}
