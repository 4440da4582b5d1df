//! `countersign grant`: device logins in progress.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, administer};
use super::failure::{Failure, Thing};
use super::table::{Column, column, member, whole};

const COLUMNS: [Column; 6] = [
    column("SERVICE", |item| member(item, "service")),
    column("STATE", |item| member(item, "state")),
    column("DEVICE", |item| member(item, "device_name")),
    column("FROM", |item| member(item, "ip")),
    column("ASKED", |item| member(item, "created_at")),
    whole("ID", |item| member(item, "id")),
];

/// See and deny the device logins of an organization that are in progress
///
/// Log in first: countersign login URL --admin. What a device calls itself is a claim of whoever asks.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct GrantArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    of: OfOrganization,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List those that wait for somebody
    List {
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Deny one: its device is told so
    Deny {
        #[arg(value_parser = name)]
        id: String,
    },
}

/// Does it.
pub async fn run(args: GrantArgs) -> ExitCode {
    administer(args.of.common, args.of.org, async |desk| args.action.run(desk).await).await
}

impl Action {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        let about = |id: &str| Thing::of("grant", id, &organization);
        match self {
            Self::List { limit } => {
                let most = limit.and_then(|limit| limit.try_into().ok());
                let listed = desk.list(&about(""), &[ALL, &organization, "grants"], &[], most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Deny { id } => {
                let path = [ALL, organization.as_str(), "grants", &id, "deny"];
                desk.ask(&about(&id), "POST", &path, None).await?;
                desk.done(&format!("Denied {}.", about(&id)));
                Ok(())
            }
        }
    }
}
