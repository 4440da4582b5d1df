//! Does the time of an answer tell what it doesn't say?
//!
//! A user code that nobody has, one that is over, one that another browser entered and one that is decided get the same
//! answer; so do an account that isn't there, one without a password and one whose password is another. Here each is
//! tried at least 1,000 times over loopback against a whole server with its own PostgreSQL, in random order, and two tests
//! compare every pair: Mann–Whitney (does one tend to be slower?) and Kolmogorov–Smirnov (is its distribution another?).
//!
//! Two controls keep it honest: halves of one class must be alike, and a pair that does differ must be told apart. The
//! exit code is 1 when anything is told apart that must not be, and 2 when a control fails.
//!
//! ```text
//! make bench-timing                      # 1,000 tries of each
//! cargo bench --bench timing -- 5000     # more: sees smaller differences
//! ```

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement on a screen; one that can't go on has failed"
)]

mod accounts;
mod client;
#[path = "../../tests/support/database.rs"]
mod database;
mod scene;
mod statistics;
mod user_codes;

use std::process::ExitCode;
use std::time::Duration;

use scene::Scene;
use statistics::{Comparison, compare, quantile};

/// How sure a test must be before it says that anything differs, for all comparisons of a table together.
const SIGNIFICANCE: f64 = 0.001;

/// The times of one kind of try.
pub struct Class {
    /// What it is called in a table.
    pub name: &'static str,
    /// Nanoseconds, in the order in which they were measured.
    pub times: Vec<f64>,
}

impl Class {
    /// None yet.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self { name, times: Vec::new() }
    }

    /// One more.
    pub fn took(&mut self, time: Duration) {
        self.times.push(time.as_nanos() as f64);
    }
}

/// What was measured at one address: classes that must be alike, and one that must not be like the first of them.
pub struct Table {
    /// The address.
    pub title: &'static str,
    /// What nobody may tell apart.
    pub alike: Vec<Class>,
    /// What everybody may.
    pub control: Class,
}

/// What a table says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Alike,
    ToldApart,
    Unusable,
}

fn main() -> ExitCode {
    let tries = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1000);
    let mut scene = Scene::set_up();
    let measurements = [user_codes::verify, user_codes::activate, accounts::sign_in];
    let verdicts = measurements.map(|measure| measure(&mut scene, tries).show());
    match verdicts.into_iter().max() {
        Some(Verdict::ToldApart) => {
            println!("\nSomething can be told apart that must not be.");
            ExitCode::from(1)
        }
        Some(Verdict::Unusable) => {
            println!("\nA control failed: this machine is too busy to measure, or the measurement is broken.");
            ExitCode::from(2)
        }
        _ => {
            println!("\nNothing can be told apart.");
            ExitCode::SUCCESS
        }
    }
}

impl Table {
    fn show(&self) -> Verdict {
        println!("\n{}, {} tries of each", self.title, self.alike[0].times.len());
        println!("  {:<18}{:>10}{:>10}{:>10}{:>10}", "", "lower ¼", "median", "upper ¼", "99 %");
        for class in self.alike.iter().chain([&self.control]) {
            let at = |share| format!("{:.0} µs", quantile(&class.times, share) / 1000.0);
            println!("  {:<18}{:>10}{:>10}{:>10}{:>10}", class.name, at(0.25), at(0.5), at(0.75), at(0.99));
        }
        println!("  {:<38}{:>16}{:>12}{:>12}", "", "slower with p =", "M–W", "K–S");
        let count = self.alike.len() * (self.alike.len() - 1) / 2;
        let limit = SIGNIFICANCE / (2 * count) as f64;
        let mut verdict = Verdict::Alike;
        for (index, one) in self.alike.iter().enumerate() {
            for other in &self.alike[index + 1..] {
                if show_pair(one.name, other.name, &compare(&one.times, &other.times), limit) {
                    verdict = Verdict::ToldApart;
                }
            }
        }
        let first = &self.alike[0];
        let half = |rest| first.times.iter().copied().enumerate().filter(move |(n, _)| n % 2 == rest).map(|(_, t)| t);
        let halves = compare(&half(0).collect::<Vec<_>>(), &half(1).collect::<Vec<_>>());
        let noisy = show_pair(first.name, "itself (control)", &halves, limit);
        let seen = show_pair(first.name, &format!("{} (control)", self.control.name), &self.control(), limit);
        match statistics::least_seen(&first.times, limit) {
            Some(shift) => println!("  a difference of {:.0} µs would have been seen", shift / 1000.0),
            None => println!("  no difference of less than half the time would have been seen"),
        }
        if noisy || !seen { Verdict::Unusable } else { verdict }
    }

    fn control(&self) -> Comparison {
        compare(&self.alike[0].times, &self.control.times)
    }
}

/// Shows a pair, and says whether it is told apart.
fn show_pair(one: &str, other: &str, comparison: &Comparison, limit: f64) -> bool {
    let apart = comparison.rank_p < limit || comparison.shape_p < limit;
    println!(
        "  {:<38}{:>8.3} ± {:.3}{:>12.2e}{:>12.2e}  {}",
        format!("{one} – {other}"),
        comparison.slower,
        comparison.margin,
        comparison.rank_p,
        comparison.shape_p,
        if apart { "told apart" } else { "alike" },
    );
    apart
}
