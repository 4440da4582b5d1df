//! The network between servers and PostgreSQL says nothing any more: for a while, or for good on the connections that were there.

use std::time::Duration;

use super::proxy::Way;
use super::scene::Scene;

/// How soon servers notice that nothing comes over their connections.
const NOTICED_WITHIN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_dies_and_comes_back() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.proxy.set(Way::Dead);
    tokio::time::sleep(Duration::from_secs(8)).await;
    scene.proxy.set(Way::Open);
    scene.ledger.database_is_back();

    let counts = scene.ledger.counts();
    assert!(counts.pending_meanwhile >= 20 && counts.unavailable >= 5, "nobody noticed: {counts:?}");
    crew.end().await;
    scene.close("a dead network").await;
}

/// The database's address moves to another machine, or a firewall forgets what was there: nobody says that a connection is over.
/// The one that hears of decisions would wait for ever; servers have to notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_go_silent_for_good() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.proxy.forget_connections();
    tokio::time::sleep(NOTICED_WITHIN).await;
    scene.ledger.database_is_back();

    crew.end().await;
    scene.close("silent connections").await;
}
