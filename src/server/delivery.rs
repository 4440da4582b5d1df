//! Tells what waits to be told, on every node: at once what this node put, and within seconds what others left.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::ids::WebhookId;
use crate::installation::Installation;
use crate::notice::Notices;
use crate::notice::outbox::{Due, To};

/// How often to look for what others put, or what is due again.
const EVERY: Duration = Duration::from_secs(5);

/// How many mails are sent at once, and how many webhooks told: a node has better things to do as well.
const MAILS: usize = 4;
const WEBHOOKS: usize = 8;

/// How long attempts under way may take once the server was asked to end. Later ones are made again after their lease.
const DRAIN: Duration = Duration::from_secs(3);

/// Delivers until `stop`.
pub async fn watch(installation: Installation, notices: Notices, stop: CancellationToken) {
    let mut desk = Desk { installation, notices: notices.clone(), attempts: JoinSet::new(), lanes: HashMap::new() };
    loop {
        if let Err(error) = desk.begin_what_is_due().await {
            tracing::warn!(%error, "notices have to wait");
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
    attempts: JoinSet<()>,
    /// What each of them is for: `None` is a mail.
    lanes: HashMap<Id, Option<WebhookId>>,
}

impl Desk {
    async fn begin_what_is_due(&mut self) -> Result<(), sqlx::Error> {
        let busy: Vec<WebhookId> = self.lanes.values().copied().flatten().collect();
        let mails = self.lanes.len() - busy.len();
        let (free_for_mails, free) = (MAILS.saturating_sub(mails), WEBHOOKS.saturating_sub(busy.len()));
        for due in self.notices.take_mails(&self.installation, free_for_mails).await? {
            self.begin(due, None);
        }
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
        let id = match self.attempts.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return std::future::pending().await,
        };
        self.lanes.remove(&id);
    }
}
