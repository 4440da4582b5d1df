//! The audit: one event per step, appended in the transaction that makes the step.
//!
//! Appended events are linked into a chain for each organization ([`linker`]), so that what was there can't be changed
//! unnoticed ([`verify`]). [`line`](mod@line) says what is hashed and exported.

pub mod chain;
pub mod line;
pub mod linker;
pub mod verify;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde_json::Value;

use crate::clock::Clock;
use crate::http::client_address::Caller;
use crate::ids::{EventId, GrantId, OrganizationId, ServiceId, SessionId, UserId};
use crate::postgres::PgConnection;
use crate::secrets::Random;
use crate::telemetry::metrics;

/// What happened (SPEC §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device asked for a code.
    Requested,
    /// A browser typed the code and owns it now.
    Claimed,
    /// A user code that is none, or not this browser's.
    GuessRefused,
    /// Somebody signed in.
    SignedIn,
    /// A sign-in was refused: wrong password, not admitted, an error of the provider.
    Refused,
    /// A second factor was proven.
    MfaPassed,
    /// A second factor was wrong.
    MfaFailed,
    /// A second factor was set up.
    Enrolled,
    /// The person approved.
    Approved,
    /// The person denied.
    Denied,
    /// A grant's time ran out.
    Expired,
    /// The device received its tokens.
    Redeemed,
    /// A redeemed code was used again.
    Replayed,
    /// A session received new tokens.
    Refreshed,
    /// An old refresh token was used: theft.
    ReuseDetected,
    /// A session was ended.
    Revoked,
    /// An administrator changed something.
    Administered,
    /// Somebody is about to approve a device of an address whose codes many others elsewhere approved.
    SuspectedPhishing,
    /// Somebody said of an approval that it wasn't them.
    Reported,
}

impl Kind {
    /// As it is stored and exported. Never change one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Claimed => "claimed",
            Self::GuessRefused => "guess_refused",
            Self::SignedIn => "signed_in",
            Self::Refused => "refused",
            Self::MfaPassed => "mfa_passed",
            Self::MfaFailed => "mfa_failed",
            Self::Enrolled => "enrolled",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Redeemed => "redeemed",
            Self::Replayed => "replayed",
            Self::Refreshed => "refreshed",
            Self::ReuseDetected => "reuse_detected",
            Self::Revoked => "revoked",
            Self::Administered => "administered",
            Self::SuspectedPhishing => "suspected_phishing",
            Self::Reported => "reported",
        }
    }
}

/// An event being written: what is known of who, what and where.
#[derive(Clone, Debug)]
pub struct Event {
    id: EventId,
    at: DateTime<Utc>,
    kind: Kind,
    organization: Option<OrganizationId>,
    service: Option<ServiceId>,
    grant: Option<GrantId>,
    session: Option<SessionId>,
    user: Option<UserId>,
    ip: Option<IpNet>,
    user_agent: Option<String>,
    detail: Value,
}

impl Event {
    /// An event of now.
    #[must_use]
    pub fn new(kind: Kind, clock: &Clock, random: &Random) -> Self {
        let at = clock.now();
        Self {
            id: EventId::new(at, &random.bytes()),
            at,
            kind,
            organization: None,
            service: None,
            grant: None,
            session: None,
            user: None,
            ip: None,
            user_agent: None,
            detail: Value::Object(serde_json::Map::new()),
        }
    }

    /// In which organization.
    #[must_use]
    pub fn of(mut self, organization: OrganizationId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// For which service.
    #[must_use]
    pub fn service(mut self, service: ServiceId) -> Self {
        self.service = Some(service);
        self
    }

    /// About which device login.
    #[must_use]
    pub fn grant(mut self, grant: GrantId) -> Self {
        self.grant = Some(grant);
        self
    }

    /// About which signed-in device.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// By whom, or about whom.
    #[must_use]
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// From where.
    #[must_use]
    pub fn caller(mut self, caller: &Caller) -> Self {
        self.ip = Some(caller.ip_net());
        self.user_agent.clone_from(&caller.user_agent);
        self
    }

    /// What else there is to say. Never a code, a token or a secret.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// Appends the event in the caller's transaction.
    pub async fn append(self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "INSERT INTO audit_event
                 (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, ip, user_agent, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            self.id.0,
            self.at,
            self.kind.as_str(),
            self.organization.map(|id| id.0),
            self.service.map(|id| id.0),
            self.grant.map(|id| id.0),
            self.session.map(|id| id.0),
            self.user.map(|id| id.0),
            self.ip,
            self.user_agent,
            self.detail,
        )
        .execute(conn)
        .await?;
        metrics::event(self.kind.as_str());
        Ok(())
    }
}
