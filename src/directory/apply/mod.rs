//! Makes the directory be as TOML files say (SPEC §5).
//!
//! 1. [`File::read`] reads the files and checks them without the database. Everything that is wrong is told at once.
//! 2. [`apply_in`] compares them with what is stored, and writes the difference in the caller's transaction.
//! 3. The caller appends one audit event per [`Change`] and commits: a change and its event are there together or not.
//!
//! The files are a description and not a script: a key that is absent has its default, so that applying them again
//! changes nothing. Three things are as they are unless a file speaks of them: whether an organization is suspended,
//! whether a user is locked, and, but with [`Mode::prune`], what no file names.
//!
//! `docs/directory.md` is the reference of every key.

mod addresses;
mod change;
mod check;
mod fault;
mod file;
mod one;
mod plan;
mod read;
mod reader;
mod settings;
mod stored;
mod write;
mod written;

use crate::clock::Clock;
use crate::directory::organization::Organization;
use crate::ids::uuid_v7;
use crate::postgres::{self, PgConnection};
use crate::secrets::{Keyring, Passwords, Random, SealError};

pub use addresses::Addresses;
pub use change::{Action, Change, Field, Subject};
pub use check::email;
pub use fault::{Fault, Faults};
pub use file::{File, Size};
pub use one::{Given, Kind};
pub use reader::{SecretLookup, SecretSource};
pub use written::{Select, WrittenService, organization_as_written, provider_as_written, services_as_written};

/// The organization that administers the installation.
pub const PLATFORM: &str = "platform";

/// The service of each organization that is Countersign's own command-line tool: its tokens administer the organization.
pub const OWN_SERVICE: &str = "admin-cli";

/// The client id of that service of [`PLATFORM`].
const OWN_CLIENT: &str = "platform-admin-cli";

/// The scopes of that service, always and only, in the words in which people are asked for them.
pub const ADMIN_SCOPES: [(&str, &str); 2] = [
    ("admin:read", "See everything that you may administer"),
    ("admin:write", "Change everything that you may administer"),
];

/// Held while a plan is made and written: a second apply waits and then finds what the first one wrote.
const LOCK: i64 = 0x6373_6170_706c_7900;

/// What of the installation is needed.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// Keeps the secrets of services and providers.
    pub keyring: &'a Keyring,
    /// Keeps the passwords of users.
    pub passwords: &'a Passwords,
    /// The time, for what is created.
    pub clock: &'a Clock,
    /// Randomness, for ids.
    pub random: &'a Random,
    /// Whom the addresses that are written may name.
    pub addresses: Addresses<'a>,
}

impl Tools<'_> {
    fn new_id(&self) -> uuid::Uuid {
        uuid_v7(self.clock.now(), &self.random.bytes())
    }
}

/// How far to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub struct Mode {
    /// Compare only.
    pub dry_run: bool,
    /// Delete what is in an organization that the files name and is itself named by none, but nothing of `platform`.
    pub prune: bool,
    /// A service without a secret, or a user without a password, keeps the one there is.
    pub keep_secrets: bool,
    /// A user who has a password keeps it, whatever is said: nobody learns whether it is the one that is given.
    pub keep_passwords: bool,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Client ids that belong to services which the files don't speak of.
    #[error("these client ids are taken: {}; choose others, or have those services renamed or pruned", listed(.0))]
    ClientIdsTaken(Vec<TakenClientId>),
    /// Addresses to which no request would be sent, since they were written over the network.
    #[error(transparent)]
    NotPublic(Faults),
    /// A provider's secret can't be kept.
    #[error(transparent)]
    NotSealed(#[from] SealError),
    /// A password can't be kept.
    #[error("a password could not be hashed")]
    NotHashed,
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A client id that a service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenClientId {
    /// The id.
    pub client_id: String,
    /// The slug of the service.
    pub service: String,
    /// The slug of its organization.
    pub organization: String,
}

fn listed(taken: &[TakenClientId]) -> String {
    let one = |TakenClientId { client_id, service, organization }: &TakenClientId| {
        format!("{client_id:?} (service {service:?} of organization {organization:?})")
    };
    taken.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Makes the directory be as `file` says and tells what that changes, in the order of the file.
///
/// `conn` must be in a transaction: it holds a lock until its end, and an error leaves it half written, to be rolled
/// back. With [`Mode::dry_run`] nothing is locked or written, and the changes are those that there would be.
pub async fn apply_in(
    conn: &mut PgConnection,
    tools: &Tools<'_>,
    file: &File,
    mode: Mode,
) -> Result<Vec<Change>, ApplyError> {
    if !mode.dry_run {
        lock(conn).await?;
    }
    // Passwords are verified, then hashed: hundreds of them take longer than a transaction may else do nothing.
    postgres::compute(conn).await?;
    let steps = plan::plan(conn, tools, file, mode).await?;
    let hashes = if mode.dry_run { Vec::new() } else { write::hashes(tools, &steps).await? };
    postgres::computed(conn).await?;
    if !mode.dry_run {
        write::write(conn, tools, &steps, hashes).await?;
    }
    Ok(steps.into_iter().map(|step| step.change).collect())
}

/// Waits until nobody else writes the directory; until the end of the caller's transaction, nobody does.
pub async fn lock(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(conn).await?;
    Ok(())
}

/// Deletes something of an organization, and tells it as a change. An organization goes with all that it owns: whether it
/// owns anything is for the caller to ask, who holds the [`lock`].
pub async fn delete_in(
    conn: &mut PgConnection,
    organization: &Organization,
    subject: Subject,
    name: &str,
) -> Result<Change, sqlx::Error> {
    write::delete_one(conn, organization.id, subject).await?;
    Ok(Change {
        organization_id: organization.id,
        organization_slug: organization.slug.clone(),
        subject,
        name: name.to_owned(),
        action: Action::Deleted,
    })
}
