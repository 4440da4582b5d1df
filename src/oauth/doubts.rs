//! Tokens of redemptions of which nobody knows whether they were committed.
//!
//! The database is lost, or the device hangs up, just as a grant is redeemed: its session may be there, and nobody has the
//! tokens. They stay here for a while. The next poll of that grant says what became of it: if it was redeemed into that very
//! session, that poll gets them, and no other one does; if it wasn't, it is redeemed anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::ids::SessionId;
use crate::session::tokens::TokenAnswer;

/// How long they stay: the database has to come back, and the device to poll. An access token lives for 15 minutes.
const KEPT: TimeDelta = TimeDelta::minutes(5);

/// More than would be in doubt when the database of a large installation is lost.
const MOST: usize = 10_000;

/// The redemptions of this node that are in doubt. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doubts(Arc<Mutex<HashMap<SessionId, Doubt>>>);

struct Doubt {
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
    /// Takes care of tokens until their redemption has an outcome.
    pub fn about(
        &self,
        session: SessionId,
        answer: TokenAnswer,
        jkt: Option<String>,
        now: DateTime<Utc>,
    ) -> Minted<'_> {
        Minted { doubts: self, session, doubt: Some(Doubt { answer, jkt, until: now + KEPT }) }
    }

    /// Whether the tokens of this session were in doubt.
    #[must_use]
    pub fn hold(&self, session: SessionId) -> bool {
        self.kept().contains_key(&session)
    }

    /// The tokens of this session, for whoever proved this key, or none.
    pub fn settle(&self, session: SessionId, jkt: Option<&str>, now: DateTime<Utc>) -> Option<TokenAnswer> {
        let mut kept = self.kept();
        kept.retain(|_, doubt| doubt.until > now);
        // Whoever proves another key learns nothing and takes nothing away.
        kept.get(&session).filter(|doubt| doubt.jkt.as_deref() == jkt)?;
        kept.remove(&session).map(|doubt| doubt.answer)
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
        if kept.len() >= MOST {
            let now = doubt.until - KEPT;
            kept.retain(|_, doubt| doubt.until > now);
        }
        if kept.len() < MOST {
            kept.insert(self.session, doubt);
        }
    }
}
