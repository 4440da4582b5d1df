//! Pending polls, beside a bare handler: with few, with many and with very many live codes, each polled in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hdrhistogram::Histogram;

use super::closed::{self, Turn, Verdict, Work};
use super::cpu::{Meter, memory};
use super::http::{Answer, Template};
use super::processes::Process;
use super::report::{Cost, Report, Row, median, per_second, quantiles, thousands, time};
use super::scene::Scene;
use super::settings::CONNECTIONS;
use super::{plot, stage::Codes};

/// Seconds between polls as these codes have it: the shortest. A thousand codes are polled far too fast all the same, which
/// is answered with `slow_down`, after the same work; how often that was is told.
const INTERVAL: i16 = 1;

/// Polls codes in turn.
pub struct Polling {
    codes: Codes,
    next: AtomicUsize,
    /// How many more; for a pass that asks for each once.
    left: Option<AtomicUsize>,
}

impl Polling {
    /// Again and again.
    pub fn of(codes: Codes) -> Self {
        Self { codes, next: AtomicUsize::new(0), left: None }
    }

    /// The codes again.
    pub fn into_codes(self) -> Codes {
        self.codes
    }

    /// Each once, so that the server knows them.
    pub fn once(codes: Codes) -> Self {
        let left = Some(AtomicUsize::new(codes.len()));
        Self { codes, next: AtomicUsize::new(0), left }
    }
}

impl Work for Polling {
    type Own = Template;

    fn begin(&self, _connection: usize) -> Template {
        Template::poll("")
    }

    fn next<'a>(&self, own: &'a mut Template) -> Option<&'a [u8]> {
        if let Some(left) = &self.left {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        Some(own.with(self.codes.at(turn % self.codes.len())))
    }

    fn judge(&self, answer: &Answer<'_>) -> Verdict {
        match answer.body {
            body if answer.status == 400 && body.starts_with(b"{\"error\":\"authorization_pending\"") => Verdict::Right,
            body if answer.status == 400 && body.starts_with(b"{\"error\":\"slow_down\"") => Verdict::SlowDown,
            _ => Verdict::Wrong,
        }
    }
}

/// The turns of the server and of the bare handler.
struct Turns {
    codes: usize,
    ours: Vec<Turn>,
    bare: Vec<Turn>,
    /// Bytes for each waiting code.
    memory: f64,
    /// Looks at codes that the server did not know.
    first_looks: f64,
}

impl Turns {
    fn rates(&self) -> (f64, f64) {
        (rate(&self.ours), rate(&self.bare))
    }

    fn ratio(&self) -> f64 {
        let (ours, bare) = self.rates();
        ours / bare
    }
}

fn rate(turns: &[Turn]) -> f64 {
    median(turns.iter().map(|turn| turn.rate))
}

fn quantile(turns: &[Turn], quantile: f64) -> f64 {
    median(turns.iter().map(|turn| turn.latency.value_at_quantile(quantile) as f64))
}

fn together(turns: &[Turn]) -> Histogram<u64> {
    let mut all = closed::histogram();
    for turn in turns {
        all.add(&turn.latency).unwrap();
    }
    all
}

/// Measures.
pub async fn measure(scene: &mut Scene) {
    let mut cases = Vec::new();
    for codes in scene.settings.codes {
        let case = turns(scene, codes).await;
        let (ours, bare) = case.rates();
        println!("  {} codes: {} of {}", thousands(codes as f64), per_second(ours), per_second(bare));
        cases.push(case);
    }
    let [few, usual, many] = cases.as_slice() else { return };
    rows(&mut scene.report, few, usual, many);
    curves(&mut scene.report, usual);
}

fn rows(report: &mut Report, few: &Turns, usual: &Turns, many: &Turns) {
    let name = |case: &Turns| format!("pending poll, {} live codes", thousands(case.codes as f64));
    report.rows.push(Row::at_least(&name(usual), usual.rates(), 0.6));
    let (ours, bare) = (quantile(&usual.ours, 0.99), quantile(&usual.bare, 0.99));
    report.rows.push(Row {
        work: "the same, p99 of a closed loop".to_owned(),
        ours: time(ours),
        baseline: time(bare),
        ratio: format!("{:.2}", ours / bare),
        target: "≤ 2".to_owned(),
        reached: Some(ours <= 2.0 * bare),
    });
    for case in [few, many] {
        let change = case.ratio() / usual.ratio() - 1.0;
        let mut row = Row::at_least(&name(case), case.rates(), 0.6);
        row.target = format!("within 15 % of {:.2}", usual.ratio());
        row.ratio = format!("{} ({:+.0} %)", row.ratio, change * 100.0);
        row.reached = Some(change.abs() <= 0.15);
        report.rows.push(row);
        let slowed = median(case.ours.iter().map(|turn| turn.slowed));
        report.notes.push(format!("{}: {:.0} % of the answers were `slow_down`.", name(case), slowed * 100.0));
    }
    let bytes = format!("{:.0} bytes", many.memory);
    report.rows.push(Row::alone("memory for each waiting code", bytes, "≤ 300 bytes", Some(many.memory <= 300.0)));
    report.notes.push(format!(
        "A code that this server has not seen is looked up once: {} looks of {} codes.",
        per_second(many.first_looks),
        thousands(many.codes as f64)
    ));
}

fn curves(report: &mut Report, usual: &Turns) {
    for (who, turns) in [("Countersign", &usual.ours), ("the bare handler", &usual.bare)] {
        let turn = &turns[turns.len() / 2];
        report.costs.push(Cost { work: format!("poll, {who}"), cpu: turn.cpu, driver: Some(turn.driver) });
    }
    let curves = [("Countersign", together(&usual.ours)), ("bare axum handler", together(&usual.bare))];
    let line = |(who, latency): &(&str, Histogram<u64>)| quantiles(&format!("Closed loop of polls, {who}"), latency);
    report.notes.extend(curves.iter().map(line));
    let title = "Pending polls in a closed loop of 64 connections";
    report.plots.push(("polls.svg", plot::percentiles(title, &curves)));
}

async fn turns(scene: &Scene, codes: usize) -> Turns {
    let database = scene.fresh("polls").await;
    let made = scene.stage(&database).await.pending(codes, INTERVAL).await;
    database.rest().await;
    let (server, bare) = (scene.installation.serve(&database).await, scene.installation.bare().await);
    let meter = |process: &Process| Meter { server: process.pid(), postgres: scene.cluster.pid() };
    // Whatever it takes for its connections isn't the codes'.
    let few = Arc::new(Polling::once(made.first(CONNECTIONS)));
    closed::run(server.address, CONNECTIONS, None, &meter(&server), &few).await;
    let before = memory(server.pid());
    let once = Arc::new(Polling::once(made));
    let first = closed::run(server.address, CONNECTIONS, None, &meter(&server), &once).await;
    let memory = (memory(server.pid()) - before) / codes as f64;
    let polling = Arc::new(Polling::of(Arc::into_inner(once).unwrap().into_codes()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let limit = Some(scene.settings.round);
    for _ in 0..scene.settings.rounds {
        theirs.push(closed::run(bare.address, CONNECTIONS, limit, &meter(&bare), &polling).await);
        ours.push(closed::run(server.address, CONNECTIONS, limit, &meter(&server), &polling).await);
    }
    drop((server, bare));
    scene.cluster.drop("polls").await;
    Turns { codes, ours, bare: theirs, memory, first_looks: first.rate }
}
