//! `countersign audit`: what happened, and whether anybody changed what is said of it.

mod export;
mod verify;

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::TimeDelta;
use uuid::Uuid;

use crate::cli::admin;
use crate::directory::organization;
use crate::ids::OrganizationId;
use crate::postgres::PgConnection;

/// How long an event may be without a link. Far above the second that it takes while a server runs.
const LATE: TimeDelta = TimeDelta::minutes(1);

/// Look at the audit, verify and export it
///
/// list asks a server, with a login that administers. verify and export work on the database of an installation on this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    List(Box<admin::AuditArgs>),
    Verify(verify::Args),
    Export(export::Args),
}

/// Does one of them.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => Ok(admin::audit(*args).await),
        Action::Verify(args) => verify::run(args).await,
        Action::Export(args) => export::run(args).await,
    }
}

/// The organization of a slug that was given.
async fn organization(conn: &mut PgConnection, slug: Option<&str>) -> anyhow::Result<Option<OrganizationId>> {
    let Some(slug) = slug else { return Ok(None) };
    let id = organization::id_by_slug(conn, slug).await?;
    Ok(Some(id.with_context(|| format!("there is no organization {slug}"))?))
}

/// What organizations are called. One that was deleted has lost its name.
async fn names(conn: &mut PgConnection) -> anyhow::Result<HashMap<Uuid, String>> {
    Ok(organization::slugs(conn).await?.into_iter().map(|(id, slug)| (id.0, slug)).collect())
}
