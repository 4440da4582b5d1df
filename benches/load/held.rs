//! Held polls (`Prefer: wait`): so many on one node, and all of them answered when something is decided.
//!
//! First some are decided one after the other, each in a transaction of its own, which tells how soon a poll wakes up while
//! all others sleep. Then all that are left are decided at once, in one transaction.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::device::store;
use countersign::ids::{BrowserSessionId, GrantId};
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::closed::{histogram, nanos};
use super::cpu::{Meter, memory};
use super::database::Database;
use super::http::{Connection, Template};
use super::report::{Report, Row, thousands, time};
use super::scene::Scene;
use super::stage;

/// Connections from each of our loopback addresses: fewer than it has ports.
const OF_ADDRESS: usize = 10_000;

/// Those that are decided alone.
const ALONE: usize = 500;

/// A decision every so long.
const PACE: Duration = Duration::from_millis(5);

/// Lets this process, and those that it starts, have as many files open as they need.
pub fn raise_limit() {
    let wanted = 50_000;
    let limit = getrlimit(Resource::Nofile);
    let raised = |maximum| setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if limit.current.is_some_and(|current| current < wanted)
        && raised(Some(wanted.max(limit.maximum.unwrap_or(0)))).is_err()
    {
        raised(limit.maximum).unwrap();
    }
}

/// How many connections there is room for, beside other files.
fn room() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit.saturating_sub(1000) as usize)
}

/// Measures.
pub async fn measure(scene: &mut Scene) {
    let held = scene.settings.held.min(room());
    let database = scene.fresh("held").await;
    let (grants, codes, browser) = scene.stage(&database).await.claimed(held).await;
    database.rest().await;
    let server = scene.installation.serve(&database).await;
    let before = memory(server.pid());
    let (codes, mut connections) = (Arc::new(codes), Vec::new());
    for index in 0..held {
        let own = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index / OF_ADDRESS).unwrap());
        connections.push(Connection::open_from(own, server.address).await.unwrap());
    }
    // Everybody is connected before the first of the 30 seconds begins.
    let mut polls = JoinSet::new();
    for (index, connection) in connections.into_iter().enumerate() {
        polls.spawn(poll(connection, index, codes.clone()));
    }
    asleep(Meter { server: server.pid(), postgres: scene.cluster.pid() }).await;
    let resident = memory(server.pid());
    let (alone, together) = grants.split_at(ALONE.min(held / 2));
    let mut decided = one_by_one(&database, alone, browser.into()).await;
    let begun = at_once(&database, together, browser.into()).await;
    decided.resize(held, begun);

    let (mut waking, mut last, mut wrong) = (histogram(), begun, 0);
    while let Some(ended) = polls.join_next().await {
        match ended.unwrap() {
            Ok((index, at)) => {
                if index < alone.len() {
                    waking.saturating_record(nanos(at.saturating_duration_since(decided[index])));
                }
                last = last.max(at);
            }
            Err(error) => {
                wrong += 1;
                if wrong <= 3 {
                    scene.report.notes.push(format!("A held poll was answered otherwise: {error}"));
                }
            }
        }
    }
    let sizes = (held, resident, (resident - before) / held as f64);
    show(&mut scene.report, sizes, wrong, &waking, (together.len(), last - begun));
    drop(server);
    scene.cluster.drop("held").await;
}

fn show(
    report: &mut Report,
    (held, resident, each): (usize, f64, f64),
    wrong: usize,
    waking: &Histogram<u64>,
    (together, took): (usize, Duration),
) {
    let p99 = waking.value_at_quantile(0.99) as f64;
    let work = format!("{} held polls: answered otherwise than by the decision", thousands(held as f64));
    report.rows.push(Row::alone(&work, wrong.to_string(), "0", Some(wrong == 0)));
    report.rows.push(Row::alone("decision to answer meanwhile, p99, commit included", time(p99), "", None));
    report.notes.push(format!(
        "{} held polls: {:.0} MB resident, {:.1} kB for each; all of {} decided in one transaction were answered {} after it began.",
        thousands(held as f64),
        resident / 1e6,
        each / 1e3,
        thousands(together as f64),
        time(took.as_nanos() as f64),
    ));
}

/// Waits until the server has nothing to do any more; not longer than the polls are held.
async fn asleep(meter: Meter) {
    const LOOK: Duration = Duration::from_millis(500);
    for _ in 0..24 {
        let before = meter.read();
        tokio::time::sleep(LOOK).await;
        if (meter.read() - before).server < 0.03 {
            return;
        }
    }
}

/// Polls once and waits for the decision; which one it was, and when the answer came.
async fn poll(mut connection: Connection, index: usize, codes: Arc<stage::Codes>) -> Result<(usize, Instant), String> {
    let mut template = Template::poll("Prefer: wait=30\r\n");
    let answer = connection.ask(template.with(codes.at(index))).await.map_err(|error| error.to_string())?;
    let denied = answer.status == 400 && answer.body.starts_with(b"{\"error\":\"access_denied\"");
    if denied { Ok((index, Instant::now())) } else { Err(format!("{} {}", answer.status, answer.text())) }
}

/// Denies each in a transaction of its own; when the commit of each began.
async fn one_by_one(database: &Database, grants: &[GrantId], browser: BrowserSessionId) -> Vec<Instant> {
    let mut conn = database.pool.acquire().await.unwrap();
    let mut decided = Vec::new();
    for grant in grants {
        let mut tx = conn.begin().await.unwrap();
        assert!(store::deny(&mut tx, *grant, browser, None, stage::now()).await.unwrap());
        decided.push(Instant::now());
        tx.commit().await.unwrap();
        tokio::time::sleep(PACE).await;
    }
    decided
}

/// Denies all of them; when the commit began.
async fn at_once(database: &Database, grants: &[GrantId], browser: BrowserSessionId) -> Instant {
    let mut conn = database.pool.acquire().await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    for grant in grants {
        assert!(store::deny(&mut tx, *grant, browser, None, stage::now()).await.unwrap());
    }
    let begun = Instant::now();
    tx.commit().await.unwrap();
    begun
}
