//! Two servers share the four connections of a PgBouncer in transaction mode.

use std::time::{Duration, Instant};

use super::many_nodes::{HEARD_WITHIN, each_step_at_another};
use super::pgbouncer::CONNECTIONS;
use super::scene::{Scene, Way};

/// How many devices log in at once.
const DEVICES: usize = 64;

/// How long PgBouncer is away when it is restarted.
const AWAY: Duration = Duration::from_secs(1);

/// How soon a server knows, and says, that it hears nothing.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

/// How soon a held poll finds a decision that its server can't hear of: it looks once an interval, on a machine under load.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// What a server says of a request for which it had no connection within two seconds.
const QUEUED: &str = "pool timed out";

/// What a server says that hears nothing.
const DEAF: &str = "not hearing the other nodes";

/// Nobody was lost, and if anybody was sent away, then because too many came at once: PgBouncer confused nobody.
fn nothing_but_queues(scene: &Scene) {
    let counts = scene.ledger.counts();
    assert_eq!((counts.polls_lost, counts.others_lost), (0, 0), "{counts:?}");
    let confused = |line: &&str| line.contains("error=") && line.contains("did not answer") && !line.contains(QUEUED);
    let logs: Vec<String> = scene.nodes.iter().map(|node| node.log()).collect();
    let confused: Vec<&str> = logs.iter().flat_map(|log| log.lines()).filter(confused).collect();
    assert!(confused.is_empty(), "{confused:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_log_in_through_four_connections() {
    let scene = Scene::behind_pgbouncer(2, Way::PooledAndListening).await;
    each_step_at_another(&scene, HEARD_WITHIN).await;
    scene.ledger.others_may_take(Duration::from_secs(10));
    let crew = scene.crew_of(DEVICES).await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let pooled = "FROM pg_stat_activity WHERE usename = 'countersign_server' AND query NOT ILIKE 'LISTEN %'";
    let lent = scene.postgres.number(&format!("SELECT count(*) {pooled}")).await;
    assert!((1..=i64::try_from(CONNECTIONS).unwrap()).contains(&lent), "{lent} connections");
    crew.end().await;

    nothing_but_queues(&scene);
    let deaf = scene.nodes.iter().map(|node| node.log()).find(|log| log.contains(DEAF));
    assert!(deaf.is_none(), "{deaf:?}");
    scene.close("through PgBouncer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_is_restarted() {
    let mut scene = Scene::behind_pgbouncer(2, Way::PooledAndListening).await;
    let crew = scene.crew().await;

    for _ in 0..2 {
        scene.ledger.database_breaks();
        scene.pooler.as_mut().unwrap().restart(AWAY).await;
        scene.ledger.database_is_back();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    crew.end().await;
    scene.close("PgBouncer restarted").await;
}

/// Over a connection that PgBouncer lends nothing can be heard, and whoever listened on one would disturb those who are lent it
/// next. The servers know, and say what is to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_do_not_know_of_pgbouncer_find_decisions_all_the_same() {
    let scene = Scene::behind_pgbouncer(2, Way::PooledAndDeaf).await;
    let deadline = Instant::now() + NOTICED_WITHIN;
    for node in &scene.nodes {
        while !node.log().lines().any(|line| line.contains(DEAF) && line.contains("set database.listen_url")) {
            assert!(Instant::now() < deadline, "server {} doesn't say that it is deaf: {}", node.number, node.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    each_step_at_another(&scene, FOUND_WITHIN).await;
    let crew = scene.crew().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    crew.end().await;

    nothing_but_queues(&scene);
    for node in &scene.nodes {
        assert_eq!(node.log().matches(DEAF).count(), 1, "said once: {}", node.log());
    }
    scene.close("through PgBouncer, deaf").await;
}
