//! What `ops/` asks Prometheus for is there: every metric, every word of a label, every place to read on.

use std::fs;
use std::path::Path;

use countersign::server::Settings;

use crate::flows::tls::Files;
use crate::support::app::ACME;
use crate::support::{App, Device};

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Each metric that a text names, with what it asks of its labels.
fn series(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let part_of_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("countersign_") {
        let from_here = text.split_at(at).1;
        let (name, rest) = from_here.split_at(from_here.find(|letter| !part_of_name(letter)).unwrap());
        let matchers =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(matchers, _)| matchers);
        let matcher = |matcher: &str| {
            let (label, value) = matcher.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            (label.to_owned(), value.to_owned())
        };
        found.push((name.to_owned(), matchers.split(',').filter(|part| !part.is_empty()).map(matcher).collect()));
    }
    found
}

/// What the documentation's headings are called in links.
fn anchors(markdown: &str) -> Vec<String> {
    let heading = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    let kept = |letter: &char| letter.is_alphanumeric() || *letter == '-';
    markdown
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| heading(line).chars().filter(kept).collect())
        .collect()
}

#[tokio::test]
async fn every_metric_that_alerts_and_dashboard_name_is_told() {
    let files = Files::new();
    let app = App::with_settings(ACME, Settings { tls: Some(files.open()), ..Settings::default() }).await;
    let device = Device::ask(&app, "read").await;
    device.poll().await;
    let metrics = app.observe("/metrics").await.body;
    let mut named = 0;
    for path in ["ops/alerts.yml", "ops/grafana-dashboard.json"] {
        let text = file(path).replace("\\\"", "\"");
        for (name, matchers) in series(&text) {
            named += 1;
            let is_it = |line: &&str| {
                line.strip_prefix(&*name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
            };
            let lines: Vec<&str> = metrics.lines().filter(is_it).collect();
            assert!(!lines.is_empty(), "{path} names {name}, which is not told");
            for (label, value) in matchers {
                // What Prometheus adds, and what comes with answers.
                if ["instance", "status"].contains(&label.as_str()) {
                    continue;
                }
                for word in value.split('|') {
                    let words = format!("{label}=\"{word}\"");
                    assert!(lines.iter().any(|line| line.contains(&words)), "{path} asks {name} for {words}");
                }
            }
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn every_alert_says_where_to_read_on() {
    let (rules, anchors) = (file("ops/alerts.yml"), anchors(&file("docs/operations.md")));
    let alerts = rules.matches("- alert: ").count();
    let mut links = 0;
    for line in rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: docs/operations.md#")) {
        assert!(anchors.iter().any(|anchor| anchor == line), "docs/operations.md has no #{line}: {anchors:?}");
        links += 1;
    }
    assert!(alerts > 10 && links == alerts, "{links} of {alerts}");
}
