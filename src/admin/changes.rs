//! What `apply` can write is written by `apply`, for a program that says one thing instead of a file that says all.

use crate::audit::{Event, Kind};
use crate::directory::apply::{self, Addresses, ApplyError, Change, File, Mode, Subject, Tools, apply_in};
use crate::directory::organization::Organization;
use crate::postgres::PgConnection;

use super::administrator::Administrator;
use super::problem::Problem;

/// Leaves secrets that nobody gives as they are.
const KEEPING: Mode = Mode { dry_run: false, prune: false, keep_secrets: true, keep_passwords: false };

impl Administrator {
    /// Makes the directory be as this says, in the caller's transaction, with an event for each change. `false`: it was so.
    pub async fn write(&self, conn: &mut PgConnection, file: &File) -> Result<bool, Problem> {
        let changes = apply_in(conn, &self.tools(), file, KEEPING).await?;
        for change in &changes {
            self.note(conn, change).await?;
        }
        Ok(!changes.is_empty())
    }

    /// Makes the directory be as files say, secrets and all, in the caller's transaction, with an event for each change. Passwords
    /// are first ones only, as for single people.
    pub async fn apply(&self, conn: &mut PgConnection, file: &File, prune: bool) -> Result<Vec<Change>, ApplyError> {
        let changes =
            apply_in(conn, &self.tools(), file, Mode { prune, keep_passwords: true, ..Mode::default() }).await?;
        for change in &changes {
            self.event_of(change).append(conn).await?;
        }
        Ok(changes)
    }

    /// Whether the directory is as this says.
    pub async fn is_so(&self, conn: &mut PgConnection, file: &File) -> Result<bool, Problem> {
        let mode = Mode { dry_run: true, ..KEEPING };
        Ok(apply_in(conn, &self.tools(), file, mode).await?.is_empty())
    }

    /// Deletes something, with its event.
    pub async fn delete(
        &self,
        conn: &mut PgConnection,
        organization: &Organization,
        subject: Subject,
        name: &str,
    ) -> Result<(), Problem> {
        let change = apply::delete_in(conn, organization, subject, name).await?;
        self.note(conn, &change).await
    }

    /// Appends the event of a change.
    async fn note(&self, conn: &mut PgConnection, change: &Change) -> Result<(), Problem> {
        Ok(self.event_of(change).append(conn).await?)
    }

    fn event_of(&self, change: &Change) -> Event {
        let mut event = self.event(Kind::Administered).of(change.organization_id).detail(change.detail_by(&self.by()));
        if let Some(service) = change.service_id() {
            event = event.service(service);
        }
        if let Some(user) = change.user_id() {
            event = event.user(user);
        }
        event
    }

    /// What writing takes. Where an address leads is not this machine's word, whoever it is that writes it.
    pub(super) fn tools(&self) -> Tools<'_> {
        Tools {
            keyring: &self.installation.keyring,
            passwords: &self.installation.passwords,
            clock: &self.installation.clock,
            random: &self.installation.random,
            addresses: Addresses::Public(&self.installation.outbound),
        }
    }
}
