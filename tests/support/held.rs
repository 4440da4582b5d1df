//! A database in which something is locked, so that a test can act while requests wait for it.

use std::time::Duration;

use sqlx::{PgPool, Postgres, Transaction};

use super::App;

/// What the owner of the database locked, until it is let go.
pub struct Held {
    owner: PgPool,
    lock: Transaction<'static, Postgres>,
}

impl Held {
    /// Holds what this statement locks.
    pub async fn by(app: &App, sql: &'static str) -> Self {
        let owner = app.owner();
        let mut lock = owner.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *lock).await.unwrap();
        Self { owner, lock }
    }

    /// Does this besides, in the transaction that holds the lock.
    pub async fn execute(&mut self, sql: &'static str) {
        sqlx::query(sql).execute(&mut *self.lock).await.unwrap();
    }

    /// Returns when so many of the servers' statements wait.
    pub async fn until_waiting(&self, statements: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        loop {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&self.owner).await.unwrap();
            if count >= statements {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns when a statement waits in which this stands: what runs beside the requests may be waiting as well.
    pub async fn until_waits(&self, part: &str) {
        let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock' AND strpos(query, $1) > 0)";
        while !sqlx::query_scalar::<_, bool>(waiting).bind(part).fetch_one(&self.owner).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Cuts the connections of those that wait.
    pub async fn cut(&self) {
        let cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query(cut).execute(&self.owner).await.unwrap();
    }

    /// Lets go.
    pub async fn release(self) {
        self.lock.commit().await.unwrap();
        self.owner.close().await;
    }
}
