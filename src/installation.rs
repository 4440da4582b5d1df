//! What every room above needs of the running installation, in one value.

use std::ops::Deref;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::PublicUrl;
use crate::outbound::Outbound;
use crate::postgres::PgPool;
use crate::secrets::{Keyring, Passwords, Random};

/// The running installation. Cheap to clone.
#[derive(Clone)]
pub struct Installation(Arc<Parts>);

/// What an [`Installation`] is made of.
pub struct Parts {
    /// Connections to PostgreSQL.
    pub pool: PgPool,
    /// The time.
    pub clock: Clock,
    /// Unpredictable bytes.
    pub random: Random,
    /// The installation's secrets.
    pub keyring: Keyring,
    /// Passwords and recovery codes.
    pub passwords: Passwords,
    /// The issuer.
    pub public_url: PublicUrl,
    /// Which addresses may be written over the network, besides public ones.
    pub outbound: Outbound,
    /// Whether this is `countersign dev`: loopback only, with constants that the whole world knows.
    pub dev_mode: bool,
}

impl From<Parts> for Installation {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Installation {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
