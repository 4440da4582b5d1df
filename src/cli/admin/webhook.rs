//! `countersign webhook`: programs of an organization's own that are told what happens.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{Reply, printable};

use super::EXIT_CODES;
use super::choice::{OfOrganization, name};
use super::desk::{ALL, Desk, Sure, administer, tag};
use super::failure::{Failure, Thing};
use super::given::Said;
use super::table::{Column, column, member, whole};

const COLUMNS: [Column; 3] = [
    column("URL", |item| member(item, "url")),
    column("EVENTS", |item| member(item, "events")),
    whole("ID", |item| member(item, "id")),
];
const FIRST: [&str; 4] = ["url", "events", "organization", "id"];

/// Administer the webhooks of an organization: programs that are told what happens
///
/// Admins look, owners change. Log in first: countersign login URL --admin. WEBHOOK is its address or its id.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct WebhookArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    of: OfOrganization,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List webhooks
    List {
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Show one
    Show {
        #[command(flatten)]
        which: Which,
        /// Print its version alone, for --if-match
        #[arg(long)]
        etag: bool,
    },
    /// Make one, and print the secret that its messages are signed with
    Create {
        /// Where messages are posted. It never changes
        url: String,
        #[command(flatten)]
        said: WebhookSaid,
    },
    /// Change what it is told of, or its secret
    Update {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        said: WebhookSaid,
        /// Only if it is still this version, as show --etag told it; * for whatever is there
        #[arg(long, value_name = "ETAG", value_parser = tag, allow_hyphen_values = true)]
        if_match: Option<String>,
    },
    /// Draw another secret, which is printed this once: the next message is signed with it
    RotateSecret {
        #[command(flatten)]
        which: Which,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Send it a message now, and say whether it took it
    Test {
        #[command(flatten)]
        which: Which,
    },
    /// Delete one, and what it has not been told yet
    Delete {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Args, Debug)]
struct Which {
    /// Its address or id
    #[arg(value_name = "WEBHOOK", value_parser = name)]
    webhook: String,
}

#[derive(Args, Debug)]
struct WebhookSaid {
    /// What it is told of: approved or reported. Again for the next one [default: everything]
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,
    /// A file with the secret that its messages are signed with; - for standard input [default: one is drawn]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl WebhookSaid {
    async fn said(self) -> Result<Said, Failure> {
        Said::default().with_list("events", &self.event).with_secret("secret", self.secret_file.as_deref()).await
    }
}

/// Does it.
pub async fn run(args: WebhookArgs) -> ExitCode {
    administer(args.of.common, args.of.org, async |desk| args.action.run(desk).await).await
}

impl Action {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        let webhooks = [ALL, organization.as_str(), "webhooks"];
        match self {
            Self::List { limit } => {
                let most = limit.and_then(|limit| limit.try_into().ok());
                let listed = desk.list(&Thing::of("webhook", "", &organization), &webhooks, &[], most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Show { which, etag } => {
                let (id, about) = which.find(desk, &organization).await?;
                let reply = desk.look(&about, &[ALL, &organization, "webhooks", &id]).await?;
                desk.show(&reply, &FIRST, etag)
            }
            Self::Create { url, said } => {
                let body = said.said().await?.with("url", Some(url.as_str())).into_body();
                let about = Thing::of("webhook", &url, &organization);
                let reply = desk.ask(&about, "POST", &webhooks, Some(&body)).await?;
                desk.told(&reply, &made(&about, &reply))
            }
            Self::Update { which, said, if_match } => {
                let change = said.said().await?.into_change()?;
                let (id, about) = which.find(desk, &organization).await?;
                let path = [ALL, organization.as_str(), "webhooks", &id];
                let reply = desk.change(&about, &path, &change, if_match).await?;
                desk.show(&reply, &FIRST, false)
            }
            Self::RotateSecret { which, yes } => {
                let (id, about) = which.find(desk, &organization).await?;
                desk.confirm(&format!("Draw another secret for {about}? The next message is signed with it."), yes)
                    .await?;
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "webhooks", &id, "secret"], None).await?;
                desk.told(&reply, &format!("secret  {}\nIt is told this once: keep it now.", text(&reply, "secret")))
            }
            Self::Test { which } => {
                let (id, about) = which.find(desk, &organization).await?;
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "webhooks", &id, "test"], None).await?;
                if reply.body.get("delivered").and_then(Value::as_bool).unwrap_or_default() {
                    return desk.told(&reply, &format!("Delivered a message to {about}."));
                }
                let words = format!("{about} took no message: {}", text(&reply, "trouble"));
                Err(Failure::Undone { answer: reply.body, words })
            }
            Self::Delete { which, sure } => {
                let (id, about) = which.find(desk, &organization).await?;
                let path = [ALL, organization.as_str(), "webhooks", &id];
                desk.delete(&about, &path, " and what it has not been told yet", &sure).await
            }
        }
    }
}

impl Which {
    /// Its id, by its address or as it is named, and what it is called in words.
    async fn find(self, desk: &mut Desk, organization: &str) -> Result<(String, Thing), Failure> {
        let about = Thing::of("webhook", &self.webhook, organization);
        if !self.webhook.contains("://") {
            return Ok((self.webhook, about));
        }
        let all = Thing::of("webhook", "", organization);
        let listed = desk.list(&all, &[ALL, organization, "webhooks"], &[], None).await?;
        let is = |webhook: &&Value| webhook.get("url").and_then(Value::as_str) == Some(&self.webhook);
        let id = listed.items.iter().find(is).and_then(|webhook| webhook.get("id")).and_then(Value::as_str);
        id.map(|id| (id.to_owned(), about.clone())).ok_or(Failure::NotThere(about))
    }
}

/// What the program that is told has to know.
fn made(about: &Thing, reply: &Reply) -> String {
    let what =
        if reply.status == 201 { format!("Made {about}.") } else { format!("{about} was there already, just so.") };
    match text(reply, "secret").as_str() {
        "" => what,
        secret => format!("{what}\n\n  secret  {secret}   (told this once: keep it now)\n"),
    }
}

fn text(reply: &Reply, name: &str) -> String {
    reply.body.get(name).and_then(Value::as_str).map(printable).unwrap_or_default()
}
