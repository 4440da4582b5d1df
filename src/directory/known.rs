//! Services that this node has looked up, for requests that must not wait for the database.
//!
//! Whoever writes to `service` or `organization` makes every node forget them all: triggers notify, so that it makes no
//! difference what wrote. A service that was read before that and is remembered after it would be an old one; so
//! what is remembered belongs to a *turn*, and each time of forgetting begins another.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::postgres::notifications::Ear;

use super::service::Service;

/// What the triggers notify.
const CHANGES: &str = "countersign_directory";

/// The services that are known. Cheap to clone.
#[derive(Clone, Default)]
pub struct KnownServices(Arc<ArcSwap<Snapshot>>);

/// The services that were known at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    turn: u64,
    /// Whether this node hears of changes.
    current: bool,
    /// By `client_id`.
    services: HashMap<String, Arc<Service>>,
}

/// What was the case when a service was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(u64);

impl KnownServices {
    /// Those that are known now. No request waits for another to look at them.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// To be called before a service is looked up that is to be remembered.
    #[must_use]
    pub fn turn(&self) -> Turn {
        Turn(self.0.load().turn)
    }

    /// Remembers a service that was looked up since `turn`, unless something has changed meanwhile.
    pub fn remember(&self, turn: Turn, service: &Arc<Service>) {
        self.0.rcu(|known| {
            let mut next = Snapshot::clone(known);
            if next.turn == turn.0 {
                next.services.insert(service.client_id.clone(), Arc::clone(service));
            }
            next
        });
    }

    /// Forgets all of them: each is looked up again.
    pub fn forget(&self) {
        self.0.rcu(|known| Snapshot { turn: known.turn + 1, current: known.current, services: HashMap::new() });
    }
}

impl Snapshot {
    /// The service with this `client_id`, as it is, or was a moment before this node became deaf. Good enough to say that
    /// nothing is decided yet; what is written asks the database again.
    #[must_use]
    pub fn get(&self, client_id: &str) -> Option<&Arc<Service>> {
        self.services.get(client_id)
    }

    /// Whether services are here as they are.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.current
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
        self.0.rcu(|known| Snapshot { turn: known.turn + 1, current: true, services: HashMap::new() });
    }

    fn deaf(&self) {
        self.0.rcu(|known| Snapshot { turn: known.turn + 1, current: false, services: known.services.clone() });
    }
}
