//! How many connections the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a server needs that holds 20,000 polls, with some for PostgreSQL, providers and mails.
pub const ENOUGH: u64 = 21_000;

/// Takes as many open files as the process may have: by itself it gets 1,024 mostly, and each connection is one.
///
/// A limit that can't be raised is no reason not to start. Where connections run out, the listener waits for some to be closed.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < ENOUGH) {
        tracing::warn!(
            limit,
            "few connections can be open at once, and each held poll is one: raise LimitNOFILE= or ulimit -n"
        );
    }
}
