//! Under which secret of the installation a client's secret is kept, and how it comes under the current one.
//!
//! What is kept is a MAC, which nothing but the client's secret itself can make anew. `apply` has it where a file names it; what
//! the server drew, and told once, only the client has. So it is made anew when the client proves itself with it, and until
//! then the older secret of the installation has to stay listed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::grouping::Undone;
use crate::ids::ServiceId;
use crate::postgres::{PgConnection, PgPool};
use crate::secrets::{Keyring, SecretText};
use crate::telemetry::metrics;

use super::service::{Service, client_secret_mac};

/// How long a node leaves a client's secret as it is after it renewed it, or failed to. It hears of its own change a moment later
/// than it makes it. And while nodes are told one after the other which secret is the current one, each undoes what another did:
/// every time is a change of the service, by which logins in progress have to be looked at again.
const AGAIN: Duration = Duration::from_mins(1);

/// How long one renewal may take: whoever writes the service may hold it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client's secret, to be kept under the current secret of the installation from now on.
pub struct Renewal {
    service: ServiceId,
    client_id: String,
    /// The MAC that is kept.
    old: Vec<u8>,
    /// The MAC that is to be kept.
    new: Vec<u8>,
    /// What made that.
    key: Vec<u8>,
}

impl Renewal {
    /// Of a secret that is this client's. `None`: it is kept under the current one, and known to be.
    #[must_use]
    pub fn of(service: &Service, keyring: &Keyring, secret: &SecretText) -> Option<Self> {
        let old = service.client_secret_mac.as_ref()?;
        let new = client_secret_mac(keyring, &service.client_id, secret);
        let key = keyring.current_id();
        if *old == new && service.client_secret_key.as_deref() == Some(key) {
            return None;
        }
        let client_id = service.client_id.clone();
        Some(Self { service: service.id, client_id, old: old.clone(), new, key: key.to_vec() })
    }

    /// Writes it, if what is kept is what was proven: the client may have got another secret meanwhile. Of many who write the same, the
    /// first does: each time it is written is a change of the service.
    async fn write(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "UPDATE service SET client_secret_mac = $3, client_secret_key = $4
             WHERE id = $1 AND client_secret_mac = $2
               AND (client_secret_mac, client_secret_key) IS DISTINCT FROM ($3::bytea, $4::bytea)",
            self.service.0,
            self.old,
            self.new,
            self.key,
        )
        .execute(pool)
        .await?;
        Ok(())
    }
}

/// The renewals of this node. Cheap to clone.
#[derive(Clone)]
pub struct Renewals(Arc<Inner>);

struct Inner {
    pool: PgPool,
    /// When those began that are not to be repeated yet: few, and none but in the days of a rotation.
    begun: Mutex<HashMap<ServiceId, Instant>>,
    /// One at a time: requests need the connections.
    turn: tokio::sync::Mutex<()>,
}

impl Renewals {
    /// None yet, in the database of this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(Arc::new(Inner { pool, begun: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// Begins one, unless this node did a moment ago. Nobody waits for it: what fails is tried again when the client proves itself
    /// again. To be called on tokio's runtime.
    pub fn begin(&self, renewal: Renewal) {
        if self.is_due(renewal.service) {
            let renewals = self.clone();
            drop(tokio::spawn(metrics::at_the_same_work(async move { renewals.perform(&renewal).await })));
        }
    }

    fn is_due(&self, service: ServiceId) -> bool {
        let now = Instant::now();
        let mut begun = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        let Entry::Vacant(place) = begun.entry(service) else { return false };
        place.insert(now);
        true
    }

    async fn perform(&self, renewal: &Renewal) {
        let _turn = self.0.turn.lock().await;
        let written = timeout(PATIENCE, renewal.write(&self.0.pool)).await;
        let undone = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Undone::Failed(error),
            Err(_) => Undone::TooLong,
        };
        let client_id = &renewal.client_id;
        tracing::warn!(client_id, error = %undone, "a client's secret stays under an older secret of the installation");
    }
}

/// A client whose secret may be kept under an older secret of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in OAuth requests.
    pub client_id: String,
    /// The slug of its service.
    pub service: String,
    /// The slug of its organization.
    pub organization: String,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_id, service, organization } = self;
        write!(f, "{client_id:?} (service {service:?} of organization {organization:?})")
    }
}

/// The clients whose secrets aren't known to be kept under the current secret of the installation, by their client ids.
pub async fn maybe_of_an_older_secret(conn: &mut PgConnection, keyring: &Keyring) -> Result<Vec<Client>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT s.client_id, s.slug, o.slug AS organization
         FROM service s JOIN organization o ON o.id = s.organization_id
         WHERE s.client_secret_mac IS NOT NULL AND s.client_secret_key IS DISTINCT FROM $1::bytea
         ORDER BY s.client_id",
        keyring.current_id(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Client { client_id: row.client_id, service: row.slug, organization: row.organization })
        .collect())
}
