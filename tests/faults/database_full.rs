//! PostgreSQL's disk is full: first rows find no room, then its log doesn't, and then it falls over.

use std::time::Duration;

use super::scene::Scene;

/// MiB: enough for what a test writes, and soon full.
const SIZE: u32 = 200;

/// How long rows find no room; and then for so long again its log doesn't.
const FULL: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full_and_has_room_again() {
    let Some(mut scene) = Scene::on_small_disk(2, SIZE).await else {
        println!(
            "NOT a full disk: only root, with the right to mount, may have a small one. Instead, nothing may be written."
        );
        return nothing_may_be_written().await;
    };
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    // Its log finds room for longer than rows do: it has begun a file of 1 MiB.
    scene.postgres.tell("SELECT pg_switch_wal()").await;
    scene.postgres.tell("SELECT pg_logical_emit_message(true, 'first', 'in it')").await;
    scene.postgres.disk().unwrap().fill();
    tokio::time::sleep(FULL).await;
    let log = scene.postgres.log();
    assert!(log.contains("No space left on device") && !log.contains("PANIC"), "rows found room: {log}");
    scene.postgres.exhaust_log().await;
    tokio::time::sleep(FULL).await;
    scene.postgres.disk().unwrap().clear();
    scene.postgres.start().await;
    scene.ledger.database_is_back();

    assert!(scene.postgres.log().contains("PANIC"), "its log found room");
    let counts = scene.ledger.counts();
    assert!(counts.pending_meanwhile >= 20 && counts.unavailable >= 5, "nobody noticed: {counts:?}");
    crew.end().await;
    scene.close("full").await;
}

/// The nearest to a full disk that an ordinary user can have.
async fn nothing_may_be_written() {
    let scene = Scene::of(2).await;
    let crew = scene.crew().await;

    scene.ledger.database_breaks();
    scene.postgres.tell("ALTER SYSTEM SET default_transaction_read_only = on").await;
    scene.postgres.tell("SELECT pg_reload_conf()").await;
    tokio::time::sleep(FULL).await;
    scene.postgres.tell("ALTER SYSTEM RESET default_transaction_read_only").await;
    scene.postgres.tell("SELECT pg_reload_conf()").await;
    scene.ledger.database_is_back();

    let counts = scene.ledger.counts();
    assert!(counts.pending_meanwhile >= 20 && counts.unavailable >= 5, "nobody noticed: {counts:?}");
    crew.end().await;
    scene.close("read-only").await;
}
