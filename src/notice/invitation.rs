//! What the mail says to whoever is invited.
//!
//! Its reader may know nobody here, and whoever invites may be somebody who wants mails of theirs to come from here. So it has
//! one link, which leads to this server; of what an inviter can choose it has the names of the organization and of themselves, in
//! which no mail program finds a link; and it says that nothing has to be done.

use askama::Template;
use serde_json::Value;

use crate::installation::Installation;

use super::delivery::Failure;
use super::mail::{Words, in_one_line, told, without_links, written};
use super::told::{Invitation, Person};

/// The most signs of a name here: longer ones are whole sentences.
const LONGEST_NAME: usize = 60;

/// What both halves of the mail say.
struct Said {
    subject: String,
    host: String,
    organization: String,
    account: String,
    role: &'static str,
    inviter: String,
    with_password: bool,
    link: String,
}

#[derive(Template)]
#[template(path = "mail/invited.txt", escape = "none")]
struct Text<'a> {
    said: &'a Said,
}

#[derive(Template)]
#[template(path = "mail/invited.html")]
struct Html<'a> {
    said: &'a Said,
}

/// The words of an invitation.
pub(super) fn words(installation: &Installation, content: &Value, address: &str) -> Result<Words, Failure> {
    let said = Said::of(installation, &told(content)?, address);
    Ok(Words { text: written(&Text { said: &said })?, html: written(&Html { said: &said })?, subject: said.subject })
}

impl Said {
    fn of(installation: &Installation, invitation: &Invitation, address: &str) -> Self {
        let organization = name(&invitation.organization.name);
        Self {
            subject: format!("You are invited to {organization}"),
            host: installation.public_url.host(),
            account: in_one_line(address),
            role: match &*invitation.role {
                "owner" => "an owner, who looks after all of it",
                "admin" => "an admin, who looks after its people and services",
                _ => "a member",
            },
            inviter: inviter(&invitation.by),
            with_password: invitation.with_password,
            link: installation.public_url.join(&format!("/account/{}", invitation.organization.slug)),
            organization,
        }
    }
}

/// Who invites, by the address that somebody has verified, if there is one.
fn inviter(by: &Person) -> String {
    match &by.email {
        Some(email) if is_plain(email) => in_one_line(email),
        // Its provider says that it is verified, and a provider may be the inviter's own.
        Some(email) => name(email),
        None if by.name.is_empty() => "An administrator".to_owned(),
        None => name(&by.name),
    }
}

/// Whether an address is no more than one: in quotation marks, anything may stand in it.
fn is_plain(email: &str) -> bool {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "._+-@".contains(sign);
    email.chars().all(plain) && email.matches('@').count() == 1
}

/// A name that somebody chose, of which no mail program makes a link.
fn name(chosen: &str) -> String {
    let shown: String = chosen.chars().take(LONGEST_NAME).collect();
    let end = if chosen.chars().count() > LONGEST_NAME { "…" } else { "" };
    without_links(&shown) + end
}
