//! Typed ids: a grant's id can't be passed where a user's is wanted.
//!
//! All are UUIDv7 (RFC 9562 §5.7): in order of time, and the time can be read off.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Makes a UUIDv7 of the given time and ten random bytes.
#[must_use]
pub fn uuid_v7(now: DateTime<Utc>, random: &[u8; 10]) -> Uuid {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid()
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, sqlx::Type, utoipa::ToSchema)]
        #[sqlx(transparent)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id of the given time and ten random bytes.
            #[must_use]
            pub fn new(now: DateTime<Utc>, random: &[u8; 10]) -> Self {
                Self(uuid_v7(now, random))
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

typed_ids! {
    /// A tenant.
    OrganizationId,
    /// A tool that people log in to: OAuth's client.
    ServiceId,
    /// A way to sign in.
    ProviderId,
    /// A person in one organization.
    UserId,
    /// A person's account at a provider.
    IdentityId,
    /// A device login in progress.
    GrantId,
    /// A signed-in device.
    SessionId,
    /// The browser of the person who approves.
    BrowserSessionId,
    /// A round trip to an upstream provider.
    UpstreamSignInId,
    /// One line of the audit.
    EventId,
    /// Where an organization's own programs hear of what happened.
    WebhookId,
    /// One message to one receiver.
    NoticeId,
    /// A link by which somebody becomes the first owner.
    SetupLinkId,
}

impl GrantId {
    /// When the grant was asked for, in milliseconds: a UUIDv7 carries its time.
    #[must_use]
    pub fn asked_at(self) -> DateTime<Utc> {
        self.0
            .get_timestamp()
            .map(|stamp| stamp.to_unix())
            .and_then(|(seconds, nanos)| DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_id_tells_when_it_was_asked_for() {
        let now = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        assert_eq!(GrantId::new(now, &[7; 10]).asked_at(), now);
    }
}
