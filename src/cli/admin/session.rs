//! `countersign session`: devices that are signed in.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, administer};
use super::failure::{Failure, Thing};
use super::table::{Column, column, member, whole};
use super::user;
use crate::client::Reply;

const COLUMNS: [Column; 6] = [
    column("USER", |item| member(item, if item.get("email").is_some_and(Value::is_string) { "email" } else { "user" })),
    column("SERVICE", |item| member(item, "service")),
    column("DEVICE", |item| member(item, "name")),
    column("LAST SEEN", |item| member(item, "last_seen_at")),
    column("FROM", |item| member(item, "last_ip")),
    whole("ID", |item| member(item, "id")),
];
const FIRST: [&str; 8] = ["id", "email", "user", "service", "name", "scopes", "last_seen_at", "last_ip"];

/// See and end the sessions of an organization: devices that are signed in
///
/// Log in first: countersign login URL --admin
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct SessionArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    of: OfOrganization,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List sessions
    List {
        /// Only of somebody: their e-mail address or id
        #[arg(long, value_name = "USER", value_parser = name)]
        user: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Show one
    Show {
        #[arg(value_parser = name)]
        id: String,
    },
    /// Sign the device out
    #[command(visible_alias = "delete")]
    Revoke {
        #[arg(value_parser = name)]
        id: String,
    },
}

/// Does it.
pub async fn run(args: SessionArgs) -> ExitCode {
    administer(args.of.common, args.of.org, async |desk| args.action.run(desk).await).await
}

impl Action {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        let about = |id: &str| Thing::of("session", id, &organization);
        let path = [ALL, organization.as_str(), "sessions"];
        match self {
            Self::List { user, limit } => {
                let user = match user {
                    Some(user) => Some(user::find(desk, &organization, &user).await?.0),
                    None => None,
                };
                let filter: Vec<(&str, &str)> = user.as_deref().map(|id| ("user", id)).into_iter().collect();
                let most = limit.and_then(|limit| limit.try_into().ok());
                let listed = desk.list(&about(""), &path, &filter, most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Show { id } => {
                // The API has lists of sessions, and no address to look at one.
                let listed = desk.list(&about(""), &path, &[], None).await?;
                let is = |session: &Value| session.get("id").and_then(Value::as_str) == Some(&id);
                let found = listed.items.into_iter().find(is).ok_or_else(|| Failure::NotThere(about(&id)))?;
                desk.show(&Reply { status: 200, body: found, ..Reply::default() }, &FIRST, false)
            }
            Self::Revoke { id } => {
                desk.ask(&about(&id), "DELETE", &[ALL, &organization, "sessions", &id], None).await?;
                desk.done(&format!("Signed out: {}.", about(&id)));
                Ok(())
            }
        }
    }
}
