//! What is told: on the screen, and in docs/performance.md between its marks.

use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;

use super::cpu::Cpu;

/// A line of the table.
pub struct Row {
    /// What was done.
    pub work: String,
    /// What the server did.
    pub ours: String,
    /// What the baseline did.
    pub baseline: String,
    /// One by the other.
    pub ratio: String,
    /// What must be reached.
    pub target: String,
    /// Whether it was; `None`: nothing must be.
    pub reached: Option<bool>,
}

impl Row {
    /// A figure beside a baseline, of which at least this part must be reached.
    pub fn at_least(work: &str, (ours, baseline): (f64, f64), part: f64) -> Self {
        let ratio = ours / baseline;
        Self {
            work: work.to_owned(),
            ours: per_second(ours),
            baseline: per_second(baseline),
            ratio: format!("{ratio:.2}"),
            target: format!("≥ {part}"),
            reached: Some(ratio >= part),
        }
    }

    /// A figure without a baseline.
    pub fn alone(work: &str, ours: String, target: &str, reached: Option<bool>) -> Self {
        let none = String::new;
        Self { work: work.to_owned(), ours, baseline: none(), ratio: none(), target: target.to_owned(), reached }
    }

    fn cells(&self) -> [&str; 6] {
        let reached = match self.reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        [&self.work, &self.ours, &self.baseline, &self.ratio, &self.target, reached]
    }
}

/// What one request costs.
pub struct Cost {
    /// What was done, by whom.
    pub work: String,
    /// Processor time of one.
    pub cpu: Cpu,
    /// The part of a core that the driver used; `None`: it was pgbench.
    pub driver: Option<f64>,
}

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    /// The table.
    pub rows: Vec<Row>,
    /// What requests cost.
    pub costs: Vec<Cost>,
    /// What else is to be known of this run.
    pub notes: Vec<String>,
    /// Names of files and SVG.
    pub plots: Vec<(&'static str, String)>,
}

/// Requests in a second.
pub fn per_second(rate: f64) -> String {
    format!("{} /s", thousands(rate))
}

/// A whole number, in groups of three.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Nanoseconds, in the unit that is read best.
pub fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n if n < 1e8 => format!("{:.2} ms", n / 1e6),
        n if n < 1e9 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

/// How long requests took, in a line.
pub fn quantiles(name: &str, latency: &Histogram<u64>) -> String {
    let at = |quantile| time(latency.value_at_quantile(quantile) as f64);
    let [p50, p90, p99, p999, longest] = [0.5, 0.9, 0.99, 0.999, 1.0].map(at);
    format!("{name}: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, longest {longest}.")
}

/// The one in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}

impl Report {
    const HEAD: [&str; 6] = ["work", "Countersign", "baseline", "ratio", "must reach", "reached"];
    const COST_HEAD: [&str; 5] =
        ["one request of", "server", "driver or pgbench", "PostgreSQL", "driver's share of a core"];

    fn costs(&self) -> Vec<[String; 5]> {
        let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
        let line = |cost: &Cost| {
            let share = cost.driver.map(|share| format!("{share:.2}")).unwrap_or_default();
            let Cpu { server, driver, postgres } = cost.cpu;
            [cost.work.clone(), micros(server), micros(driver), micros(postgres), share]
        };
        self.costs.iter().map(line).collect()
    }

    /// Shows everything on the screen.
    pub fn print(&self) {
        println!();
        print_table(&Self::HEAD, &self.rows.iter().map(Row::cells).collect::<Vec<_>>());
        println!("\nProcessor time");
        let costs = self.costs();
        let cells: Vec<[&str; 5]> = costs.iter().map(|line| line.each_ref().map(String::as_str)).collect();
        print_table(&Self::COST_HEAD, &cells);
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
    }

    /// Writes docs/performance.md between its marks, and the plots beside it.
    pub fn write(&self, docs: &Path, about: &str) {
        let path = docs.join("performance.md");
        let mut text = fs::read_to_string(&path).unwrap();
        let costs = self.costs();
        let cells: Vec<[&str; 5]> = costs.iter().map(|line| line.each_ref().map(String::as_str)).collect();
        let rows: Vec<_> = self.rows.iter().map(Row::cells).collect();
        let notes = list(&self.notes);
        for (name, content) in [
            ("machine", about.to_owned()),
            ("table", markdown(&Self::HEAD, &rows)),
            ("costs", markdown(&Self::COST_HEAD, &cells)),
            ("notes", notes),
        ] {
            text = replaced(&text, name, &content);
        }
        fs::write(&path, text).unwrap();
        fs::create_dir_all(docs.join("performance")).unwrap();
        for (name, svg) in &self.plots {
            fs::write(docs.join("performance").join(name), svg).unwrap();
        }
    }
}

/// The text with other content between the marks of this name.
fn replaced(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("there is no {end}"));
    format!("{before}{begin}{content}{end}{after}")
}

/// A list in Markdown.
pub fn list(items: &[String]) -> String {
    items.iter().flat_map(|item| ["- ", item, "\n"]).collect()
}

fn markdown<const N: usize>(head: &[&str; N], lines: &[[&str; N]]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N));
    for line in lines {
        text.extend(["| ", &line.join(" | "), " |\n"]);
    }
    text
}

fn print_table<const N: usize>(head: &[&str; N], lines: &[[&str; N]]) {
    let width = |column: usize| lines.iter().chain([head]).map(|line| line[column].chars().count()).max().unwrap_or(0);
    for line in [head].into_iter().chain(lines) {
        let cells = line.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
