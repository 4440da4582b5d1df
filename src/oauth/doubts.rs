//! Redemptions of which nobody knows whether they were committed.
//!
//! The database is lost, or the device hangs up, just as a grant is redeemed: its session may be there, and nobody has the
//! tokens. Whoever approved would have approved in vain, and the device's next poll would look like a thief's. So:
//!
//! 1. The node that redeems notes the session before, and strikes it out when it knows the outcome.
//! 2. What remains is taken back as soon as the database answers: the session, of which nobody has anything, is deleted, and
//!    the grant is approved once more. The next poll, at whichever node, redeems it anew. A statement may be done later than
//!    it was given up, so this node looks for it for some minutes.
//! 3. Until then no poll is told that this redemption is over: not by this node, nor after an outage by any other
//!    ([`OUTAGE_SETTLES`]).
//!
//! A node that is killed takes its doubts with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::ids::{GrantId, OrganizationId, ServiceId, SessionId, UserId};
use crate::installation::Installation;
use crate::postgres::Availability;

/// How long this node looks for one.
const LOOKED_FOR: TimeDelta = TimeDelta::minutes(5);

/// More than would be in doubt when the database of a large installation is lost.
const MOST: usize = 10_000;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long after an outage the nodes have to take back what they don't know to be done.
pub const OUTAGE_SETTLES: Duration = Duration::from_secs(10);

/// How long before an outage was noticed a redemption may have been caught by it.
pub const OUTAGE_UNNOTICED: TimeDelta = TimeDelta::seconds(15);

/// The redemptions of this node that are in doubt. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doubts(Arc<Inner>);

#[derive(Default)]
struct Inner {
    noted: Mutex<HashMap<SessionId, Doubt>>,
    /// Rung when one is noted.
    news: Notify,
}

#[derive(Clone, Copy)]
struct Doubt {
    grant: GrantId,
    until: DateTime<Utc>,
    /// A poll that looked before is still told so.
    taken_back: bool,
}

/// A redemption that is being written. Dropped before it has an outcome, it is in doubt.
pub struct Redeeming<'a> {
    doubts: &'a Doubts,
    session: SessionId,
    doubt: Option<Doubt>,
}

impl Doubts {
    /// Begins to redeem a grant into this session.
    #[must_use = "it is in doubt when it is dropped"]
    pub fn about(&self, grant: GrantId, session: SessionId, now: DateTime<Utc>) -> Redeeming<'_> {
        Redeeming { doubts: self, session, doubt: Some(Doubt { grant, until: now + LOOKED_FOR, taken_back: false }) }
    }

    /// Whether it is in doubt that the tokens of this session were sent.
    #[must_use]
    pub fn hold(&self, session: SessionId) -> bool {
        self.noted().contains_key(&session)
    }

    /// Takes back what was redeemed in doubt, until `stop`.
    pub async fn watch(self, installation: Installation, database: Availability, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.0.news.notified() => {}
            }
            let now = installation.clock.now();
            self.noted().retain(|_, doubt| doubt.until > now);
            // What is lost meanwhile is looked for again.
            let Ok(Err(error)) = database.unless_lost(self.take_back(&installation)).await else { continue };
            tracing::error!(%error, "redemptions in doubt can't be taken back yet");
        }
    }

    /// Takes back those that were done.
    pub async fn take_back(&self, installation: &Installation) -> Result<(), sqlx::Error> {
        let noted: Vec<_> = {
            let noted = self.noted();
            let open = noted.iter().filter(|(_, doubt)| !doubt.taken_back);
            open.map(|(session, doubt)| (*session, doubt.grant)).collect()
        };
        if noted.is_empty() {
            return Ok(());
        }
        let sessions: Vec<_> = noted.iter().map(|(session, _)| session.0).collect();
        let done = sqlx::query_scalar!("SELECT id FROM session WHERE id = ANY($1)", &sessions);
        let done = done.fetch_all(&installation.pool).await?;
        for (session, grant) in noted.into_iter().filter(|(session, _)| done.contains(&session.0)) {
            take_back(installation, session, grant).await?;
            if let Some(doubt) = self.noted().get_mut(&session) {
                doubt.taken_back = true;
            }
        }
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<SessionId, Doubt>> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `redeemed → approved`, unless the session has been ended since.
async fn take_back(installation: &Installation, session: SessionId, grant: GrantId) -> Result<(), sqlx::Error> {
    let now = installation.clock.now();
    let mut tx = installation.pool.begin().await?;
    // Rows are locked as others lock them: person, login, session. Who signs the person out, or ends this session, either
    // was here before, and then it stays ended, or finds the grant approved.
    sqlx::query!(
        "SELECT FROM app_user u JOIN session s ON s.user_id = u.id WHERE s.id = $1 FOR NO KEY UPDATE OF u",
        session.0,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let undone = sqlx::query!(
        r#"WITH gone AS (
               DELETE FROM session WHERE id = $2 AND revoked_at IS NULL AND generation = 0 RETURNING id)
           UPDATE device_grant g SET state = 'approved', redeemed_at = NULL, session_id = NULL,
               expires_at = greatest(g.expires_at, $3::timestamptz + make_interval(secs => 3 * g.poll_interval_seconds))
           FROM gone WHERE g.id = $1 AND g.state = 'redeemed' AND g.session_id = gone.id
           RETURNING g.organization_id, g.service_id, g.user_id AS "user_id!""#,
        grant.0,
        session.0,
        now,
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = undone {
        audit::Event::new(audit::Kind::Revoked, &installation.clock, &installation.random)
            .of(OrganizationId(row.organization_id))
            .service(ServiceId(row.service_id))
            .user(UserId(row.user_id))
            .grant(grant)
            .session(session)
            .detail(serde_json::json!({ "because": "its tokens could not be sent" }))
            .append(&mut tx)
            .await?;
    }
    tx.commit().await
}

impl Redeeming<'_> {
    /// The outcome is known.
    pub fn settled(mut self) {
        self.doubt = None;
    }
}

impl Drop for Redeeming<'_> {
    fn drop(&mut self) {
        let Some(doubt) = self.doubt else { return };
        let mut noted = self.doubts.noted();
        if noted.len() < MOST {
            noted.insert(self.session, doubt);
            self.doubts.0.news.notify_one();
        }
    }
}
