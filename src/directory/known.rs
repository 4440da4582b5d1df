//! Services that this node has looked up, for requests that must not wait for the database.
//!
//! Whoever writes to `service` or `organization` makes every node forget them all: triggers notify, so that it makes no
//! difference what wrote. A service that was read before that and is remembered after it would be an old one; so
//! what is remembered belongs to a *turn*, and each time of forgetting begins another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::grouping::{Groups, Limits, Undone, Work};
use crate::ids::ServiceId;
use crate::postgres::notifications::Ear;
use crate::postgres::{self, PgConnection, PgPool};

use super::service::{self, Service};

/// What the triggers notify.
const CHANGES: &str = "countersign_directory";

/// Few: many that ask at once are answered together, and whoever makes client ids up takes no more connections than these.
const LIMITS: Limits = Limits { flights: 2, together: 256, queue: 16_384, patience: Duration::from_secs(3) };

/// Why nothing was found out.
pub type NotFoundOut = Undone<Arc<sqlx::Error>>;

/// The services that are known, and those that can be looked up. Cheap to clone.
#[derive(Clone)]
pub struct KnownServices {
    known: Known,
    lookups: Groups<Reading>,
}

/// How a service is, beside what is remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// As it was.
    Same,
    /// Another, or gone.
    Changed,
}

#[derive(Clone, Default)]
struct Known(Arc<ArcSwap<Snapshot>>);

/// The services that were known at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    turn: u64,
    /// Whether this node hears of changes.
    current: bool,
    /// By `client_id`.
    services: HashMap<String, Arc<Service>>,
    /// The same, by id.
    by_id: HashMap<ServiceId, Arc<Service>>,
}

impl KnownServices {
    /// None yet, of the database of this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let known = Known::default();
        Self { known: known.clone(), lookups: Groups::new(Reading { pool, known }, LIMITS) }
    }

    /// Those that are known now. No request waits for another to look at them.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.known.0.load()
    }

    /// The service with this `client_id`: from memory where this node hears of changes, otherwise from the database.
    pub async fn find(&self, client_id: &str) -> Result<Option<Arc<Service>>, NotFoundOut> {
        if let Some(service) = self.now().current(client_id) {
            return Ok(Some(Arc::clone(service)));
        }
        self.find_afresh(client_id).await
    }

    /// The service with this `client_id`, from the database.
    pub async fn find_afresh(&self, client_id: &str) -> Result<Option<Arc<Service>>, NotFoundOut> {
        self.lookups.submit(client_id.to_owned()).await
    }

    /// The service with this id: from memory where this node hears of changes, otherwise from the database. Good enough to show; whoever
    /// writes on its account compares its version.
    pub async fn by_id(&self, conn: &mut PgConnection, id: ServiceId) -> Result<Option<Arc<Service>>, sqlx::Error> {
        if let Some(service) = self.now().current_by_id(id) {
            return Ok(Some(Arc::clone(service)));
        }
        Ok(service::by_id(conn, id).await?.map(Arc::new))
    }

    /// Forgets all of them: each is looked up again.
    pub fn forget(&self) {
        self.known.forget();
    }

    /// Forgets a service that isn't as it was remembered. This node has not heard of it yet.
    pub async fn compare(&self, conn: &mut PgConnection, remembered: &Service) -> Result<Compared, sqlx::Error> {
        let is = service::by_id(conn, remembered.id).await?;
        if is.is_some_and(|is| is.version == remembered.version) {
            return Ok(Compared::Same);
        }
        self.forget_if(remembered);
        Ok(Compared::Changed)
    }

    /// The same, if this version of a service is still remembered. Many may find out at once that it is an old one.
    pub fn forget_if(&self, old: &Service) {
        self.known.0.rcu(|known| {
            let is_remembered = known.get(&old.client_id).is_some_and(|service| service.version == old.version);
            if is_remembered { Arc::new(known.without_services()) } else { Arc::clone(known) }
        });
    }
}

impl Known {
    fn turn(&self) -> u64 {
        self.0.load().turn
    }

    /// Remembers services that were looked up since `turn`, unless something has changed meanwhile.
    fn remember(&self, turn: u64, services: &[Arc<Service>]) {
        self.0.rcu(|known| {
            let mut next = Snapshot::clone(known);
            if next.turn == turn {
                next.services.extend(services.iter().map(|service| (service.client_id.clone(), Arc::clone(service))));
                next.by_id.extend(services.iter().map(|service| (service.id, Arc::clone(service))));
            }
            next
        });
    }

    fn forget(&self) {
        self.0.rcu(|known| known.without_services());
    }
}

impl Snapshot {
    /// The next turn, in which none is known yet.
    fn without_services(&self) -> Self {
        Self { turn: self.turn + 1, current: self.current, ..Self::default() }
    }

    /// The service with this `client_id`, as it is, or was a moment before this node became deaf. Good enough to say that
    /// nothing is decided yet; what is written asks the database again.
    #[must_use]
    pub fn get(&self, client_id: &str) -> Option<&Arc<Service>> {
        self.services.get(client_id)
    }

    /// The service with this `client_id` as it is.
    #[must_use]
    pub fn current(&self, client_id: &str) -> Option<&Arc<Service>> {
        self.services.get(client_id).filter(|_| self.current)
    }

    fn current_by_id(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.by_id.get(&id).filter(|_| self.current)
    }
}

struct Reading {
    pool: PgPool,
    known: Known,
}

impl Work for Reading {
    type Item = String;
    type Outcome = Option<Arc<Service>>;
    type Error = Arc<sqlx::Error>;

    async fn perform(&self, client_ids: &[String]) -> Result<Vec<Option<Arc<Service>>>, Arc<sqlx::Error>> {
        let turn = self.known.turn();
        let mut conn = self.pool.acquire().await?;
        let found = service::by_client_ids(&mut conn, client_ids).await?;
        let found: Vec<_> = found.into_iter().map(Arc::new).collect();
        self.known.remember(turn, &found);
        let of = |client_id: &String| found.iter().find(|service| service.client_id == *client_id).cloned();
        Ok(client_ids.iter().map(of).collect())
    }

    fn may_be_of_one(error: &Arc<sqlx::Error>) -> bool {
        postgres::is_of_an_unreadable_row(error)
    }
}

impl Ear for KnownServices {
    fn channel(&self) -> &'static str {
        CHANGES
    }

    fn heard(&self, _payload: &str) {
        self.forget();
    }

    fn hearing(&self) {
        self.known.0.rcu(|known| Snapshot { turn: known.turn + 1, current: true, ..Snapshot::default() });
    }

    fn deaf(&self) {
        self.known.0.rcu(|known| Snapshot { turn: known.turn + 1, current: false, ..Snapshot::clone(known) });
    }
}
