//! The network between servers and PostgreSQL is cut, is slow, and loses the connection that hears of decisions.

use std::time::{Duration, Instant};

use super::proxy::Way;
use super::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_and_refused() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    for _ in 0..3 {
        scene.ledger.database_breaks();
        scene.proxy.set(Way::Cut);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        scene.proxy.set(Way::Open);
        scene.ledger.database_is_back();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    crew.end().await;
    scene.close("connections cut").await;
}

/// Slow isn't broken: everything is right, and only later. A page asks some twenty things, and half as many more over a new connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_round_trip_takes_200_milliseconds() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.ledger.others_may_take(Duration::from_secs(15));
    scene.proxy.set(Way::Slow(Duration::from_millis(200)));
    let (begun, before) = (Instant::now(), scene.ledger.counts());
    let meanwhile = || scene.ledger.counts().logged_in - before.logged_in;
    // A page and a redemption take half of the first time, on a machine that does nothing else.
    while begun.elapsed() < Duration::from_secs(8) || (meanwhile() == 0 && begun.elapsed() < Duration::from_secs(40)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let meanwhile = meanwhile();
    scene.proxy.set(Way::Open);
    scene.ledger.database_is_back();

    assert!(meanwhile > 0, "nobody could log in meanwhile");
    crew.end().await;
    scene.close("a slow network").await;
}

/// The database is well, and so every decision is found within an interval, though nobody hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listening_connections_are_ended_again_and_again() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name = 'countersign' AND query ILIKE 'LISTEN %'";
    let (until, mut ended) = (Instant::now() + Duration::from_secs(8), 0);
    while Instant::now() < until {
        ended += scene.postgres.number(end).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert!(ended >= 6, "only {ended} listened");
    crew.end().await;
    scene.close("nobody listens").await;
}
