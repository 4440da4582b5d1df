//! Two browsers with two tabs each do anything in any order with two device logins: forms, links, callbacks, forgeries, time.
//!
//! Whatever they do, a login is approved only if, after its code was entered, one account in that one browser session signed
//! in, proved the second factor that the policy asks, and confirmed what its page showed; and only what was approved is
//! redeemed, once. A model keeps what each browser has rightly proven ([`world`]); after every action the database and
//! the polls are held against it ([`check`]).
//!
//! When a walk fails, the message has its seed and the shortest walk that fails. Build with `WALKS_SEED=…` to walk the same
//! way again, and write the short walk down in [`known`], which is walked every time.

mod action;
mod check;
mod known;
mod world;

use std::cell::RefCell;
use std::collections::HashMap;

use countersign::secrets::{Random, base64url, from_base64url};
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

use action::action;
use world::{House, World};

/// How many walks: as many as take a few seconds.
const CASES: u32 = 40;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn whatever_two_browsers_do() {
    let runtime = runtime();
    let house = runtime.block_on(House::new());
    let seed = option_env!("WALKS_SEED")
        .map_or_else(|| Random::system().bytes::<32>().to_vec(), |seed| from_base64url(seed).unwrap());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let config = Config { cases: CASES, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let ends = RefCell::new(HashMap::<String, usize>::new());
    let walked = TestRunner::new_with_rng(config, rng).run(&vec(action(), 4..36), |actions| {
        let states = runtime.block_on(async {
            let mut world = World::new(&house).await;
            for action in &actions {
                world.act(action).await;
            }
            world.states()
        });
        for state in states {
            *ends.borrow_mut().entry(state).or_default() += 1;
        }
        Ok(())
    });
    let seed = base64url(&seed);
    walked.unwrap_or_else(|error| panic!("WALKS_SEED={seed}: {error}"));
    // The walks do get somewhere.
    let ends = ends.into_inner();
    assert!(ends.contains_key("claimed") && ends.len() >= 3, "WALKS_SEED={seed}: {ends:?}");
    assert!(ends.contains_key("approved") || ends.contains_key("redeemed"), "WALKS_SEED={seed}: {ends:?}");
}
