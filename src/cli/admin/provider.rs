//! `countersign provider`: where people sign in.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Reply, printable};

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, Sure, administer, tag};
use super::failure::{Failure, Thing};
use super::given::{Said, member as given};
use super::table::{Column, column, member, whole};

const COLUMNS: [Column; 6] = [
    whole("SLUG", |item| member(item, "slug")),
    column("KIND", |item| member(item, "kind")),
    column("NAME", |item| member(item, "name")),
    column("ISSUER", |item| member(item, "issuer")),
    column("ADMITS", |item| member(item, "admit")),
    column("SECRET", |item| member(item, "has_secret")),
];
const FIRST: [&str; 9] =
    ["slug", "name", "kind", "organization", "issuer", "client_id", "has_secret", "admit", "redirect_uri"];

/// Administer the providers of an organization: where its people sign in
///
/// Admins look, owners change. Log in first: countersign login URL --admin
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct ProviderArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    of: OfOrganization,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List providers
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
    /// Make one, and print the redirect URI to register over there
    Create {
        /// Its name in addresses and files. It never changes
        #[arg(value_parser = name)]
        slug: String,
        /// oidc, google, microsoft, gitlab, github or password
        #[arg(long)]
        kind: String,
        #[command(flatten)]
        said: ProviderSaid,
    },
    /// Change what is said; what isn't named stays
    Update {
        #[arg(value_parser = name)]
        slug: String,
        /// Another kind: the accounts that were linked through it are unlinked
        #[arg(long)]
        kind: Option<String>,
        #[command(flatten)]
        said: ProviderSaid,
        /// Take its secret away
        #[arg(long, conflicts_with = "client_secret_file")]
        no_client_secret: bool,
        /// Only if it is still this version, as show --etag told it; * for whatever is there
        #[arg(long, value_name = "ETAG", value_parser = tag, allow_hyphen_values = true)]
        if_match: Option<String>,
    },
    /// Delete one: nobody signs in there any more
    Delete {
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What can be said of a provider: the usual by options, everything else by `--set`.
#[derive(Args, Debug)]
struct ProviderSaid {
    /// Its name to people, on the button
    #[arg(long)]
    name: Option<String>,
    /// Its address, as it names itself
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// What Countersign is called there
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// A file with Countersign's secret there; - for standard input
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// Whom a first sign-in lets in: invited or anyone
    #[arg(long, value_name = "WHOM", conflicts_with_all = ["admit_domain", "admit_group"])]
    admit: Option<String>,
    /// Let in whoever has a verified address of this domain. Again for the next one
    #[arg(long, value_name = "DOMAIN", conflicts_with = "admit_group")]
    admit_domain: Vec<String>,
    /// Let in whoever is in this group there. Again for the next one
    #[arg(long, value_name = "GROUP")]
    admit_group: Vec<String>,
    /// Anything else that docs/directory.md names, JSON or text: `trust_mfa`=true, `groups_claim`=roles. null is as by default
    #[arg(long, value_name = "KEY=VALUE", value_parser = given)]
    set: Vec<(String, Value)>,
}

impl ProviderSaid {
    /// As the API takes it.
    async fn said(self) -> Result<Said, Failure> {
        let list = |name: &str, list: Vec<String>| (!list.is_empty()).then(|| json!({ name: list }));
        let admit = self.admit.map(Value::from);
        let admit = admit.or_else(|| list("domains", self.admit_domain)).or_else(|| list("groups", self.admit_group));
        let said = Said::default()
            .with("name", self.name)
            .with("issuer", self.issuer)
            .with("client_id", self.client_id)
            .with("admit", admit)
            .with_all(&self.set);
        said.with_secret("client_secret", self.client_secret_file.as_deref()).await
    }
}

/// Does it.
pub async fn run(args: ProviderArgs) -> ExitCode {
    administer(args.of.common, args.of.org, async |desk| args.action.run(desk).await).await
}

impl Action {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        let about = |slug: &str| Thing::of("provider", slug, &organization);
        match self {
            Self::List { limit } => {
                let most = limit.and_then(|limit| limit.try_into().ok());
                let listed = desk.list(&about(""), &[ALL, &organization, "providers"], &[], most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Show { slug, etag } => {
                let reply = desk.look(&about(&slug), &[ALL, &organization, "providers", &slug]).await?;
                desk.show(&reply, &FIRST, etag)
            }
            Self::Create { slug, kind, said } => {
                let body = said.said().await?.with("slug", Some(slug.as_str())).with("kind", Some(kind)).into_body();
                let reply = desk.ask(&about(&slug), "POST", &[ALL, &organization, "providers"], Some(&body)).await?;
                desk.told(&reply, &made(&about(&slug), &reply))
            }
            Self::Update { slug, kind, said, no_client_secret, if_match } => {
                let said = said.said().await?.with("kind", kind);
                let change = said.with("client_secret", no_client_secret.then_some(Value::Null)).into_change()?;
                let path = [ALL, organization.as_str(), "providers", &slug];
                let reply = desk.change(&about(&slug), &path, &change, if_match).await?;
                desk.show(&reply, &FIRST, false)
            }
            Self::Delete { slug, sure } => {
                let path = [ALL, organization.as_str(), "providers", &slug];
                desk.delete(&about(&slug), &path, " and its links to accounts", &sure).await
            }
        }
    }
}

/// What is left to be done at the provider.
fn made(about: &Thing, reply: &Reply) -> String {
    let what =
        if reply.status == 201 { format!("Made {about}.") } else { format!("{about} was there already, just so.") };
    match reply.body.get("redirect_uri").and_then(Value::as_str).map(printable) {
        Some(address) => format!("{what}\nThere, register this redirect URI (callback) for Countersign:\n  {address}"),
        None => what,
    }
}
