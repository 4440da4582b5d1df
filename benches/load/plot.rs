//! Pictures as SVG, which fit light and dark pages alike.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Colours and type. The picture asks what the reader's screen is like.
const STYLE: &str = "<style>
svg { --ink: #1f2328; --quiet: #59636e; --line: #d1d9e0; --page: #ffffff; --one: #0550ae; --two: #bc4c00; --three: #1a7f37;
  font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #f0f6fc; --quiet: #9198a1; --line: #3d444d; --page: #0d1117; --one: #58a6ff; --two: #f0883e; --three: #3fb950; } }
.page { fill: var(--page); } text { fill: var(--quiet); } .title { fill: var(--ink); font-size: 15px; font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.one { stroke: var(--one); } .two { stroke: var(--two); stroke-dasharray: 7 3; } .three { stroke: var(--three); stroke-dasharray: 2 3; }
</style>";

const CLASSES: [&str; 3] = ["one", "two", "three"];

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 48.0;

/// A line through points from 0 to 1 across, and nanoseconds up.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// How long so many of a hundred take at most: for each of the nines as much room as for the one before.
pub fn percentiles(title: &str, latencies: &[(&str, Histogram<u64>)]) -> String {
    const MARKS: [(f64, &str); 6] =
        [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let across = |share: f64| -(1.0 - share).log10() / 4.0;
    let curve = |(name, latency): &(&str, Histogram<u64>)| {
        let shares = (0..=200).map(|step| 1.0 - 10_f64.powf(-4.0 * f64::from(step) / 200.0));
        // What fewer than ten requests tell is chance.
        let known = shares.filter(|share| (1.0 - share) * latency.len() as f64 >= 10.0);
        let points = known.map(|share| (across(share), latency.value_at_quantile(share) as f64)).collect();
        Curve { name: (*name).to_owned(), points }
    };
    let marks: Vec<(f64, String)> = MARKS.iter().map(|(share, name)| (across(*share), (*name).to_owned())).collect();
    draw(title, "part of the requests that took no longer", &marks, &latencies.iter().map(curve).collect::<Vec<_>>())
}

/// How long requests took that were due in each second.
pub fn over_time(title: &str, seconds: &[Histogram<u64>]) -> String {
    let last = (seconds.len().max(2) - 1) as f64;
    let curve = |name: &str, quantile: f64| Curve {
        name: name.to_owned(),
        points: seconds
            .iter()
            .enumerate()
            .filter(|(_, latency)| !latency.is_empty())
            .map(|(second, latency)| (second as f64 / last, latency.value_at_quantile(quantile) as f64))
            .collect(),
    };
    let marks: Vec<(f64, String)> =
        (0..=5).map(|fifth| f64::from(fifth) / 5.0).map(|share| (share, format!("{:.0} s", share * last))).collect();
    draw(title, "time", &marks, &[curve("p50 of each second", 0.5), curve("p99", 0.99), curve("longest", 1.0)])
}

fn draw(title: &str, below: &str, marks: &[(f64, String)], curves: &[Curve]) -> String {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, nanos)| nanos.max(1000.0)));
    // Whole powers of ten around everything.
    let low = values().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values().fold(0.0, f64::max).log10().ceil().max(low + 1.0);
    let x = |share: f64| LEFT + share * (WIDTH - LEFT - RIGHT);
    let y = |nanos: f64| HEIGHT - BOTTOM - (nanos.max(1000.0).log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-label=\"{title}\">\n{STYLE}\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"28\">{title}</text>\n"
    );
    let mut line = |text: String| svg.push_str(&text);
    let mut power = low;
    while power <= high {
        let (at, name) = (y(10_f64.powf(power)), decade(power));
        line(format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - RIGHT));
        line(format!("<text class=\"end\" x=\"{}\" y=\"{:.1}\">{name}</text>\n", LEFT - 8.0, at + 4.0));
        power += 1.0;
    }
    for (share, name) in marks {
        let at = x(*share);
        line(format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{:.1}\"/>", HEIGHT - BOTTOM));
        line(format!("<text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{name}</text>\n", HEIGHT - BOTTOM + 17.0));
    }
    line(format!("<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{below}</text>\n", x(0.5), HEIGHT - 10.0));
    for (index, (curve, class)) in curves.iter().zip(CLASSES).enumerate() {
        let mut path = String::new();
        for (number, (share, nanos)) in curve.points.iter().enumerate() {
            let letter = if number == 0 { 'M' } else { 'L' };
            write!(path, "{letter}{:.1} {:.1}", x(*share), y(*nanos)).unwrap();
        }
        line(format!("<path class=\"curve {class}\" d=\"{path}\"/>\n"));
        let at = LEFT + index as f64 * 190.0;
        line(format!(
            "<path class=\"curve {class}\" d=\"M{at} 50h28\"/><text x=\"{}\" y=\"54\">{}</text>\n",
            at + 34.0,
            curve.name
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The name of a power of ten nanoseconds.
fn decade(power: f64) -> String {
    match power as u32 {
        power @ 3..6 => format!("{} µs", 10_u32.pow(power - 3)),
        power @ 6..9 => format!("{} ms", 10_u32.pow(power - 6)),
        power => format!("{} s", 10_u32.pow(power.saturating_sub(9))),
    }
}
