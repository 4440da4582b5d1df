//! The files as a whole: read, checked, and refused with everything that is wrong at once.

use std::collections::HashMap;

use crate::directory::organization::Status as OrganizationStatus;
use crate::directory::user::Status as UserStatus;
use crate::secrets::SecretText;

use super::fault::{Fault, Faults, Where};
use super::read;
use super::reader::{Document, Reader, SecretLookup};
use super::settings::{OrganizationSettings, ProviderSettings, ServiceSettings, UserSettings, WebhookSettings};

/// What one or several files say that a directory should be. Only a faultless one exists.
#[derive(Debug)]
pub struct File {
    pub(super) organizations: Vec<Organization>,
}

/// An organization and what it owns, as a file says.
#[derive(Debug)]
pub(super) struct Organization {
    /// Its status is the default when the file says none.
    pub settings: OrganizationSettings,
    /// None: as it is.
    pub status: Option<OrganizationStatus>,
    pub services: Vec<WithSecret<ServiceSettings>>,
    pub providers: Vec<WithSecret<ProviderSettings>>,
    pub users: Vec<User>,
    pub webhooks: Vec<WithSecret<WebhookSettings>>,
}

/// Something that may have a secret.
#[derive(Debug)]
pub(super) struct WithSecret<T> {
    pub settings: T,
    pub secret: Option<SecretText>,
    pub stands: Where,
}

/// A user, as a file says.
#[derive(Debug)]
pub(super) struct User {
    /// Its status is decided when it is known what the user is now.
    pub settings: UserSettings,
    /// None: as it is.
    pub status: Option<UserStatus>,
    pub password: Option<SecretText>,
}

/// How much files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Organizations, and what they own.
    pub things: usize,
    /// Users with a password, each of which takes a moment to keep.
    pub passwords: usize,
}

impl File {
    /// The slugs of the organizations that it is about.
    pub fn slugs(&self) -> impl Iterator<Item = &str> {
        self.organizations.iter().map(|organization| organization.settings.slug.as_str())
    }

    /// How much it says.
    #[must_use]
    pub fn size(&self) -> Size {
        let owned =
            |one: &Organization| one.services.len() + one.providers.len() + one.users.len() + one.webhooks.len();
        let passwords = |one: &Organization| one.users.iter().filter(|user| user.password.is_some()).count();
        Size {
            things: self.organizations.iter().map(|one| 1 + owned(one)).sum(),
            passwords: self.organizations.iter().map(passwords).sum(),
        }
    }

    /// Reads files, each a name (for messages, and from where relative paths of secrets start) and its text.
    ///
    /// Together they are one description: an organization stands in one of them only.
    pub fn read(texts: &[(String, String)], secrets: &SecretLookup<'_>) -> Result<Self, Faults> {
        let mut taken = Taken::default();
        let mut organizations = Vec::new();
        let mut faults: Vec<Fault> = Vec::new();
        for (name, text) in texts {
            let document = Document::new(name, text, secrets);
            let Some(table) = document.parse() else {
                faults.append(&mut document.into_faults());
                continue;
            };
            let mut reader = Reader::new(&document, &table, 0, String::new());
            for (index, (at, table)) in reader.tables("organization").into_iter().enumerate() {
                let place = format!("organization {}", index + 1);
                let reader = Reader::new(&document, table, at, place);
                organizations.extend(read::organization(&document, reader, &mut taken));
            }
            reader.end();
            faults.append(&mut document.into_faults());
        }
        if faults.is_empty() { Ok(Self { organizations }) } else { Err(Faults(faults)) }
    }
}

/// Names that may be given once, and where they were given: for one thing per organization, or in all files.
#[derive(Default)]
pub(super) struct Taken(HashMap<(&'static str, String), String>);

impl Taken {
    /// Takes a name of some kind for the thing at `place`, and says at which place it was before.
    pub(super) fn take(&mut self, kind: &'static str, name: &str, place: &str) -> Option<String> {
        self.0.insert((kind, name.to_owned()), place.to_owned())
    }
}
