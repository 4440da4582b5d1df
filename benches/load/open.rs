//! The open loop: so many polls, new codes and approvals a second, whatever the server does.
//!
//! Each request has a moment at which it is due, and its time counts from there, not from when it could be sent. In a closed
//! loop a server that stops for a second delays one request of each connection and is not asked the others; here all that
//! would have come within that second are late, and are seen to be (Tene's "coordinated omission").
//!
//! Before it, the same polls come alone, to the server and to the bare handler: what is left of the machine for logins.
//!
//! A thread of its own says every millisecond what is due, so polls come 20 at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::closed::{histogram, nanos};
use super::cpu::{Meter, memory};
use super::logins::{Logins, Step};
use super::pollers::{self, Pollers};
use super::polls::Polling;
use super::processes::Process;
use super::report::{Cost, Row, quantiles, thousands, time};
use super::scene::Scene;
use super::stage::{Codes, INTERVAL};
use super::{closed, plot};

/// New codes in a second. Every other one is approved.
const NEW_CODES: u64 = 100;

/// What is due at a moment.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    polls: u64,
    codes: u64,
}

/// What was measured.
pub struct Measured {
    /// Of all polls.
    pub latency: Histogram<u64>,
    /// Of those that were due in each second.
    pub seconds: Vec<Histogram<u64>>,
    /// What went wrong.
    pub errors: Vec<String>,
    /// How late the driver itself was to begin.
    pub late: Histogram<u64>,
}

impl Measured {
    /// Nothing yet, for so long.
    pub fn for_seconds(seconds: usize) -> Self {
        let short = || Histogram::new_with_bounds(1000, 60_000_000_000, 2).unwrap();
        let seconds = (0..seconds).map(|_| short()).collect();
        Self { latency: histogram(), seconds, errors: Vec::new(), late: histogram() }
    }

    /// A poll that was due so long after the beginning took so long.
    pub fn poll(&mut self, due: Duration, took: Duration) {
        self.latency.saturating_record(nanos(took));
        if let Some(second) = usize::try_from(due.as_secs()).ok().and_then(|second| self.seconds.get_mut(second)) {
            second.saturating_record(nanos(took));
        }
    }
}

/// Says every millisecond what is due, from a thread whose clock is finer than a runtime's.
fn schedule(rate: u64, new_codes: u64, length: Duration) -> (Instant, mpsc::UnboundedReceiver<Due>) {
    const TICK: Duration = Duration::from_millis(1);
    let (sender, receiver) = mpsc::unbounded_channel();
    let begin = Instant::now() + Duration::from_millis(100);
    std::thread::spawn(move || {
        let ticks = u64::try_from(length.as_millis()).unwrap();
        let until = |rate: u64, tick: u64| rate * tick / 1000;
        for tick in 0..ticks {
            let at = begin + TICK * u32::try_from(tick).unwrap();
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let of = |rate| until(rate, tick + 1) - until(rate, tick);
            if sender.send(Due { at, polls: of(rate), codes: of(new_codes) }).is_err() {
                break;
            }
        }
    });
    (begin, receiver)
}

/// The polls of so long, while nobody logs in.
async fn alone(server: &Process, postgres: u32, codes: Codes, rate: u64, length: Duration) -> Alone {
    let (meter, seconds) = (Meter { server: server.pid(), postgres }, length.as_secs());
    let connections = pollers::connect(server.address).await;
    let (begin, mut due) = schedule(rate, 0, length);
    let pollers = Pollers::start(server.address, connections, codes, begin, usize::try_from(seconds).unwrap());
    let before = meter.read();
    while let Some(Due { at, polls, .. }) = due.recv().await {
        pollers.due(at, polls);
    }
    let cpu = (meter.read() - before).per((rate * seconds) as f64);
    let Measured { latency, errors, .. } = pollers.finish().await;
    assert!(errors.is_empty(), "{}", errors[0]);
    Alone { latency, cpu }
}

/// Polls without logins.
struct Alone {
    latency: Histogram<u64>,
    cpu: super::cpu::Cpu,
}

/// Measures.
pub async fn measure(scene: &mut Scene) {
    let database = scene.fresh("open").await;
    let codes = scene.stage(&database).await.pending(scene.settings.codes[1], INTERVAL).await;
    database.rest().await;
    let server = scene.installation.serve(&database).await;
    let meter = Meter { server: server.pid(), postgres: scene.cluster.pid() };
    // The server knows every code before it begins, as one that runs for a while does.
    let once = Arc::new(Polling::once(codes));
    closed::run(server.address, super::settings::CONNECTIONS, None, &meter, &once).await;
    let codes = Arc::into_inner(once).unwrap().into_codes();
    let (rate, shortly) = (scene.settings.rate, (scene.settings.open / 10).max(Duration::from_secs(5)));
    let postgres = scene.cluster.pid();
    let bare = {
        let process = scene.installation.bare().await;
        alone(&process, postgres, codes.first(codes.len()), rate, shortly).await
    };
    let ours = alone(&server, postgres, codes.first(codes.len()), rate, shortly).await;
    let logins = Logins::sign_in(server.address).await;

    let length = scene.settings.open;
    let seconds = usize::try_from(length.as_secs()).unwrap();
    let connections = pollers::connect(server.address).await;
    let (begin, mut due) = schedule(rate, NEW_CODES, length);
    let pollers = Pollers::start(server.address, connections, codes, begin, seconds);
    let (before, mut tasks) = (meter.read(), JoinSet::new());
    let mut asked = 0_u64;
    while let Some(Due { at, polls, codes }) = due.recv().await {
        pollers.due(at, polls);
        for _ in 0..codes {
            asked += 1;
            let step = if asked.is_multiple_of(2) { Step::Approved } else { Step::Left };
            tasks.spawn(logins.clone().run(at, step, pollers.clone(), asked));
        }
        while tasks.try_join_next().is_some() {}
    }
    let (spent, resident) = (meter.read() - before, memory(server.pid()));
    while tasks.join_next().await.is_some() {}
    let measured = pollers.finish().await;
    show_alone(scene, &ours, &bare, shortly);
    show(scene, measured, &logins, (seconds as f64, spent.per(rate as f64 * seconds as f64), resident));
    drop(server);
    scene.cluster.drop("open").await;
}

fn show_alone(scene: &mut Scene, ours: &Alone, bare: &Alone, length: Duration) {
    let (rate, report) = (scene.settings.rate as f64, &mut scene.report);
    let p99 = |alone: &Alone| alone.latency.value_at_quantile(0.99) as f64;
    report.rows.push(Row {
        work: format!("open loop, {} polls/s alone, {} s, p99", thousands(rate), length.as_secs()),
        ours: time(p99(ours)),
        baseline: time(p99(bare)),
        ratio: format!("{:.2}", p99(ours) / p99(bare)),
        target: String::new(),
        reached: None,
    });
    for (who, alone) in [("Countersign", ours), ("the bare handler", bare)] {
        report.notes.push(quantiles(&format!("Open loop, polls alone, {who}"), &alone.latency));
        let (work, driver) = (format!("poll alone in the open loop, {who}"), Some(alone.cpu.driver * rate));
        report.costs.push(Cost { work, cpu: alone.cpu, driver });
    }
}

fn show(scene: &mut Scene, measured: Measured, logins: &Logins, (seconds, cpu, resident): (f64, super::cpu::Cpu, f64)) {
    let (rate, report) = (scene.settings.rate, &mut scene.report);
    let told = logins.told();
    let what = format!(
        "open loop, {} polls/s, {NEW_CODES} new codes/s, {} approvals/s, {seconds:.0} s",
        thousands(rate as f64),
        NEW_CODES / 2
    );
    let errors = measured.errors.len() + told.errors.len();
    let done = format!(
        "{} polls, {} codes, {} approvals",
        thousands(measured.latency.len() as f64),
        told.codes.len(),
        told.approvals.len()
    );
    report.rows.push(Row::alone(&format!("{what}: errors"), format!("{errors} ({done})"), "0", Some(errors == 0)));
    let p99 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) as f64;
    let polls = p99(&measured.latency);
    report.rows.push(Row::alone("its polls, p99", time(polls), "< 5 ms", Some(polls < 5e6)));
    let approvals = p99(&told.approvals);
    report.rows.push(Row::alone(
        "approve to token, p99, from sending the form",
        time(approvals),
        "< 50 ms",
        Some(approvals < 5e7),
    ));
    let line = |name: &str, latency: &Histogram<u64>| quantiles(&format!("Open loop, {name}"), latency);
    let first: Vec<&String> = measured.errors.iter().chain(&told.errors).take(5).collect();
    report.notes.extend([
        line("polls", &measured.latency),
        line("requests for codes", &told.codes),
        line("approve to token, from sending the form", &told.approvals),
        line("approve to token, from the form's answer", &told.from_answers),
        line("how late the driver was to send", &measured.late),
        format!("Open loop: the server had {:.0} MB at its end.", resident / 1e6),
    ]);
    report.notes.extend(first.into_iter().map(|error| format!("Open loop, an error: {error}")));
    report.costs.push(Cost {
        work: "poll in the open loop, logins included".to_owned(),
        cpu,
        driver: Some(cpu.driver * rate as f64),
    });
    let title = format!("Polls in the open loop, {} a second", thousands(rate as f64));
    report.plots.push(("open-loop.svg", plot::over_time(&title, &measured.seconds)));
    let curves = [("poll", measured.latency), ("request for a code", told.codes), ("approve to token", told.approvals)];
    report
        .plots
        .push(("open-loop-percentiles.svg", plot::percentiles("The open loop, from the moment each was due", &curves)));
}
