//! Grants that polls look up: those that come at the same time are read by one statement.
//!
//! After a restart a server knows no code, and every device's next poll has to be looked up. They are, some hundreds at
//! a time, instead of one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::grouping::{Groups, Limits, Undone, Work};
use crate::ids::GrantId;
use crate::postgres::{self, PgPool};

use super::grant::Grant;
use super::store;

/// How long a poll waits for the database before it says that nothing is decided as far as is known.
pub const PATIENCE: Duration = Duration::from_secs(3);

const LIMITS: Limits = Limits { flights: 4, together: 256, queue: 65_536, patience: PATIENCE };

/// Why nothing was found out.
pub type NotFoundOut = Undone<Arc<sqlx::Error>>;

/// Where grants are looked up. Cheap to clone.
#[derive(Clone)]
pub struct Lookups(Groups<Reading>);

impl Lookups {
    /// In the database of this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(Groups::new(Reading(pool), LIMITS))
    }

    /// Finds a grant, and who approved it, if somebody did, as it was after this was called.
    pub async fn find(&self, grant: GrantId) -> Result<Option<Grant>, NotFoundOut> {
        self.0.submit(grant).await
    }
}

struct Reading(PgPool);

impl Work for Reading {
    type Item = GrantId;
    type Outcome = Option<Grant>;
    type Error = Arc<sqlx::Error>;

    async fn perform(&self, grants: &[GrantId]) -> Result<Vec<Option<Grant>>, Arc<sqlx::Error>> {
        let mut conn = self.0.acquire().await?;
        let found = store::by_ids(&mut conn, grants).await?;
        // One grant may be asked for by several polls.
        let found: HashMap<GrantId, Grant> = found.into_iter().map(|grant| (grant.id, grant)).collect();
        Ok(grants.iter().map(|id| found.get(id).cloned()).collect())
    }

    fn may_be_of_one(error: &Arc<sqlx::Error>) -> bool {
        postgres::is_of_an_unreadable_row(error)
    }
}
