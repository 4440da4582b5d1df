//! What processes use, as Linux tells it in /proc.

use std::fs;
use std::ops::Sub;

/// Clock ticks in a second: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Of the server, or the bare one.
    pub server: f64,
    /// Of this program, and of pgbench when it ran.
    pub driver: f64,
    /// Of PostgreSQL, with all its processes.
    pub postgres: f64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            server: self.server - other.server,
            driver: self.driver - other.driver,
            postgres: self.postgres - other.postgres,
        }
    }
}

impl Cpu {
    /// Each of so many.
    pub fn per(self, count: f64) -> Self {
        Self { server: self.server / count, driver: self.driver / count, postgres: self.postgres / count }
    }
}

/// Whose time is read.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// The server's process.
    pub server: u32,
    /// PostgreSQL's first process.
    pub postgres: u32,
}

impl Meter {
    /// What they have used until now.
    pub fn read(self) -> Cpu {
        let mut children = 0.0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(process) = pid.and_then(Process::read).filter(|process| process.parent == self.postgres) {
                children += process.own;
            }
        }
        let of = |pid| Process::read(pid).unwrap_or_default();
        let (postgres, driver) = (of(self.postgres), of(std::process::id()));
        Cpu {
            server: of(self.server).own,
            driver: driver.own + driver.ended_children,
            postgres: postgres.own + postgres.ended_children + children,
        }
    }
}

#[derive(Default)]
struct Process {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Process {
    /// proc(5): after the name in brackets come state, parent, …, and as the 14th to 17th field of the line the times.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: (ticks(14)? + ticks(15)?) / TICKS,
            ended_children: (ticks(16)? + ticks(17)?) / TICKS,
        })
    }
}

/// Resident memory of a process in bytes.
pub fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}
