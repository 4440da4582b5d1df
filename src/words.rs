//! Facts about the requesting device, in words.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::geo::Place;

/// Programs by how their user agent begins, in words. The first that fits counts.
const PROGRAMS: [(&str, &str); 15] = [
    ("countersign/", "Countersign's command line"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("Go-http-client/", "A program written in Go"),
    ("python-requests/", "A Python program"),
    ("Python-urllib/", "A Python program"),
    ("python-httpx/", "A Python program"),
    ("aiohttp/", "A Python program"),
    ("node", "A Node.js program"),
    ("undici", "A Node.js program"),
    ("axios/", "A Node.js program"),
    ("openid-client/", "A Node.js program"),
    ("okhttp/", "A Java or Android program"),
    ("Java", "A Java program"),
    ("Mozilla/", "A web browser or an app"),
];

/// Operating systems by a word in the user agent. The first that fits counts: Android says Linux too.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("macos", "macOS"),
    ("Linux", "Linux"),
    ("linux", "Linux"),
];

/// What a user agent says, in words: a claim, like the device's name.
#[must_use]
pub fn program(user_agent: Option<&str>) -> String {
    let Some(agent) = user_agent.map(str::trim).filter(|agent| !agent.is_empty()) else {
        return "It did not say".to_owned();
    };
    let known = PROGRAMS.iter().find(|(start, _)| agent.starts_with(start)).map(|(_, words)| (*words).to_owned());
    let words = known.unwrap_or_else(|| {
        let name = agent.split(['/', ' ', '(']).next().unwrap_or_default();
        let name: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
        if name.is_empty() { "An unknown program".to_owned() } else { format!("“{name}”") }
    });
    match SYSTEMS.iter().find(|(word, _)| agent.contains(word)) {
        Some((_, system)) => format!("{words} on {system}"),
        None => words,
    }
}

/// How long ago something was, as people say it.
#[must_use]
pub fn how_long_ago(passed: TimeDelta) -> String {
    let count = |n: i64, unit: &str| format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" });
    match passed.num_seconds() {
        ..10 => "just now".to_owned(),
        seconds @ 10..60 => count(seconds, "second"),
        seconds @ 60..3600 => count(seconds / 60, "minute"),
        seconds @ 3600..172_800 => count(seconds / 3600, "hour"),
        seconds => count(seconds / 86_400, "day"),
    }
}

/// The time until now, as people say it: "the last hour".
#[must_use]
pub fn last(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("the last {name}"),
        count => format!("the last {count} {name}s"),
    }
}

/// How long to wait, as people say it, and never too short.
#[must_use]
pub fn wait(seconds: u64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        ..=90 => format!("{seconds} seconds"),
        91..=3540 => format!("{} minutes", seconds.div_ceil(60)),
        3541..=3600 => "an hour".to_owned(),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}

/// A place, within a sentence.
#[must_use]
pub fn place(place: &Place) -> String {
    match place {
        Place::Private => "a private network".to_owned(),
        Place::Unknown => "not known".to_owned(),
        Place::In { city: Some(city), country, .. } => format!("{city}, {country}"),
        Place::In { country, .. } => country.clone(),
    }
}

/// Where a device is, and where the person who reads it; `None` where there is nothing to say.
#[must_use]
pub fn places(device: &Place, you: Option<&Place>) -> Option<String> {
    let here = match device {
        Place::Private => "A private network".to_owned(),
        Place::Unknown => "Not known".to_owned(),
        Place::In { .. } => place(device),
    };
    match (device, you) {
        (Place::Unknown, None | Some(Place::Unknown)) => None,
        (Place::Private, Some(Place::Private)) => Some("Your own network".to_owned()),
        (_, None) => Some(here),
        (_, Some(you)) if you == device => Some(format!("{here} — you too")),
        (_, Some(you)) => Some(format!("{here} — you: {}", place(you))),
    }
}

/// A moment, to the minute. Pages don't know where their reader is, so it is UTC and says so.
#[must_use]
pub fn date(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_told_in_words() {
        assert_eq!(program(None), "It did not say");
        assert_eq!(program(Some("countersign/0.1.0 (linux; x86_64)")), "Countersign's command line on Linux");
        assert_eq!(program(Some("Go-http-client/1.1")), "A program written in Go");
        assert_eq!(program(Some("GitHub CLI 2.40.0")), "“GitHub”");
        assert_eq!(program(Some("<script>")), "“<script>”");
        assert_eq!(program(Some("Mozilla/5.0 (Linux; Android 14)")), "A web browser or an app on Android");
    }

    #[test]
    fn places_are_told_beside_each_other() {
        let in_country = |city: Option<&str>, code: &str, country: &str| Place::In {
            city: city.map(str::to_owned),
            country_code: code.to_owned(),
            country: country.to_owned(),
        };
        let [berlin, hamburg] = ["Berlin", "Hamburg"].map(|city| in_country(Some(city), "DE", "Germany"));
        let france = in_country(None, "FR", "France");
        let told = |device: &Place, you: Option<&Place>| places(device, you).unwrap_or_default();
        assert_eq!(told(&berlin, Some(&hamburg)), "Berlin, Germany — you: Hamburg, Germany");
        assert_eq!(told(&berlin, Some(&berlin)), "Berlin, Germany — you too");
        assert_eq!(told(&france, Some(&Place::Unknown)), "France — you: not known");
        assert_eq!(told(&berlin, Some(&Place::Private)), "Berlin, Germany — you: a private network");
        assert_eq!(told(&berlin, None), "Berlin, Germany");
        assert_eq!(told(&Place::Private, Some(&Place::Private)), "Your own network");
        assert_eq!(told(&Place::Private, Some(&hamburg)), "A private network — you: Hamburg, Germany");
        assert_eq!(told(&Place::Unknown, Some(&hamburg)), "Not known — you: Hamburg, Germany");
        assert_eq!((places(&Place::Unknown, None), places(&Place::Unknown, Some(&Place::Unknown))), (None, None));
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        let ago = |seconds| how_long_ago(TimeDelta::seconds(seconds));
        assert_eq!(
            [ago(-5), ago(0), ago(42), ago(60), ago(125), ago(3600)],
            ["just now", "just now", "42 seconds ago", "1 minute ago", "2 minutes ago", "1 hour ago"]
        );
        assert_eq!([ago(172_799), ago(172_800), ago(7_776_000)], ["47 hours ago", "2 days ago", "90 days ago"]);
        assert_eq!(
            [wait(1), wait(90), wait(91), wait(900), wait(3540), wait(3541), wait(3600), wait(3601)],
            ["1 second", "90 seconds", "2 minutes", "15 minutes", "59 minutes", "an hour", "an hour", "2 hours"]
        );
        let last = |seconds| last(Duration::from_secs(seconds));
        assert_eq!([last(3600), last(7200), last(86_400)], ["the last hour", "the last 2 hours", "the last day"]);
        assert_eq!([last(60), last(5400), last(90)], ["the last minute", "the last 90 minutes", "the last 90 seconds"]);
        assert_eq!(date(DateTime::from_timestamp(1_793_628_300, 0).unwrap()), "2 November 2026, 14:05 UTC");
    }
}
