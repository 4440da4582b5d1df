//! What must never happen: a grant is decided, nothing is under way that would tell this node, and the node holds it as open.
//!
//! A simple reference stands for PostgreSQL and the network: which grants are open, which notifications are on their way. Each
//! step of a look-up, a decision or a comparison happens whole, under one lock or in one statement, so random
//! orders of such steps are what threads and nodes can do to each other.

use std::collections::{HashSet, VecDeque};

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

/// Few, so that they meet; all in one shard.
const GRANTS: u8 = 4;

/// Look-ups that may be under way at once.
const LOOKS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A poll is about to look a grant up, …
    Begin(usize, u8),
    /// … reads it, …
    Read(usize),
    /// … and remembers what it read.
    End(usize),
    /// Some node decides. This one tells itself when it was it.
    Decide { grant: u8, here: bool },
    /// The next notification arrives.
    Deliver,
    /// The connection that listens is lost, with what is on its way, …
    Break,
    /// … which the node notices, …
    Deafen,
    /// … and LISTEN is said again, to a PostgreSQL that is itself again.
    Listen,
    /// A comparison begins, …
    Compare,
    /// … asks PostgreSQL about what it found held, …
    Ask,
    /// … and forgets what isn't open.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let (look, grant) = (0..LOOKS, 0..GRANTS);
    prop_oneof![
        4 => (look.clone(), grant.clone()).prop_map(|(look, grant)| Step::Begin(look, grant)),
        4 => look.clone().prop_map(Step::Read),
        4 => look.prop_map(Step::End),
        3 => (grant, any::<bool>()).prop_map(|(grant, here)| Step::Decide { grant, here }),
        4 => Just(Step::Deliver),
        1 => Just(Step::Break),
        2 => Just(Step::Deafen),
        2 => Just(Step::Listen),
        2 => Just(Step::Compare),
        2 => Just(Step::Ask),
        2 => Just(Step::Forget),
    ]
}

fn id(grant: u8) -> GrantId {
    GrantId(uuid::Uuid::from_u128(u128::from(grant) << 64))
}

fn open() -> Open {
    let expires_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    Open { service: uuid::Uuid::nil().into(), expires_at, interval: 5, bound: false }
}

/// A look-up under way.
#[derive(Clone, Copy)]
struct Look {
    grant: u8,
    glimpse: Glimpse,
    /// What it read, once it did.
    found_open: Option<bool>,
}

/// A comparison under way.
struct Comparison {
    spell: u64,
    held: Vec<u8>,
    /// Those that weren't open when PostgreSQL was asked.
    gone: Option<Vec<u8>>,
}

/// The node under test, and everything around it.
struct World {
    node: Waiting,
    decided: HashSet<u8>,
    /// Whether PostgreSQL sends to this node, …
    connected: bool,
    /// … and what it has sent.
    wire: VecDeque<u8>,
    looks: [Option<Look>; LOOKS],
    comparison: Option<Comparison>,
}

impl World {
    fn new() -> Self {
        let node = Waiting::default();
        Self {
            node,
            decided: HashSet::new(),
            connected: false,
            wire: VecDeque::new(),
            looks: [None; LOOKS],
            comparison: None,
        }
    }

    fn take_all(&mut self, steps: &[Step]) {
        for step in steps {
            self.take(step);
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Begin(look, grant) => {
                self.looks[look] = Some(Look { grant, glimpse: self.node.glimpse(id(grant)), found_open: None });
            }
            Step::Read(look) => {
                if let Some(look) = &mut self.looks[look] {
                    look.found_open = Some(!self.decided.contains(&look.grant));
                }
            }
            Step::End(look) => {
                if let Some(Look { grant, glimpse, found_open: Some(true) }) = self.looks[look].take() {
                    self.node.remember(id(grant), glimpse, open());
                }
            }
            Step::Decide { grant, here } => {
                if self.decided.insert(grant) {
                    if self.connected {
                        self.wire.push_back(grant);
                    }
                    if here {
                        self.node.decided(id(grant));
                    }
                }
            }
            Step::Deliver => {
                if let Some(grant) = self.wire.pop_front() {
                    self.node.heard(&id(grant).to_string());
                }
            }
            Step::Break => {
                self.connected = false;
                self.wire.clear();
            }
            Step::Deafen if !self.connected => self.node.deaf(),
            Step::Listen if !self.connected => {
                self.connected = true;
                Ear::hearing(&self.node);
            }
            Step::Compare => {
                let held = (0..GRANTS).filter(|grant| self.node.open(id(*grant)).is_some()).collect();
                self.comparison = Some(Comparison { spell: self.node.spell(), held, gone: None });
            }
            Step::Ask => {
                if let Some(comparison) = &mut self.comparison {
                    let gone = comparison.held.iter().filter(|grant| self.decided.contains(grant));
                    comparison.gone = Some(gone.copied().collect());
                }
            }
            Step::Forget => {
                if let Some(Comparison { spell, gone: Some(gone), .. }) = self.comparison.take() {
                    for grant in gone {
                        self.node.decided(id(grant));
                    }
                    for shard in &self.node.0.shards {
                        lock(shard).compared = spell;
                    }
                }
            }
            Step::Deafen | Step::Listen => {}
        }
    }
}

impl World {
    /// A grant that was decided and is held as open, though nothing will tell this node.
    fn missed(&self) -> Option<u8> {
        let held = |grant: &u8| self.node.open(id(*grant)).is_some();
        let is_told = |grant: &u8| self.wire.contains(grant) || !self.connected || self.node.is_in_doubt();
        self.decided.iter().copied().find(|grant| held(grant) && !is_told(grant))
    }

    /// What happens by itself when nothing disturbs any more: the node hears again, is told and compares.
    fn settle(&mut self) {
        self.take(&Step::Deafen);
        self.take(&Step::Listen);
        while !self.wire.is_empty() {
            self.take(&Step::Deliver);
        }
        if self.node.is_in_doubt() {
            self.take_all(&[Step::Compare, Step::Ask, Step::Forget]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn no_decision_is_missed(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for (n, step) in steps.iter().enumerate() {
            world.take(step);
            prop_assert_eq!(world.missed(), None, "after step {}: {:?}", n, step);
        }
        world.settle();
        prop_assert!(!world.node.is_in_doubt());
        for grant in &world.decided {
            prop_assert_eq!(world.node.open(id(*grant)), None, "decided grants are not open when all is calm");
        }
    }
}

#[test]
fn an_open_grant_is_held_once_it_was_looked_up_while_nothing_happened() {
    let mut world = World::new();
    let look_up = [Step::Begin(0, 0), Step::Read(0), Step::End(0)];
    world.take_all(&look_up);
    assert_eq!(world.node.open(id(0)), None, "a deaf node holds nothing");
    world.take(&Step::Listen);
    world.take_all(&look_up);
    assert_eq!(world.node.open(id(0)), Some(open()));
    // What was held before is answered from memory while the node is deaf, until it turns out to be decided.
    world.take(&Step::Break);
    world.take(&Step::Deafen);
    world.take(&Step::Decide { grant: 0, here: false });
    assert!(world.node.open(id(0)).is_some() && world.node.is_in_doubt());
    world.take_all(&[Step::Compare, Step::Ask, Step::Forget]);
    assert_eq!(world.node.open(id(0)), None);
}

#[tokio::test]
async fn what_has_expired_leaves_and_gives_its_memory_back() {
    let node = Waiting::default();
    Ear::hearing(&node);
    let now = open().expires_at;
    for n in 0..10_000_u64 {
        let grant = GrantId(uuid::Uuid::from_u64_pair(n, n));
        let expires_at = if n % 100 == 0 { now + chrono::TimeDelta::minutes(1) } else { now };
        node.remember(grant, node.glimpse(grant), Open { expires_at, ..open() });
    }
    node.sweep(now).await;
    let shards = node.0.shards.iter().map(|shard| {
        let shard = lock(shard);
        (shard.open.len(), shard.open.capacity())
    });
    let (held, room) = shards.fold((0, 0), |(held, room), (more, space)| (held + more, room + space));
    assert_eq!(held, 100);
    assert!(room < 10_000 / 4, "{room}");
}
