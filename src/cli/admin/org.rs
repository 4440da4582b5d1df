//! `countersign org`: organizations.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::login::PLATFORM;

use super::EXIT_CODES;
use super::choice::{Common, name};
use super::desk::{ALL, Desk, Sure, administer, tag};
use super::failure::{Failure, Thing};
use super::given::Said;
use super::table::{Column, column, member, whole};

const COLUMNS: [Column; 4] = [
    whole("SLUG", |item| member(item, "slug")),
    column("NAME", |item| member(item, "name")),
    column("STATUS", |item| member(item, "status")),
    column("MFA", |item| member(item, "mfa")),
];
const FIRST: [&str; 4] = ["slug", "name", "status", "mfa"];

/// Administer organizations
///
/// Owners of platform see all and make them; everybody else sees their own. Log in first: countersign login URL --admin
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct OrgArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List organizations
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
    /// Count its users, signed-in devices and logins in progress
    Statistics {
        #[arg(value_parser = name)]
        slug: String,
    },
    /// Make one, with its service admin-cli
    Create {
        /// Its name in addresses and files. It never changes
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        said: OrgSaid,
    },
    /// Change its name, or whether a second factor is asked
    Update {
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        said: OrgSaid,
        /// Only if it is still this version, as show --etag told it; * for whatever is there
        #[arg(long, value_name = "ETAG", value_parser = tag, allow_hyphen_values = true)]
        if_match: Option<String>,
    },
    /// Let nobody log in any more, and end its sessions
    Suspend {
        #[arg(value_parser = name)]
        slug: String,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let people log in again
    Activate {
        #[arg(value_parser = name)]
        slug: String,
    },
    /// Delete one that owns nothing any more
    Delete {
        #[arg(value_parser = name)]
        slug: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Args, Debug)]
struct OrgSaid {
    /// Its name to people
    #[arg(long)]
    name: Option<String>,
    /// Whether a second factor is asked: required, `if_enrolled` or off
    #[arg(long, value_name = "POLICY")]
    mfa: Option<String>,
}

impl OrgSaid {
    fn said(self) -> Said {
        Said::default().with("name", self.name).with("mfa", self.mfa)
    }
}

/// Does it.
pub async fn run(args: OrgArgs) -> ExitCode {
    let organization = args.action.reaches().to_owned();
    administer(args.common, Some(organization), async |desk| args.action.run(desk).await).await
}

impl Action {
    /// Whose login is best for it.
    fn reaches(&self) -> &str {
        match self {
            Self::Show { slug, .. } | Self::Statistics { slug } | Self::Update { slug, .. } => slug,
            _ => PLATFORM,
        }
    }

    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        match self {
            Self::List { limit } => {
                let about = Thing::organization("");
                let most = limit.and_then(|limit| limit.try_into().ok());
                let listed = desk.list(&about, &[ALL], &[], most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Show { slug, etag } => {
                let reply = desk.look(&Thing::organization(&slug), &[ALL, &slug]).await?;
                desk.show(&reply, &FIRST, etag)
            }
            Self::Statistics { slug } => {
                let reply = desk.look(&Thing::organization(&slug), &[ALL, &slug, "statistics"]).await?;
                desk.show(&reply, &["users", "sessions", "grants"], false)
            }
            Self::Create { slug, said } => {
                let body = said.said().with("slug", Some(slug.as_str())).into_body();
                let about = Thing::organization(&slug);
                let reply = desk.ask(&about, "POST", &[ALL], Some(&body)).await?;
                let words = match reply.status {
                    201 => format!(
                        "Made {about}. Say how its people sign in: countersign provider create NAME --kind KIND --org {slug}\n\
                         Give it a first owner: countersign user invite EMAIL --role owner --org {slug}\n\
                         Where KIND is password, say --password-file FILE as well: without a first one nobody signs in\n\
                         They administer it after: countersign login {} --admin --org {slug}",
                        desk.issuer()
                    ),
                    _ => format!("{about} was there already, just so."),
                };
                desk.told(&reply, &words)
            }
            Self::Update { slug, said, if_match } => {
                let about = Thing::organization(&slug);
                let reply = desk.change(&about, &[ALL, &slug], &said.said().into_change()?, if_match).await?;
                desk.show(&reply, &FIRST, false)
            }
            Self::Suspend { slug, yes } => {
                let about = Thing::organization(&slug);
                desk.confirm(&format!("Suspend {about} and sign everybody out?"), yes).await?;
                let reply = desk.ask(&about, "POST", &[ALL, &slug, "suspend"], None).await?;
                desk.told(&reply, &format!("Suspended {about}."))
            }
            Self::Activate { slug } => {
                let about = Thing::organization(&slug);
                let reply = desk.ask(&about, "POST", &[ALL, &slug, "activate"], None).await?;
                desk.told(&reply, &format!("Activated {about}."))
            }
            Self::Delete { slug, sure } => desk.delete(&Thing::organization(&slug), &[ALL, &slug], "", &sure).await,
        }
    }
}
