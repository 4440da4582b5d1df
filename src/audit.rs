//! The audit: one event per step, appended in the transaction that makes the step.
//!
//! Appended events are linked into a chain for each organization ([`linker`]), so that what was there can't be changed
//! unnoticed ([`verify`]). [`line`](mod@line) says what is hashed and exported.

pub mod chain;
pub mod line;
pub mod linker;
pub mod listed;
pub mod retention;
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

/// The kinds of events with their words: one list, so that none is missing where all are needed.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $word:literal,)+) => {
        /// What happened (SPEC §4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// As it is stored and exported. Never change one.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)+
                }
            }
        }
    };
}

impl Kind {
    /// Counts an event of this kind. For statements that append their step's event themselves; [`Event::append`] counts its own.
    pub fn count(self) {
        metrics::event(self.as_str());
    }
}

kinds! {
    /// A device asked for a code.
    Requested = "requested",
    /// A browser typed the code and owns it now.
    Claimed = "claimed",
    /// A user code that is none, or not this browser's.
    GuessRefused = "guess_refused",
    /// Somebody signed in.
    SignedIn = "signed_in",
    /// A sign-in was refused: wrong password, not admitted, an error of the provider.
    Refused = "refused",
    /// A second factor was proven.
    MfaPassed = "mfa_passed",
    /// A second factor was wrong.
    MfaFailed = "mfa_failed",
    /// A second factor was set up.
    Enrolled = "enrolled",
    /// The person approved.
    Approved = "approved",
    /// The person denied.
    Denied = "denied",
    /// A grant's time ran out.
    Expired = "expired",
    /// The device received its tokens.
    Redeemed = "redeemed",
    /// A redeemed code was used again.
    Replayed = "replayed",
    /// A session received new tokens.
    Refreshed = "refreshed",
    /// An old refresh token was used: theft.
    ReuseDetected = "reuse_detected",
    /// A session was ended.
    Revoked = "revoked",
    /// Somebody became an owner of the installation, by the setup link or `countersign setup`.
    OwnerMade = "owner_made",
    /// An administrator changed something.
    Administered = "administered",
    /// Somebody is about to approve a device of an address whose codes many others elsewhere approved.
    SuspectedPhishing = "suspected_phishing",
    /// Somebody said of an approval that it wasn't them.
    Reported = "reported",
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
        self.kind.count();
        Ok(())
    }
}
