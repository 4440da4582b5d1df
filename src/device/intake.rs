//! New grants on their way into the database: those that come at the same time share a statement and its commit.
//!
//! None is answered for before its commit, and none waits for others while the database has nothing to do
//! ([`grouping`](crate::grouping)).

use std::sync::Arc;
use std::time::Duration;

use crate::grouping::{Groups, Limits, Undone, Work};
use crate::postgres::{self, PgPool};

use super::store::{self, NewGrant};

/// Two, so that one is written while the other's commit is on its way to the disk.
const LIMITS: Limits = Limits { flights: 2, together: 256, queue: 4096, patience: Duration::from_secs(3) };

/// Why it isn't known whether a grant was written; that it is nobody's is.
pub type NotWritten = Undone<Arc<sqlx::Error>>;

/// Where new grants are handed in. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Groups<Writing>);

impl Intake {
    /// Into the database of this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(Groups::new(Writing(pool), LIMITS))
    }

    /// Writes a pending grant and its event, and returns after the commit. `false`: its user code is somebody's already, draw another.
    pub async fn write(&self, grant: NewGrant) -> Result<bool, NotWritten> {
        self.0.submit(grant).await
    }
}

struct Writing(PgPool);

impl Work for Writing {
    type Item = NewGrant;
    type Outcome = bool;
    type Error = Arc<sqlx::Error>;

    async fn perform(&self, grants: &[NewGrant]) -> Result<Vec<bool>, Arc<sqlx::Error>> {
        let mut conn = self.0.acquire().await?;
        Ok(store::insert(&mut conn, grants).await?)
    }

    /// A grant's service may have been deleted since its client was looked up.
    fn may_be_of_one(error: &Arc<sqlx::Error>) -> bool {
        postgres::is_of_a_row(error)
    }
}
