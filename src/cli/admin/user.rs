//! `countersign user`: people.

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

const COLUMNS: [Column; 6] = [
    column("EMAIL", |item| member(item, "email")),
    column("NAME", |item| member(item, "name")),
    column("ROLE", |item| member(item, "role")),
    column("STATUS", |item| member(item, "status")),
    column("MFA", |item| member(item, "has_authenticator")),
    whole("ID", |item| member(item, "id")),
];
const FIRST: [&str; 6] = ["email", "name", "role", "status", "organization", "id"];

/// Administer the people of an organization
///
/// Log in first: countersign login URL --admin. USER is an e-mail address or an id.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct UserArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    of: OfOrganization,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List people
    List {
        /// At most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Show somebody
    Show {
        #[command(flatten)]
        who: Who,
        /// Print their version alone, for --if-match
        #[arg(long)]
        etag: bool,
    },
    /// Invite somebody, by mail where this is set up, or print where they sign in
    #[command(visible_alias = "invite")]
    Create {
        /// Their address
        #[arg(value_name = "EMAIL")]
        email: String,
        /// As they are called
        #[arg(long)]
        name: Option<String>,
        /// member, admin or owner: not above your own
        #[arg(long)]
        role: Option<String>,
        /// A file with a first password, without which nobody signs in where passwords alone are taken; - for standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Invite them only if they get a mail that says where they sign in. Otherwise they get one where mails are sent
        #[arg(long, conflicts_with = "no_mail")]
        mail: bool,
        /// Mail them nothing
        #[arg(long)]
        no_mail: bool,
    },
    /// Change somebody's name or role
    Update {
        #[command(flatten)]
        who: Who,
        /// As they are called
        #[arg(long)]
        name: Option<String>,
        /// member, admin or owner: not above your own
        #[arg(long)]
        role: Option<String>,
        /// Only if they are still this version, as show --etag told it; * for whatever is there
        #[arg(long, value_name = "ETAG", value_parser = tag, allow_hyphen_values = true)]
        if_match: Option<String>,
    },
    /// Let somebody log in no more, and end everything that they are signed in to
    Lock {
        #[command(flatten)]
        who: Who,
    },
    /// Let somebody log in again
    Unlock {
        #[command(flatten)]
        who: Who,
    },
    /// Take somebody's authenticator and recovery codes away: make sure that it is they who asked
    ResetMfa {
        #[command(flatten)]
        who: Who,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete somebody, their sessions and factors
    Delete {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Args, Debug)]
struct Who {
    /// Their e-mail address or id
    #[arg(value_name = "USER", value_parser = name)]
    user: String,
}

/// Somebody who was found.
struct Found {
    id: String,
    about: Thing,
}

/// Does it.
pub async fn run(args: UserArgs) -> ExitCode {
    administer(args.of.common, args.of.org, async |desk| args.action.run(desk).await).await
}

impl Action {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let organization = desk.organization()?;
        match self {
            Self::List { limit } => {
                let most = limit.and_then(|limit| limit.try_into().ok());
                let about = Thing::of("user", "", &organization);
                let listed = desk.list(&about, &[ALL, &organization, "users"], &[], most).await?;
                desk.table(&listed, &COLUMNS)
            }
            Self::Show { who, etag } => {
                let Found { id, about } = who.find(desk, &organization).await?;
                let reply = desk.look(&about, &[ALL, &organization, "users", &id]).await?;
                desk.show(&reply, &FIRST, etag)
            }
            Self::Create { email, name, role, password_file, mail, no_mail } => {
                let has_password = password_file.is_some();
                let said = Said::default().with("email", Some(email.as_str())).with("name", name).with("role", role);
                let said = said.with("mail", (mail || no_mail).then_some(mail));
                let body = said.with_secret("password", password_file.as_deref()).await?.into_body();
                let about = Thing::of("user", &email, &organization);
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "users"], Some(&body)).await?;
                let obstacle = Obstacle::of(&reply.body, desk, &organization).await;
                let words = invited(desk, &organization, &reply, has_password, obstacle.is_some());
                let but = obstacle.map(|obstacle| format!("\n{}", obstacle.told(&reply.body, &organization)));
                desk.told(&reply, &format!("{words}{}", but.unwrap_or_default()))
            }
            Self::Update { who, name, role, if_match } => {
                let change = Said::default().with("name", name).with("role", role).into_change()?;
                let Found { id, about } = who.find(desk, &organization).await?;
                let reply = desk.change(&about, &[ALL, &organization, "users", &id], &change, if_match).await?;
                desk.show(&reply, &FIRST, false)
            }
            Self::Lock { who } => {
                let Found { id, about } = who.find(desk, &organization).await?;
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "users", &id, "lock"], None).await?;
                desk.told(&reply, &format!("Locked {about}, and signed them out everywhere."))
            }
            Self::Unlock { who } => {
                let Found { id, about } = who.find(desk, &organization).await?;
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "users", &id, "unlock"], None).await?;
                desk.told(&reply, &format!("Unlocked {about}."))
            }
            Self::ResetMfa { who, yes } => {
                let Found { id, about } = who.find(desk, &organization).await?;
                let question = format!(
                    "Take the second factors of {about} away and sign them out? Make sure that it is they who asked."
                );
                desk.confirm(&question, yes).await?;
                let reply = desk.ask(&about, "POST", &[ALL, &organization, "users", &id, "reset-mfa"], None).await?;
                desk.told(&reply, &reset(&about, &reply.body))
            }
            Self::Delete { who, sure } => {
                let Found { id, about } = who.find(desk, &organization).await?;
                let path = [ALL, organization.as_str(), "users", &id];
                desk.delete(&about, &path, " with their sessions and factors", &sure).await
            }
        }
    }
}

impl Who {
    /// By their address, or as they are named.
    async fn find(self, desk: &mut Desk, organization: &str) -> Result<Found, Failure> {
        find(desk, organization, &self.user).await.map(|(id, about)| Found { id, about })
    }
}

/// The id of somebody, and what they are called in words.
pub async fn find(desk: &mut Desk, organization: &str, user: &str) -> Result<(String, Thing), Failure> {
    let about = Thing::of("user", user, organization);
    if !user.contains('@') {
        return Ok((user.to_owned(), about));
    }
    let people = Thing::of("user", "", organization);
    let found = desk.list(&people, &[ALL, organization, "users"], &[("email", user)], Some(1)).await?;
    let id = found.items.first().and_then(|user| user.get("id")).and_then(Value::as_str).map(str::to_owned);
    id.map(|id| (id, about.clone())).ok_or(Failure::NotThere(about))
}

/// Why somebody who was invited can't sign in.
#[derive(Clone, Copy)]
enum Obstacle {
    /// Nobody can.
    NoProvider,
    /// Only passwords are taken, and they have none. No page sets a first one.
    NoPassword,
    /// They have a password, and it is taken nowhere.
    PasswordOfNoUse,
}

impl Obstacle {
    /// What stands in somebody's way. What can't be found out is nobody's worry: who asked has done their deed.
    async fn of(user: &Value, desk: &mut Desk, organization: &str) -> Option<Self> {
        let about = Thing::of("provider", "", organization);
        let listed = desk.list(&about, &[ALL, organization, "providers"], &[], None).await.ok()?;
        let takes_passwords = |provider: &Value| provider.get("kind").and_then(Value::as_str) == Some("password");
        let passwords = listed.items.iter().any(takes_passwords);
        let elsewhere = listed.items.iter().any(|provider| !takes_passwords(provider));
        let has_password = user.get("has_password").and_then(Value::as_bool).unwrap_or_default();
        let signed_in_before = user.get("providers").and_then(Value::as_array).is_some_and(|slugs| !slugs.is_empty());
        match (passwords, elsewhere, has_password) {
            (false, false, _) => Some(Self::NoProvider),
            (true, false, false) => Some(Self::NoPassword),
            (false, true, true) if !signed_in_before => Some(Self::PasswordOfNoUse),
            _ => None,
        }
    }

    /// The same, and what to do about it.
    fn told(self, user: &Value, organization: &str) -> String {
        let text = |name: &str| user.get(name).and_then(Value::as_str).map(printable).unwrap_or_default();
        let (email, role) = (text("email"), text("role"));
        let provider = format!("countersign provider create NAME --kind KIND --org {organization}");
        match self {
            Self::NoProvider => format!("Nobody can sign in to {organization} yet: {provider}"),
            Self::NoPassword => format!(
                "They can't sign in yet: {organization} takes nothing but passwords, and they have none. \
                 Invite them anew, with a first one:\n  \
                 countersign user delete {email} --org {organization}\n  \
                 countersign user invite {email} --role {role} --password-file FILE --org {organization}\n\
                 Or give {organization} another provider:\n  {provider}"
            ),
            Self::PasswordOfNoUse => format!(
                "Their password is of no use yet: {organization} has no provider that takes one. \
                 countersign provider create NAME --kind password --org {organization}"
            ),
        }
    }
}

/// What the one who invited passes on.
fn invited(desk: &Desk, organization: &str, reply: &Reply, has_password: bool, later: bool) -> String {
    let user = &reply.body;
    let text = |name: &str| user.get(name).and_then(Value::as_str).map(printable).unwrap_or_default();
    let (email, role) = (text("email"), text("role"));
    let what = if reply.status == 201 {
        format!("Invited {email} to {organization} as {role}.")
    } else {
        format!("{email} is in {organization} already, just so: {role}, {}.", text("status"))
    };
    let mailed = user.get("mail_queued").and_then(Value::as_bool).unwrap_or_default();
    let how = match (mailed, later, has_password) {
        (true, _, false) => format!("A mail was sent to {email}, which says where they sign in:"),
        (true, _, true) => {
            format!("A mail was sent to {email}, which says where they sign in, without the password that you gave:")
        }
        (false, true, _) => "Once they can, they sign in with this address, here to see their devices:".to_owned(),
        (false, false, true) => {
            "They sign in with this address and the password that you gave, here to see their devices:".to_owned()
        }
        (false, false, false) => "They sign in with this address, here to see their devices:".to_owned(),
    };
    format!("{what}\n{how}\n  {}/account/{organization}", desk.issuer())
}

fn reset(about: &Thing, body: &Value) -> String {
    let ended = body.get("sessions_ended").and_then(Value::as_u64).unwrap_or_default();
    if body.get("was_enrolled").and_then(Value::as_bool).unwrap_or_default() {
        format!("Took the second factors of {about} away. Devices signed out: {ended}.")
    } else {
        format!("{about} had no second factor. Devices signed out: {ended}.")
    }
}
