//! `countersign audit list`: what happened in an organization.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use serde_json::Value;

use crate::cli::moment::Moment;
use crate::client::printable;
use crate::clock::Clock;

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, administer};
use super::details;
use super::failure::{Failure, Thing};
use super::table::{Column, column, member, whole};
use super::user;

const COLUMNS: [Column; 5] = [
    whole("AT", at),
    whole("KIND", |item| member(item, "kind")),
    column("USER", |item| member(item, "user_id")),
    column("FROM", |item| member(item, "ip")),
    column("DETAIL", detail),
];

/// List what happened in an organization, the newest first
///
/// Log in first: countersign login URL --admin. --json has everything that an event says. docs/security.md names the kinds.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct AuditArgs {
    /// Only events of this kind, for example approved
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only for the service with this slug
    #[arg(long, value_name = "SLUG", value_parser = name)]
    service: Option<String>,
    /// Only by or about somebody: their e-mail address or id
    #[arg(long, value_name = "USER", value_parser = name)]
    user: Option<String>,
    /// Only about the signed-in device with this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only about the device login with this id
    #[arg(long, value_name = "ID")]
    grant: Option<String>,
    /// Only from this moment on: 2026-11-25T12:00:00Z, 2026-11-25, or a time span before now like 24h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    of: OfOrganization,
}

/// Lists.
pub async fn run(args: AuditArgs) -> ExitCode {
    let (common, organization) = (args.of.common.clone(), args.of.org.clone());
    administer(common, organization, async |desk| args.list(desk).await).await
}

impl AuditArgs {
    async fn list(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        let most = self.limit.try_into().ok();
        let filter = self.filter(desk, &organization).await?;
        let filter: Vec<(&str, &str)> = filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let about = Thing::of("event", "", &organization);
        let listed = desk.list(&about, &[ALL, &organization, "audit"], &filter, most).await?;
        desk.table(&listed, &COLUMNS)
    }

    /// As the API takes it: with ids, and with moments that don't depend on when they are read.
    async fn filter(self, desk: &mut Desk, organization: &str) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut filter = Vec::new();
        filter.extend(self.kind.map(|kind| ("kind", kind)));
        if let Some(slug) = self.service {
            let about = Thing::of("service", &slug, organization);
            let service = desk.look(&about, &[ALL, organization, "services", &slug]).await?;
            let id = service.body.get("id").and_then(Value::as_str).unwrap_or_default();
            filter.push(("service", id.to_owned()));
        }
        if let Some(user) = self.user {
            filter.push(("user", user::find(desk, organization, &user).await?.0));
        }
        filter.extend(self.session.map(|id| ("session", id)));
        filter.extend(self.grant.map(|id| ("grant", id)));
        let now = Clock::system().now();
        let time = |moment: Moment| moment.before(now).to_rfc3339_opts(SecondsFormat::Micros, true);
        filter.extend(self.since.map(|since| ("since", time(since))));
        filter.extend(self.until.map(|until| ("until", time(until))));
        Ok(filter)
    }
}

/// When it happened: minutes are too coarse here.
fn at(event: &Value) -> String {
    let text = event.get("at").and_then(Value::as_str).unwrap_or_default();
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string());
    time.unwrap_or_else(|_| printable(text))
}

/// What an event says first: a narrow terminal cuts the rest.
const FIRST: [&str; 3] = ["action", "what", "name"];

/// What else it says, in one line.
fn detail(event: &Value) -> String {
    let members = || event.get("detail").and_then(Value::as_object).into_iter().flatten();
    let first = FIRST.iter().filter_map(|first| members().find(|(name, _)| name == first));
    let others = members().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    let words = first.chain(others).map(|(name, value)| match value {
        Value::Object(_) | Value::Array(_) => format!("{}: {}", printable(name), printable(&value.to_string())),
        value => format!("{}: {}", printable(name), details::value(value)),
    });
    words.collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_whatever_it_says() {
        let event = json!({
            "at": "2026-03-01T14:05:06.789Z",
            "detail": { "action": "changed", "fields": { "name": { "to": "a\nb" } }, "name": "c\u{1b}li" },
        });
        assert_eq!(at(&event), "2026-03-01 14:05:06 UTC");
        assert_eq!(detail(&event), r#"action: changed  name: cli  fields: {"name":{"to":"a\nb"}}"#);
    }
}
