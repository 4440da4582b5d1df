//! `countersign audit list`: what happened in an organization.

use std::process::ExitCode;

use chrono::SecondsFormat;
use clap::Args;
use serde_json::Value;

use crate::cli::audit::Moment;
use crate::client::printable;
use crate::clock::Clock;

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, administer};
use super::details;
use super::failure::{Failure, Thing};
use super::table::{Column, column, member};
use super::user;

const COLUMNS: [Column; 5] = [
    column("AT", |item| member(item, "at")),
    column("KIND", |item| member(item, "kind")),
    column("USER", |item| member(item, "user_id")),
    column("FROM", |item| member(item, "ip")),
    column("DETAIL", detail),
];

/// List what happened in an organization, the newest first, by its administration API
///
/// Log in first: countersign login URL --admin. --json has everything that an event says.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct AuditArgs {
    /// Only events of this kind, for example approved
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only by or about somebody: their e-mail address or id
    #[arg(long, value_name = "USER", value_parser = name)]
    user: Option<String>,
    /// Only for the service with this slug
    #[arg(long, value_name = "SLUG", value_parser = name)]
    service: Option<String>,
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
    administer(common, organization, async |desk| list(desk, args).await).await
}

async fn list(desk: &mut Desk, args: AuditArgs) -> Result<(), Failure> {
    let organization = desk.organization()?;
    let mut filter = Vec::new();
    filter.extend(args.kind.map(|kind| ("kind", kind)));
    if let Some(user) = args.user {
        filter.push(("user", user::find(desk, &organization, &user).await?.0));
    }
    if let Some(slug) = args.service {
        let about = Thing::of("service", &slug, &organization);
        let service = desk.look(&about, &[ALL, &organization, "services", &slug]).await?;
        let id = service.body.get("id").and_then(Value::as_str).unwrap_or_default();
        filter.push(("service", id.to_owned()));
    }
    let now = Clock::system().now();
    let time = |moment: Moment| moment.before(now).to_rfc3339_opts(SecondsFormat::Millis, true);
    filter.extend(args.since.map(|since| ("since", time(since))));
    filter.extend(args.until.map(|until| ("until", time(until))));
    let filter: Vec<(&str, &str)> = filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let about = Thing::of("event", "", &organization);
    let listed = desk.list(&about, &[ALL, &organization, "audit"], &filter, args.limit.try_into().ok()).await?;
    desk.table(&listed, &COLUMNS)
}

/// What else it says, in one line.
fn detail(event: &Value) -> String {
    let members = event.get("detail").and_then(Value::as_object);
    let words = members.into_iter().flatten().map(|(name, value)| match value {
        Value::Object(_) => format!("{name}: {}", printable(&value.to_string())),
        value => format!("{name}: {}", details::value(value).replace('\n', ", ")),
    });
    words.collect::<Vec<_>>().join("; ")
}
