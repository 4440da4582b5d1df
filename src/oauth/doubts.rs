//! Redemptions of which nobody knows whether they were committed.
//!
//! The database is lost, or the device hangs up, just as a grant is redeemed: its session may be there, and nobody has the
//! tokens. Whoever approved would have approved in vain, and the device's next poll would look like a thief's. So:
//!
//! 1. The node that redeems keeps the tokens until it knows the outcome, and if it doesn't learn it, for some minutes more.
//! 2. A poll that comes to this node meanwhile and finds the grant redeemed into that very session gets them, once.
//! 3. Polls come to other nodes as well. As soon as the database answers, this node takes such a redemption back: the session,
//!    which nobody could use, is deleted, and the grant is approved once more ([`Doubts::watch`]). It looks again for as
//!    long as it keeps the tokens, since a statement may be done later than it was given up.
//! 4. Until that has happened, no node says of a redemption of those seconds that it is over ([`OUTAGE_SETTLES`]).
//!
//! A node that is killed meanwhile takes its doubts with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::ids::{GrantId, OrganizationId, ServiceId, SessionId, UserId};
use crate::installation::Installation;
use crate::postgres::Availability;
use crate::session::tokens::TokenAnswer;

/// How long they stay: the database has to come back. An access token lives for 15 minutes.
const KEPT: TimeDelta = TimeDelta::minutes(5);

/// More than would be in doubt when the database of a large installation is lost.
const MOST: usize = 10_000;

/// How often those that are kept are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long after an outage the nodes have to take back what they don't know to be done.
pub const OUTAGE_SETTLES: Duration = Duration::from_secs(10);

/// How long before an outage was noticed a redemption may have been caught by it.
pub const OUTAGE_UNNOTICED: TimeDelta = TimeDelta::seconds(15);

/// The redemptions of this node that are in doubt. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doubts(Arc<Mutex<HashMap<SessionId, Doubt>>>);

struct Doubt {
    grant: GrantId,
    answer: TokenAnswer,
    /// The thumbprint of the key to which they are bound.
    jkt: Option<String>,
    until: DateTime<Utc>,
}

/// Tokens of a redemption that is being written. Dropped before that has an outcome, they are in doubt.
pub struct Minted<'a> {
    doubts: &'a Doubts,
    session: SessionId,
    doubt: Option<Doubt>,
}

impl Doubts {
    /// Takes care of the tokens of a session, bound to this key or none, until it is known whether this grant was redeemed into it.
    pub fn about(
        &self,
        (grant, session): (GrantId, SessionId),
        answer: TokenAnswer,
        jkt: Option<String>,
        now: DateTime<Utc>,
    ) -> Minted<'_> {
        Minted { doubts: self, session, doubt: Some(Doubt { grant, answer, jkt, until: now + KEPT }) }
    }

    /// Whether the tokens of this session are in doubt.
    #[must_use]
    pub fn hold(&self, session: SessionId) -> bool {
        self.kept().contains_key(&session)
    }

    /// The tokens of this session, for whoever proved this key, or none.
    pub fn settle(&self, session: SessionId, jkt: Option<&str>) -> Option<TokenAnswer> {
        let mut kept = self.kept();
        // Whoever proves another key learns nothing and takes nothing away.
        kept.get(&session).filter(|doubt| doubt.jkt.as_deref() == jkt)?;
        kept.remove(&session).map(|doubt| doubt.answer)
    }

    /// Takes back what was redeemed in doubt, until `stop`.
    pub async fn watch(self, installation: Installation, database: Availability, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = installation.clock.now();
            let kept: Vec<_> = {
                let mut kept = self.kept();
                kept.retain(|_, doubt| doubt.until > now);
                kept.iter().map(|(session, doubt)| (*session, doubt.grant)).collect()
            };
            if database.is_away() {
                continue;
            }
            for (session, grant) in kept {
                let Ok(taken_back) = database.unless_lost(self.take_back(&installation, session, grant, now)).await
                else {
                    break;
                };
                if let Err(error) = taken_back {
                    tracing::error!(%error, %grant, "a redemption in doubt can't be taken back yet");
                }
            }
        }
    }

    /// `redeemed → approved`, if the grant was redeemed into this session, whose tokens nobody has and nobody gets from now on.
    async fn take_back(
        &self,
        installation: &Installation,
        session: SessionId,
        grant: GrantId,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let mut tx = installation.pool.begin().await?;
        // Rows are locked as others lock them: person, login, session. Who signs the person out, or ends this session, either
        // was here before, and then it stays ended, or finds the grant approved.
        let lock = sqlx::query_scalar!(
            "SELECT u.id FROM app_user u JOIN session s ON s.user_id = u.id WHERE s.id = $1 FOR NO KEY UPDATE OF u",
            session.0,
        );
        if lock.fetch_optional(&mut *tx).await?.is_none() {
            return Ok(());
        }
        let Some(doubt) = self.kept().remove(&session) else { return Ok(()) };
        // Put back unless all of this succeeds.
        let mut minted = Minted { doubts: self, session, doubt: Some(doubt) };
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
        tx.commit().await?;
        minted.doubt = None;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SessionId, Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minted<'_> {
    /// The tokens, now that the outcome is known.
    pub fn settled(mut self) -> Option<TokenAnswer> {
        self.doubt.take().map(|doubt| doubt.answer)
    }
}

impl Drop for Minted<'_> {
    fn drop(&mut self) {
        let Some(doubt) = self.doubt.take() else { return };
        let mut kept = self.doubts.kept();
        if kept.len() < MOST {
            kept.insert(self.session, doubt);
        }
    }
}
