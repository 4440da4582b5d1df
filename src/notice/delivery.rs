//! One attempt to tell somebody, and what becomes of the notice.

use tracing::field::display;

use crate::ids::WebhookId;
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::SealError;
use crate::telemetry::metrics;
use crate::telemetry::notices::{Channel, NoticeOutcome};

use super::Notices;
use super::outbox::{self, Due, Next, To};
use super::webhook;

/// Why an attempt failed. In words of our own: what the other side says may repeat what it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    why: String,
    /// Whether it would fail for ever.
    hopeless: bool,
    /// Whether the receiver let the attempt wait for as long as it may take.
    hung: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What became of the notice, as it is counted.
    pub outcome: NoticeOutcome,
    /// Whether the receiver let the attempt wait for as long as it may take.
    pub hung: bool,
}

impl Failure {
    /// One after which it is worth trying again.
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), hopeless: false, hung: false }
    }

    /// One that took all the time there is: whoever waited has others to tell, before this receiver is asked again.
    pub(super) fn hung(why: impl Into<String>) -> Self {
        Self { why: why.into(), hopeless: false, hung: true }
    }

    /// One that would be the same every time.
    pub(super) fn hopeless(why: impl Into<String>) -> Self {
        Self { why: why.into(), hopeless: true, hung: false }
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        Self::passing(error.to_string())
    }
}

impl Notices {
    /// Takes at most so many mails that are due now. None, where mails aren't sent: another node may send them.
    pub async fn take_mails(&self, installation: &Installation, most: usize) -> Result<Vec<Due>, sqlx::Error> {
        if most == 0 || !self.sends_mail() {
            return Ok(Vec::new());
        }
        let mut conn = installation.pool.acquire().await?;
        outbox::take_mails(&mut conn, most, installation.clock.now()).await
    }

    /// Takes at most so many messages that are due now, for webhooks that aren't `busy`.
    pub async fn take_for_webhooks(
        &self,
        installation: &Installation,
        most: usize,
        busy: &[WebhookId],
    ) -> Result<Vec<Due>, sqlx::Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut conn = installation.pool.acquire().await?;
        outbox::take_for_webhooks(&mut conn, most, busy, installation.clock.now()).await
    }

    /// Tells, and notes how it went. Where that can't be noted, the lease ends and somebody is told twice.
    pub async fn attempt(&self, installation: &Installation, due: &Due) -> Ended {
        let outcome = match &due.to {
            To::Mail(address) => self.0.mailer.send(installation, due, address).await,
            To::Webhook { id, url, secret, public_only } => {
                let to = webhook::Address { id: *id, url, secret, public_only: *public_only };
                let body = webhook::payload(installation, due).to_string();
                self.0.poster.post(installation, (due.id, body), to).await
            }
        };
        let next = outcome.as_ref().err().map(|failure| outbox::next(due.attempt, failure.hopeless));
        let ended = Ended {
            outcome: match next {
                None => NoticeOutcome::Delivered,
                Some(Next::In(_)) => NoticeOutcome::Failed,
                Some(Next::GivenUp) => NoticeOutcome::GivenUp,
            },
            hung: outcome.as_ref().is_err_and(|failure| failure.hung),
        };
        // However many end at once, requests find the connections that they need.
        let _turn = self.0.noting.lock().await;
        if let Err(error) = note(installation, due, outcome).await {
            tracing::warn!(notice = %due.id, %error, "how a notice went can't be noted; it is tried again");
        }
        ended
    }
}

/// Gives up what waits for nothing any more, at most so many, and says how many.
pub async fn give_up(conn: &mut PgConnection, installation: &Installation, most: i64) -> Result<u64, sqlx::Error> {
    let given_up = outbox::give_up(conn, installation.clock.now(), most).await?;
    for row in &given_up {
        let (notice, grant, attempt) = (row.id, row.grant.map(display), row.attempts);
        tracing::warn!(%notice, grant, attempt, why = "its time is over", "a notice was given up: nobody was told");
        let channel = if row.mail { Channel::Mail } else { Channel::Webhook };
        metrics::notice(channel, NoticeOutcome::GivenUp);
    }
    Ok(u64::try_from(given_up.len()).unwrap_or(u64::MAX))
}

async fn note(installation: &Installation, due: &Due, outcome: Result<(), Failure>) -> Result<(), sqlx::Error> {
    let mut conn = installation.pool.acquire().await?;
    let now = installation.clock.now();
    let Err(failure) = outcome else {
        tracing::debug!(notice = %due.id, attempt = due.attempt, "a notice was delivered");
        return outbox::delivered(&mut conn, due, now).await;
    };
    let next = outbox::next(due.attempt, failure.hopeless);
    let (notice, attempt, grant) = (due.id, due.attempt, due.notice.about.grant().map(display));
    match next {
        Next::In(delay) => {
            tracing::warn!(%notice, grant, attempt, why = failure.why, again_in = ?delay, "a notice was not delivered");
        }
        Next::GivenUp => {
            tracing::warn!(%notice, grant, attempt, why = failure.why, "a notice was given up: nobody was told");
        }
    }
    outbox::failed(&mut conn, due, (&failure.why, next), now).await
}
