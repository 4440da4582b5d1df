//! One thing, for people: a line per member.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::cli::kept::date;
use crate::client::printable;

/// Its members, those of `first` before the others.
pub fn of(thing: &Value, first: &[&str]) -> String {
    let nothing = Map::new();
    let members = thing.as_object().unwrap_or(&nothing);
    let others = members.keys().map(String::as_str).filter(|name| !first.contains(name));
    let names: Vec<&str> = first.iter().copied().filter(|name| members.contains_key(*name)).chain(others).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let line = |name: &&str| {
        let text = members.get(*name).map(value).unwrap_or_default();
        let lines = text.replace('\n', &format!("\n{:width$}  ", ""));
        let line = format!("{:width$}  {lines}", printable(name));
        line.trim_end().to_owned() + "\n"
    };
    names.iter().map(line).collect()
}

/// A value as people read it. Nothing is a dash.
pub fn value(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => moment(text).map_or_else(|| printable(text), date),
        Value::Array(items) if items.is_empty() => "–".to_owned(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().map(in_a_line).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        Value::Object(_) => in_a_line(value),
    }
}

/// `read  Read your projects`: a scope, or whatever else has members.
fn in_a_line(item: &Value) -> String {
    let Some(members) = item.as_object() else { return value(item) };
    let named = ["name", "text"].iter().filter_map(|name| members.get(*name)).map(value);
    let rest = members.iter().filter(|(name, _)| !["name", "text"].contains(&name.as_str()));
    let rest = rest.map(|(name, of)| format!("{}: {}", printable(name), value(of)));
    named.chain(rest).collect::<Vec<_>>().join("  ")
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_thing_is_a_line_per_member() {
        let service = json!({
            "slug": "cli", "interval": 5, "verified": false, "mfa": null, "created_at": "2026-03-01T14:05:06.789Z",
            "scopes": [{ "name": "read", "text": "Read \u{1b}[2Jall" }, { "name": "rm", "text": "Remove", "factor": "otp" }],
            "default_scopes": ["read"], "resources": [],
        });
        assert_eq!(
            of(&service, &["slug", "absent", "scopes"]),
            "slug            cli\n\
             scopes          read  Read [2Jall\n\
             \x20               rm  Remove  factor: otp\n\
             created_at      2026-03-01 14:05 UTC\n\
             default_scopes  read\n\
             interval        5\n\
             mfa             –\n\
             resources       –\n\
             verified        no\n"
        );
    }
}
