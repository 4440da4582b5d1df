//! What to measure, and how long.

#![expect(clippy::disallowed_methods, reason = "a program of its own, whose settings these are")]

use std::time::Duration;

/// Connections of the closed loops, and clients of pgbench.
pub const CONNECTIONS: usize = 64;

/// The parts, in the order in which they run.
pub const PARTS: [&str; 6] = ["polls", "authorization", "tokens", "open", "idle", "held"];

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether everything is short: to see whether the driver works, not how fast the server is.
    pub quick: bool,
    /// Which parts; empty: all of them.
    parts: Vec<String>,
    /// Whether docs/performance.md is written.
    pub writes: bool,
    /// How often a closed loop and its baseline take turns.
    pub rounds: usize,
    /// How long each turn is.
    pub round: Duration,
    /// Live codes of the polls: few, usual, many.
    pub codes: [usize; 3],
    /// Logins of a turn of redemptions.
    pub redemptions: usize,
    /// How long the open loop goes on.
    pub open: Duration,
    /// Polls a second of the open loop.
    pub rate: u64,
    /// How many polls are held at once.
    pub held: usize,
}

impl Settings {
    /// From the arguments (`--bench` is cargo's) and the environment.
    pub fn read() -> Self {
        let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
        if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
            panic!("{unknown} is no part; there are {}", PARTS.join(", "));
        }
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let quick = number("BENCH_QUICK").is_some_and(|quick| quick > 0);
        let whole = parts.is_empty() && !quick;
        let size = |full: usize, short: usize| if quick { short } else { full };
        let seconds = |full: u64, short: u64| Duration::from_secs(if quick { short } else { full });
        Self {
            quick,
            writes: number("BENCH_WRITE").map_or(whole, |write| write > 0),
            rounds: size(5, 2),
            round: seconds(5, 2),
            codes: [1000, size(100_000, 5000), size(1_000_000, 20_000)],
            redemptions: size(12_800, 1280),
            open: number("BENCH_SECONDS").map_or(seconds(300, 10), Duration::from_secs),
            rate: number("BENCH_RATE").unwrap_or(if quick { 2000 } else { 20_000 }),
            held: size(20_000, 1000),
            parts,
        }
    }

    /// Whether this part is to be measured.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}
