//! PostgreSQL is stopped, is killed, and is lost for good while its standby takes over.

use std::time::Duration;

use rustix::process::Signal;

use super::scene::Scene;

/// How long it is away. Longer than a request waits for a connection.
const AWAY: Duration = Duration::from_secs(5);

/// How long it takes whoever watches over the primary to be sure that it is lost.
const NOTICED_AFTER: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_stopped_and_started_again() {
    let mut scene = Scene::of(2).await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.postgres.stop(Signal::INT);
    tokio::time::sleep(AWAY).await;
    scene.postgres.start().await;
    scene.ledger.database_is_back();

    let counts = scene.ledger.counts();
    assert!(counts.pending_meanwhile >= 20 && counts.unavailable >= 5, "nobody noticed: {counts:?}");
    crew.end().await;
    scene.close("stopped and started again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_killed_and_recovers() {
    let mut scene = Scene::of(2).await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.postgres.stop(Signal::KILL);
    scene.postgres.start().await;
    scene.ledger.database_is_back();

    crew.end().await;
    assert!(scene.postgres.log().contains("automatic recovery in progress"), "nothing had to be recovered");
    scene.close("killed").await;
}

/// What was committed is on the standby too, because the primary waits for it (`synchronous_standby_names`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_lost_and_the_standby_promoted() {
    let mut scene = Scene::of(2).await;
    let standby = scene.postgres.standby().await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.postgres.stop(Signal::QUIT);
    tokio::time::sleep(NOTICED_AFTER).await;
    standby.promote().await;
    scene.proxy.turn_to(&standby.socket()).await;
    scene.ledger.database_is_back();
    scene.postgres = standby;

    crew.end().await;
    scene.close("failed over").await;
}
