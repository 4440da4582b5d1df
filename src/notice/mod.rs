//! What is told of an approval afterwards, and what a person can do about it. And whoever is invited is told by mail, the same way.
//!
//! Whoever was talked into approving a stranger's device finds out when it is told where else they look: in their mail,
//! or in a channel of their organization.
//!
//! 1. The decision page approves, and in the same transaction [`Notices::approved`] puts one [`outbox`] row for each who
//!    is told: the person by mail, the organization's webhooks. There is neither an approval that nobody is told of nor
//!    the other way round, and nobody waits for a mail server.
//! 2. Any node takes rows that are due, for the time of a lease, and delivers them ([`delivery`]): by [`mail`], or by
//!    [`webhook`]. What fails is due again later and later; what a dead node had taken is due when its lease is over.
//!    So each is told at least once, and always under one id.
//! 3. What is told holds a [`link`]. It names the approval and needs no row of its own: only the installation's secret
//!    makes one. Opening it changes nothing, however often mail scanners do.
//! 4. The page behind it has one button. [`report`] then ends in one transaction what came of the approval, and tells the
//!    webhooks that it was reported.

pub mod delivery;
mod invitation;
pub mod link;
pub mod mail;
pub mod outbox;
pub mod report;
pub mod told;
mod trial;
pub mod webhook;

use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use crate::directory::webhook::Event;
use crate::installation::Installation;
use crate::outbound::Outbound;
use crate::postgres::PgConnection;

use mail::Mailer;
use outbox::{About, Notice, Receiver};
use told::{Approval, Invitation, Report};
use webhook::{NoHttpClient, Poster};

/// Everything that tells. Cheap to clone.
#[derive(Clone)]
pub struct Notices(Arc<Parts>);

struct Parts {
    mailer: Mailer,
    poster: Poster,
    wake: Notify,
    /// Held while it is noted how an attempt went.
    noting: Mutex<()>,
}

impl Notices {
    /// With this way to send mails, and to webhooks.
    pub fn new(mailer: Mailer, outbound: Outbound) -> Result<Self, NoHttpClient> {
        let poster = Poster::new(outbound)?;
        Ok(Self(Arc::new(Parts { mailer, poster, wake: Notify::new(), noting: Mutex::new(()) })))
    }

    /// Whether mails are sent.
    #[must_use]
    pub fn sends_mail(&self) -> bool {
        !matches!(self.0.mailer, Mailer::None)
    }

    /// Puts what is to be told of an approval, in the caller's transaction: to the person, if mails are sent and somebody
    /// has verified their address (`email`), and to the organization's webhooks.
    pub async fn approved(
        &self,
        conn: &mut PgConnection,
        installation: &Installation,
        approval: &Approval,
        email: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        let webhooks = crate::directory::webhook::told_of(conn, approval.organization.id, Event::Approved).await?;
        let mail = email.filter(|_| self.sends_mail()).map(Receiver::Mail);
        let receivers = mail.into_iter().chain(webhooks.into_iter().map(Receiver::Webhook));
        let notice = Notice {
            organization: approval.organization.id,
            about: About::Login(Event::Approved, approval.grant),
            content: told::as_json(approval)?,
        };
        outbox::put(conn, installation, &notice, receivers).await
    }

    /// Puts what is to be told of a report, in the caller's transaction: to the organization's webhooks.
    pub async fn reported(
        &self,
        conn: &mut PgConnection,
        installation: &Installation,
        report: &Report,
    ) -> Result<(), sqlx::Error> {
        let webhooks = crate::directory::webhook::told_of(conn, report.organization.id, Event::Reported).await?;
        let notice = Notice {
            organization: report.organization.id,
            about: About::Login(Event::Reported, report.grant),
            content: told::as_json(report)?,
        };
        outbox::put(conn, installation, &notice, webhooks.into_iter().map(Receiver::Webhook)).await
    }

    /// Puts the mail to whoever is invited, in the caller's transaction. Only where mails are sent.
    pub async fn invited(
        &self,
        conn: &mut PgConnection,
        installation: &Installation,
        invitation: &Invitation,
        email: &str,
    ) -> Result<(), sqlx::Error> {
        let notice = Notice {
            organization: invitation.organization.id,
            about: About::Invitation(invitation.user),
            content: told::as_json(invitation)?,
        };
        outbox::put(conn, installation, &notice, [Receiver::Mail(email)].into_iter()).await
    }

    /// Says to this node that there is something to tell: it would look by itself a moment later. After the commit.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Until [`wake`](Self::wake).
    pub async fn woken(&self) {
        self.0.wake.notified().await;
    }
}
