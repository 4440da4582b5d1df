//! Every committed event gets one place, however events and linkers come together.

use std::collections::HashMap;
use std::sync::Arc;

use countersign::audit::linker::{self, Linker, Turn};
use countersign::ids::OrganizationId;
use sqlx::Acquire as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Audit;

const ACME: OrganizationId = OrganizationId(Uuid::from_u128(1));
const GLOBEX: OrganizationId = OrganizationId(Uuid::from_u128(2));

#[tokio::test]
async fn each_organization_has_a_chain_of_its_own() {
    let audit = Audit::new().await;
    for of in [Some(ACME), None, Some(GLOBEX), Some(ACME), None, Some(ACME)] {
        audit.append(of).await;
    }
    assert_eq!(audit.link().await, 6);
    assert_eq!(audit.link().await, 0, "once");
    audit.append(Some(GLOBEX)).await;
    assert_eq!(audit.link().await, 1);
    let reports = audit.reports().await;
    let told: Vec<_> = reports.iter().map(|report| (report.chain, report.events)).collect();
    assert_eq!(told, [(Uuid::nil(), 2), (ACME.0, 3), (GLOBEX.0, 2)]);
    for report in reports {
        assert_eq!((report.begins_at, report.broken), (1, None));
        assert_eq!(report.head.unwrap().position, i64::try_from(report.events).unwrap());
    }
}

#[tokio::test]
async fn events_of_one_transaction_keep_their_order() {
    let audit = Audit::new().await;
    let mut tx = audit.installation.pool.begin().await.unwrap();
    for _ in 0..20 {
        audit.event(Some(ACME)).append(&mut tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    audit.link().await;
    let linked: Vec<Uuid> = audit.links().await.iter().map(|link| link.event_id).collect();
    let written: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM audit_event ORDER BY sequence").fetch_all(&audit.owner).await.unwrap();
    assert_eq!(linked, written);
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_waited_for_by_nobody_and_left_out_by_nobody() {
    let audit = Audit::new().await;
    let mut linker = Linker::new(audit.installation.pool.clone(), audit.installation.keyring.clone());
    let mut conn = audit.installation.pool.acquire().await.unwrap();
    let mut late = conn.begin().await.unwrap();
    audit.event(Some(ACME)).append(&mut late).await.unwrap();
    for _ in 0..3 {
        audit.append(Some(ACME)).await;
        assert_eq!(linker.pass(Turn::Leave).await.unwrap(), 1, "later numbers don't wait for it");
    }
    late.commit().await.unwrap();
    assert_eq!(linker.pass(Turn::Leave).await.unwrap(), 1);
    assert_eq!(linker.pass(Turn::Leave).await.unwrap(), 0);
    // Nor does one that is undone.
    let mut undone = conn.begin().await.unwrap();
    audit.event(Some(ACME)).append(&mut undone).await.unwrap();
    undone.rollback().await.unwrap();
    audit.append(Some(ACME)).await;
    assert_eq!(linker.pass(Turn::Leave).await.unwrap(), 1);
    assert_eq!(audit.fault().await, None);
    let late: i64 = sqlx::query_scalar(
        "SELECT l.position FROM audit_link l JOIN audit_event e ON e.id = l.event_id ORDER BY e.sequence LIMIT 1",
    )
    .fetch_one(&audit.owner)
    .await
    .unwrap();
    assert_eq!(late, 4, "in the order in which they were seen");
}

#[tokio::test]
async fn a_database_that_was_put_back_is_linked_too() {
    let audit = Audit::new().await;
    let mut linker = Linker::new(audit.installation.pool.clone(), audit.installation.keyring.clone());
    linker.pass(Turn::Wait).await.unwrap();
    // Transactions of another cluster have other numbers.
    for number in ["UPDATE audit_event SET transaction_id = 3", "UPDATE audit_event SET transaction_id = 1000000000000"]
    {
        audit.append(Some(ACME)).await;
        audit.tamper(number).await;
        assert_eq!(audit.link().await, 1, "the first pass of a process looks at everything");
        audit.append(Some(ACME)).await;
        assert_eq!(linker.pass(Turn::Leave).await.unwrap(), 1, "and one that goes on at what is new");
    }
    assert_eq!(audit.fault().await, None);
}

#[tokio::test]
async fn postgresql_ends_the_turn_of_a_node_that_hangs() {
    let audit = Audit::new().await;
    let limited = "CREATE FUNCTION limited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       IF '0' IN (current_setting('idle_in_transaction_session_timeout'), current_setting('statement_timeout'))
                       THEN RAISE 'without an end'; END IF; RETURN NEW; END $$;
                   CREATE TRIGGER limited BEFORE INSERT ON audit_link FOR EACH ROW EXECUTE FUNCTION limited()";
    sqlx::raw_sql(limited).execute(&audit.owner).await.unwrap();
    audit.append(Some(ACME)).await;
    assert_eq!(audit.link().await, 1);
}

#[tokio::test]
async fn a_linker_that_is_to_stop_begins_no_batch_and_events_that_nobody_links_are_noticed() {
    let audit = Audit::new().await;
    let stop = CancellationToken::new();
    let mut linker =
        Linker::new(audit.installation.pool.clone(), audit.installation.keyring.clone()).until(stop.clone());
    audit.append(None).await;
    assert!(!linker.is_overdue().await.unwrap(), "it is new");
    audit.tamper("UPDATE audit_event SET at = at - interval '2 minutes'").await;
    assert!(linker.is_overdue().await.unwrap());
    stop.cancel();
    assert_eq!(linker.pass(Turn::Wait).await.unwrap(), 0);
    assert_eq!(audit.link().await, 1);
    assert!(!linker.is_overdue().await.unwrap());
}

#[tokio::test]
async fn after_a_failure_everything_is_looked_at_again() {
    let audit = Audit::new().await;
    let stop = CancellationToken::new();
    let watching = linker::watch(audit.installation.pool.clone(), audit.installation.keyring.clone(), stop.clone());
    let watching = tokio::spawn(watching);
    let comes_true = async |what: &'static str| {
        for _ in 0..600 {
            if sqlx::query_scalar::<_, bool>(what).fetch_one(&audit.owner).await.unwrap() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("not yet: {what}");
    };
    audit.append(Some(ACME)).await;
    comes_true("SELECT count(*) = 1 FROM audit_link").await;
    // A standby took over, and gives numbers again that were given before.
    audit.tamper(
        "INSERT INTO audit_event (id, at, kind, transaction_id) VALUES (gen_random_uuid(), now(), 'approved', 1);
         CREATE SEQUENCE failures; GRANT USAGE ON SEQUENCE failures TO PUBLIC;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('failures'); RAISE 'away'; END $$;
         CREATE TRIGGER fail BEFORE INSERT ON audit_link FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await;
    audit.append(Some(ACME)).await;
    comes_true("SELECT is_called FROM failures").await;
    sqlx::raw_sql("DROP TRIGGER fail ON audit_link").execute(&audit.owner).await.unwrap();
    comes_true("SELECT count(*) = 3 FROM audit_link").await;
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn many_batches_are_caught_up_with() {
    let audit = Audit::new().await;
    let insert = "INSERT INTO audit_event (id, at, kind, organization_id)
                  SELECT gen_random_uuid(), now(), 'requested', '00000000-0000-0000-0000-000000000001'
                  FROM generate_series(1, 12001)";
    sqlx::query(insert).execute(&audit.owner).await.unwrap();
    assert_eq!(audit.link().await, 12_001);
    assert_eq!(audit.fault().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_append_while_two_nodes_link() {
    let audit = Arc::new(Audit::new().await);
    let mut appending = JoinSet::new();
    for task in 0..64u32 {
        let audit = audit.clone();
        appending.spawn(async move {
            for event in 0..5 {
                audit.append([Some(ACME), Some(GLOBEX), None][((task + event) % 3) as usize]).await;
            }
        });
    }
    let mut linking = JoinSet::new();
    for turn in [Turn::Leave, Turn::Wait] {
        let mut linker = Linker::new(audit.installation.pool.clone(), audit.installation.keyring.clone());
        linking.spawn(async move {
            for _ in 0..40 {
                linker.pass(turn).await.unwrap();
            }
        });
    }
    while let Some(ended) = appending.join_next().await {
        ended.unwrap();
    }
    while let Some(ended) = linking.join_next().await {
        ended.unwrap();
    }
    audit.link().await;
    let reports = audit.reports().await;
    let events: HashMap<Uuid, u64> = reports.iter().map(|report| (report.chain, report.events)).collect();
    assert_eq!(events.values().sum::<u64>(), 320, "{events:?}");
    assert!(reports.iter().all(|report| report.broken.is_none()), "{reports:?}");
}
