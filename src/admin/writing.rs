//! Writing the directory: one at a time, few who wait for it, and none who lost the right to it meanwhile.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::{Postgres, Transaction};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::directory::apply::lock;
use crate::directory::user::{self, Status};
use crate::postgres::PgConnection;

use super::Administration;
use super::administrator::Administrator;
use super::problem::Problem;

/// How many requests of this server may write the directory or wait for it: each holds one of the few connections to the
/// database, which pages and polls need too.
pub(super) const AT_ONCE: usize = 3;

/// How long a request waits to be one of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it then waits for whoever writes, on any server.
const SHORT_WAIT: &str = "SET LOCAL lock_timeout = '2s'";

const NOT_ANY_MORE: &str = "Your role was changed, or you were locked, at this moment.";

/// A transaction in which nobody else writes the directory. Dropped, it comes to nothing.
pub(super) struct Writing {
    tx: Transaction<'static, Postgres>,
    _turn: OwnedSemaphorePermit,
}

impl Administrator {
    /// Begins to write the directory. Who asked may have waited for somebody who demoted or locked them, and is looked at again.
    pub(super) async fn begin(&self, api: &Administration) -> Result<Writing, Problem> {
        let turn = timeout(PATIENCE, api.writers.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Problem::unavailable()) };
        let mut tx = api.installation.pool.begin().await?;
        sqlx::query(SHORT_WAIT).execute(&mut *tx).await?;
        lock(&mut tx).await?;
        let now = user::by_id(&mut tx, self.user).await?;
        if !now.is_some_and(|now| now.status == Status::Active && self.reach.is_kept_by(now.role)) {
            return Err(Problem::forbidden(NOT_ANY_MORE));
        }
        Ok(Writing { tx, _turn: turn })
    }
}

impl Writing {
    /// Keeps what was written.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.tx.commit().await
    }

    /// Takes it back.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.tx.rollback().await
    }
}

impl Deref for Writing {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}
