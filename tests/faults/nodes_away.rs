//! Servers are killed and suspended under load. The others go on, and whoever comes back knows everything.

use std::time::Duration;

use super::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_killed_and_started_again() {
    let scene = Scene::of(3).await;
    let crew = scene.crew().await;

    for node in [0, 1] {
        scene.nodes[node].kill();
        let before = scene.ledger.counts();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(scene.ledger.counts().logged_in > before.logged_in, "the others don't go on");
        // From now on it is asked of codes that it never saw, and of those that it gave out before.
        scene.nodes[node].start_again().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    crew.end().await;
    scene.close("servers killed").await;
}

/// What it was told while it didn't listen comes late. It may not answer by what it knew before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_suspended_and_goes_on() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    for _ in 0..2 {
        scene.nodes[1].suspend();
        tokio::time::sleep(Duration::from_secs(5)).await;
        scene.nodes[1].resume();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    crew.end().await;
    scene.close("a server suspended").await;
}
