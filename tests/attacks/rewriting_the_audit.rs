//! Rewriting the audit.
//!
//! The attacker has: the whole database as a superuser, or the server's own role in it. Not the installation's secret.
//!
//! What must happen: with the server's role nothing of the audit can be changed or deleted (`tests/audit/roles.rs` tries every
//! way). With a superuser's it can; then `verify` names the first place that isn't as it was made. What is cut off
//! the end is noticed by whoever kept an earlier head.

use countersign::audit::chain;
use countersign::audit::linker::{self, Linker, Turn};
use countersign::audit::verify::{Fault, Verifier};
use countersign::secrets::{InstallationSecret, Keyring, Random};

use crate::audit::Audit;

/// Changes the database, and says where and how the chain is broken then.
async fn after(sql: &'static str) -> Option<(i64, Fault)> {
    let (audit, _) = Audit::with(6).await;
    assert_eq!(audit.fault().await, None);
    audit.tamper(sql).await;
    audit.fault().await
}

#[tokio::test]
async fn an_event_is_altered() {
    for sql in [
        "UPDATE audit_event SET user_id = gen_random_uuid() WHERE id = (SELECT event_id FROM audit_link WHERE position = 3)",
        "UPDATE audit_event SET at = at + interval '1 microsecond' WHERE id = (SELECT event_id FROM audit_link WHERE position = 3)",
        "UPDATE audit_event SET kind = 'denied' WHERE id = (SELECT event_id FROM audit_link WHERE position = 3)",
        "UPDATE audit_event SET ip = '192.0.2.1' WHERE id = (SELECT event_id FROM audit_link WHERE position = 3)",
        "UPDATE audit_event SET detail = '{}' WHERE id = (SELECT event_id FROM audit_link WHERE position = 3)",
        "UPDATE audit_event SET organization_id = NULL WHERE id = (SELECT event_id FROM audit_link WHERE position = 3)",
    ] {
        assert_eq!(after(sql).await, Some((3, Fault::Altered)), "{sql}");
    }
}

#[tokio::test]
async fn a_hash_and_a_seal_are_altered() {
    let hash = "UPDATE audit_link SET hash = sha256('another') WHERE position = 3";
    assert_eq!(after(hash).await, Some((3, Fault::Altered)));
    let seal = "UPDATE audit_link SET seal = sha256('another') WHERE position = 3";
    assert_eq!(after(seal).await, Some((3, Fault::Unsealed)));
    let chain = "UPDATE audit_link SET organization_id = '00000000-0000-0000-0000-000000000008'";
    assert_eq!(after(chain).await, Some((1, Fault::Altered)));
}

#[tokio::test]
async fn an_event_is_deleted() {
    let event = "DELETE FROM audit_event WHERE id = (SELECT event_id FROM audit_link WHERE position = 2)";
    assert_eq!(after(event).await, Some((2, Fault::EventMissing)));
    let and_link = "WITH gone AS (DELETE FROM audit_link WHERE position = 2 RETURNING event_id)
                    DELETE FROM audit_event WHERE id = (SELECT event_id FROM gone)";
    assert_eq!(after(and_link).await, Some((2, Fault::LinkMissing)));
    let and_moved_up = "WITH gone AS (DELETE FROM audit_link WHERE position = 2 RETURNING event_id)
                        DELETE FROM audit_event WHERE id = (SELECT event_id FROM gone);
                        UPDATE audit_link SET position = position - 1 WHERE position = 3;
                        UPDATE audit_link SET position = position - 1 WHERE position = 4;
                        UPDATE audit_link SET position = position - 1 WHERE position = 5;
                        UPDATE audit_link SET position = position - 1 WHERE position = 6";
    assert_eq!(after(and_moved_up).await, Some((2, Fault::Broken)));
    let the_first = "DELETE FROM audit_link WHERE position < 4; DELETE FROM audit_event
                     WHERE NOT EXISTS (SELECT FROM audit_link WHERE event_id = audit_event.id)";
    assert_eq!(after(the_first).await, Some((1, Fault::LinkMissing)));
}

#[tokio::test]
async fn two_events_are_swapped() {
    let events = "CREATE TEMP TABLE swap AS SELECT position, event_id FROM audit_link WHERE position IN (2, 4);
                  UPDATE audit_link SET event_id = gen_random_uuid() WHERE position IN (2, 4);
                  UPDATE audit_link SET event_id = (SELECT event_id FROM swap WHERE position = 4) WHERE position = 2;
                  UPDATE audit_link SET event_id = (SELECT event_id FROM swap WHERE position = 2) WHERE position = 4";
    assert_eq!(after(events).await, Some((2, Fault::Altered)));
    let links = "UPDATE audit_link SET position = 100 WHERE position = 2;
                 UPDATE audit_link SET position = 2 WHERE position = 4;
                 UPDATE audit_link SET position = 4 WHERE position = 100";
    assert_eq!(after(links).await, Some((2, Fault::Broken)));
}

#[tokio::test]
async fn an_event_is_inserted() {
    let insert = "INSERT INTO audit_event (id, at, kind, organization_id) VALUES
                      ('00000000-0000-0000-0000-0000000000aa', now(), 'approved', '00000000-0000-0000-0000-000000000007');
                  INSERT INTO audit_link
                      SELECT organization_id, 7, '00000000-0000-0000-0000-0000000000aa', hash, sha256('x'), sha256('y')
                      FROM audit_link WHERE position = 6";
    assert_eq!(after(insert).await, Some((7, Fault::Altered)));
    let between = "UPDATE audit_link SET position = position + 10 WHERE position > 3;
                   UPDATE audit_link SET position = position - 9 WHERE position > 10;
                   INSERT INTO audit_event (id, at, kind, organization_id) VALUES
                      ('00000000-0000-0000-0000-0000000000aa', now(), 'approved', '00000000-0000-0000-0000-000000000007');
                   INSERT INTO audit_link
                      SELECT organization_id, 4, '00000000-0000-0000-0000-0000000000aa', hash, sha256('x'), sha256('y')
                      FROM audit_link WHERE position = 3";
    assert_eq!(after(between).await, Some((4, Fault::Altered)));
}

#[tokio::test]
async fn an_event_is_inserted_so_that_it_is_never_linked() {
    let (audit, organization) = Audit::with(3).await;
    let (pool, keyring) = (audit.installation.pool.clone(), audit.installation.keyring.clone());
    let mut linker = Linker::new(pool, keyring);
    linker.pass(Turn::Wait).await.unwrap();
    let insert = "INSERT INTO audit_event (id, at, kind, organization_id, transaction_id) VALUES
        (gen_random_uuid(), '2026-01-01', 'approved', '00000000-0000-0000-0000-000000000007', 1)";
    audit.tamper(insert).await;
    assert_eq!(linker.pass(Turn::Wait).await.unwrap(), 0, "a linker that runs doesn't look so far back");
    let mut conn = audit.installation.pool.acquire().await.unwrap();
    let now = audit.installation.clock.now();
    let left_out = chain::left_out(&mut conn, Some(organization), now).await.unwrap();
    assert_eq!(
        left_out.iter().map(|left_out| (left_out.chain, left_out.events)).collect::<Vec<_>>(),
        [(organization.0, 1)]
    );
}

#[tokio::test]
async fn the_chain_is_made_anew_without_the_secret() {
    let (audit, organization) = Audit::with(6).await;
    audit
        .tamper(
            "UPDATE audit_event SET kind = 'denied' WHERE id = (SELECT event_id FROM audit_link WHERE position = 4)",
        )
        .await;
    audit.tamper("DELETE FROM audit_link WHERE position >= 4").await;
    let another = Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap();
    assert_eq!(linker::link_all(&audit.owner, &another).await.unwrap(), 3);
    assert_eq!(audit.fault().await, Some((4, Fault::Unsealed)));
    // What the server links afterwards doesn't make it good.
    audit.append(Some(organization)).await;
    audit.link().await;
    assert_eq!(audit.fault().await, Some((4, Fault::Unsealed)));
}

#[tokio::test]
async fn the_tail_is_cut_off() {
    let (audit, organization) = Audit::with(6).await;
    let kept = audit.reports().await[0].head.unwrap();
    let cut = "DELETE FROM audit_link WHERE position > 4; DELETE FROM audit_event
               WHERE NOT EXISTS (SELECT FROM audit_link WHERE event_id = audit_event.id)";
    audit.tamper(cut).await;
    assert_eq!(audit.fault().await, None, "the rest is as it was made");
    // Life goes on, beyond the position that was kept.
    for _ in 0..4 {
        audit.append(Some(organization)).await;
    }
    audit.link().await;
    let mut verifier = Verifier::new(Some(&audit.installation.keyring), vec![kept], false);
    for link in audit.links().await {
        verifier.next(&link);
    }
    let (reports, lost) = verifier.finish();
    assert_eq!((reports[0].broken, reports[0].events), (None, 8));
    assert_eq!(lost, [kept], "whoever kept the head notices");
}

#[tokio::test]
async fn heads_that_were_kept_are_found_again() {
    let (audit, organization) = Audit::with(3).await;
    let kept = audit.reports().await[0].head.unwrap();
    audit.append(Some(organization)).await;
    audit.link().await;
    let lost = async |may_begin_later| {
        let mut verifier = Verifier::new(Some(&audit.installation.keyring), vec![kept], may_begin_later);
        for link in audit.links().await {
            verifier.next(&link);
        }
        let (reports, lost) = verifier.finish();
        (reports[0].broken.map(|broken| (broken.position, broken.fault)), lost.len())
    };
    assert_eq!(lost(false).await, (None, 0));
    // Older events were deleted on purpose: only who says so is told that the rest is good.
    audit.tamper("DELETE FROM audit_link WHERE position <= 3").await;
    assert_eq!(lost(true).await, (None, 0), "position 4 says what was before it");
    assert_eq!(lost(false).await, (Some((1, Fault::LinkMissing)), 1));
}
