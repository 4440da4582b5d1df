//! `countersign service`: the tools that people log in to.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, Sure, administer, tag};
use super::failure::{Failure, Thing};
use super::ready;
use super::service_said::ServiceSaid;
use super::table::{Column, column, member, whole};

const COLUMNS: [Column; 6] = [
    whole("SLUG", |item| member(item, "slug")),
    column("NAME", |item| member(item, "name")),
    whole("CLIENT ID", |item| member(item, "client_id")),
    column("LOGIN", |item| yes(item, "device_login")),
    column("SECRET", |item| yes(item, "confidential")),
    column("SCOPES", scopes),
];
const FIRST: [&str; 8] =
    ["slug", "name", "organization", "client_id", "confidential", "device_login", "scopes", "default_scopes"];

/// Administer the services of an organization: the tools that people log in to
///
/// Log in first: countersign login URL --admin
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct ServiceArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    of: OfOrganization,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List services
    List {
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Show one
    Show {
        #[arg(value_parser = name)]
        slug: String,
        /// Print its version alone, for --if-match
        #[arg(long)]
        etag: bool,
    },
    /// Make one, and print what its developer needs
    Create {
        /// Its name in addresses and files. It never changes
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        said: ServiceSaid,
        /// Draw a secret for it, which is printed this once
        #[arg(long, conflicts_with = "client_secret_file")]
        confidential: bool,
        /// People don't log in to it
        #[arg(long)]
        no_device_login: bool,
    },
    /// Change what is said; what isn't named stays
    Update {
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        said: ServiceSaid,
        /// Only if it is still this version, as show --etag told it; * for whatever is there
        #[arg(long, value_name = "ETAG", value_parser = tag, allow_hyphen_values = true)]
        if_match: Option<String>,
    },
    /// Draw another secret, which is printed this once; the old one is worth nothing from then on
    RotateSecret {
        #[arg(value_parser = name)]
        slug: String,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete one and its sessions
    Delete {
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        sure: Sure,
    },
}

/// Does it.
pub async fn run(args: ServiceArgs) -> ExitCode {
    administer(args.of.common, args.of.org, async |desk| args.action.run(desk).await).await
}

impl Action {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        let about = |slug: &str| Thing::of("service", slug, &organization);
        match self {
            Self::List { limit } => {
                let most = limit.and_then(|limit| limit.try_into().ok());
                let listed = desk.list(&about(""), &[ALL, &organization, "services"], &[], most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Show { slug, etag } => {
                let reply = desk.look(&about(&slug), &[ALL, &organization, "services", &slug]).await?;
                desk.show(&reply, &FIRST, etag)
            }
            Self::Create { slug, said, confidential, no_device_login } => {
                let body = said.said().await?.with("slug", Some(slug.as_str()));
                let body = body.with("confidential", confidential.then_some(true));
                let body = body.with("device_login", no_device_login.then_some(false));
                let body = body.unless_said("device_login", true).into_body();
                let reply = desk.ask(&about(&slug), "POST", &[ALL, &organization, "services"], Some(&body)).await?;
                if desk.is_json() {
                    return desk.told(&reply, "");
                }
                ready::print(desk, &about(&slug), &reply).await
            }
            Self::Update { slug, said, if_match } => {
                let (path, change) =
                    ([ALL, organization.as_str(), "services", &slug], said.said().await?.into_change()?);
                let reply = desk.change(&about(&slug), &path, &change, if_match).await?;
                desk.show(&reply, &FIRST, false)
            }
            Self::RotateSecret { slug, yes } => {
                let about = about(&slug);
                let question = format!("Draw another secret for {about}? The one that it has is worth nothing then.");
                desk.confirm(&question, yes).await?;
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "services", &slug, "secret"], None).await?;
                let secret = reply.body.get("client_secret").and_then(Value::as_str).unwrap_or_default();
                desk.told(&reply, &format!("client_secret  {secret}\nIt is told this once: keep it now."))
            }
            Self::Delete { slug, sure } => {
                let path = [ALL, organization.as_str(), "services", &slug];
                desk.delete(&about(&slug), &path, " and sign its devices out", &sure).await
            }
        }
    }
}

fn yes(item: &Value, name: &str) -> String {
    if item.get(name).and_then(Value::as_bool).unwrap_or_default() { "yes" } else { "no" }.to_owned()
}

fn scopes(item: &Value) -> String {
    let scopes = item.get("scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    scopes.iter().map(|scope| member(scope, "name")).collect::<Vec<_>>().join(" ")
}
