//! What happens to logins under way when things break: real server processes, a real PostgreSQL with a streaming standby, and
//! a proxy between them that cuts, slows down and goes silent.
//!
//! Each test does the same:
//!
//! 1. a [`scene`]: PostgreSQL, a proxy before it, and server processes that reach it through the proxy
//! 2. a [`crew`] logs in all the while: devices ask, poll and refresh, people decide on the real pages, and every request goes
//!    to the next server in turn, as a balancer would send it
//! 3. something breaks and comes back
//! 4. the [`ledger`] counts: no poll of a known code may fail, no answer may be wrong, nobody gets tokens twice, and whoever
//!    saw "approved" has a device that got its tokens
//!
//! The tests take turns, since each brings its own load. Whatever they start ends with them, even when they are killed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed, and says what it counted"
)]

// What a scene is made of.
mod disk; // a small one, that is full
mod node; // a server process
mod pgbouncer; // between servers and PostgreSQL, lending connections
#[path = "../support/ports.rs"]
mod ports; // of its servers
mod postgres; // a primary, and its standby
mod process; // processes that end with their test
mod proxy; // between servers and PostgreSQL
mod scene; // all of it

// Who acts in it.
mod crew; // devices and people, under way all at once
mod device; // asks, polls, refreshes
mod ledger; // what they were told, and what of it may not be
mod person; // approves and denies
mod wire; // requests, to one server after the other

// What breaks.
mod database_away; // stopped, killed, promoted
mod database_full; // nothing can be written
mod doubt; // a COMMIT whose answer is lost
mod many_nodes; // nothing at all
mod network; // cut, slow, and without news of decisions
mod nodes_away; // servers killed and suspended
mod pooler; // PgBouncer between, restarted, and unknown to the servers
mod silence; // a network that doesn't even say that it is gone
