//! Tells what waits to be told, on every node: at once what this node put, and within seconds what others left.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::ids::WebhookId;
use crate::installation::Installation;
use crate::notice::Notices;
use crate::notice::delivery::Ended;
use crate::notice::outbox::{Due, To};
use crate::telemetry::metrics;
use crate::telemetry::notices::Channel;

/// How often to look for what others put, or what is due again.
const EVERY: Duration = Duration::from_secs(5);

/// How many mails are sent at once: a mail server has other clients too.
const MAILS: usize = 4;

/// How many webhooks are told at once. Each has another receiver, and one that is waited for costs next to nothing.
const WEBHOOKS: usize = 64;

/// How long a webhook that let an attempt run out of time isn't told anything from here. So those that hang hold a lane for a
/// small part of the time, and others come to it however much waits for those.
const REST: TimeDelta = TimeDelta::minutes(1);

/// How long attempts under way may take once the server was asked to end. Later ones are made again after their lease.
const DRAIN: Duration = Duration::from_secs(3);

/// Delivers until `stop`.
pub async fn watch(installation: Installation, notices: Notices, stop: CancellationToken) {
    let mut desk = Desk {
        installation,
        notices: notices.clone(),
        attempts: JoinSet::new(),
        lanes: HashMap::new(),
        resting: HashMap::new(),
    };
    loop {
        // Neither waits for the other, nor fails with it.
        if let Err(error) = desk.begin_mails().await {
            tracing::warn!(%error, "mails have to wait");
        }
        if let Err(error) = desk.begin_webhooks().await {
            tracing::warn!(%error, "webhooks have to wait");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = desk.one_done() => {}
            () = notices.woken() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    let finished = async { while desk.attempts.join_next().await.is_some() {} };
    let _either = tokio::time::timeout(DRAIN, finished).await;
}

/// The attempts that are under way.
struct Desk {
    installation: Installation,
    notices: Notices,
    attempts: JoinSet<Ended>,
    /// What each of them is for: `None` is a mail.
    lanes: HashMap<Id, Option<WebhookId>>,
    /// Which webhooks aren't told anything, and until when.
    resting: HashMap<WebhookId, DateTime<Utc>>,
}

impl Desk {
    async fn begin_mails(&mut self) -> Result<(), sqlx::Error> {
        let under_way = self.lanes.values().filter(|lane| lane.is_none()).count();
        for due in self.notices.take_mails(&self.installation, MAILS.saturating_sub(under_way)).await? {
            self.begin(due, None);
        }
        Ok(())
    }

    async fn begin_webhooks(&mut self) -> Result<(), sqlx::Error> {
        let now = self.installation.clock.now();
        self.resting.retain(|_, until| *until > now);
        let mut busy: Vec<WebhookId> = self.lanes.values().copied().flatten().collect();
        let free = WEBHOOKS.saturating_sub(busy.len());
        busy.extend(self.resting.keys());
        for due in self.notices.take_for_webhooks(&self.installation, free, &busy).await? {
            let To::Webhook { id, .. } = due.to else { continue };
            self.begin(due, Some(id));
        }
        Ok(())
    }

    fn begin(&mut self, due: Due, lane: Option<WebhookId>) {
        let (notices, installation) = (self.notices.clone(), self.installation.clone());
        let task = self.attempts.spawn(async move { notices.attempt(&installation, &due).await });
        self.lanes.insert(task.id(), lane);
    }

    /// Until an attempt is done; for ever when none is under way.
    async fn one_done(&mut self) {
        let (id, ended) = match self.attempts.join_next_with_id().await {
            Some(Ok((id, ended))) => (id, Some(ended)),
            Some(Err(error)) => (error.id(), None),
            None => return std::future::pending().await,
        };
        let Some(lane) = self.lanes.remove(&id) else { return };
        let Some(ended) = ended else {
            // Where it panicked is in the log. Its notice is due again when its lease is over, but not for ever.
            metrics::panicked();
            return;
        };
        metrics::notice(if lane.is_some() { Channel::Webhook } else { Channel::Mail }, ended.outcome);
        if let Some(webhook) = lane.filter(|_| ended.hung) {
            self.resting.insert(webhook, self.installation.clock.now() + REST);
        }
    }
}
