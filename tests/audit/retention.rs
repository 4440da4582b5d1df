//! The audit's events go when they are as old as the owner of the database says, and in no other way.

use chrono::TimeDelta;
use countersign::audit::retention::{days, keep_for, prune};
use countersign::audit::verify::{Head, Report, Verifier};
use countersign::ids::OrganizationId;
use uuid::Uuid;

use super::Audit;

const ACME: OrganizationId = OrganizationId(Uuid::from_u128(1));
const GLOBEX: OrganizationId = OrganizationId(Uuid::from_u128(2));

impl Audit {
    /// Events of Acme, three of which are 500 days old and two 50 days; and of Globex, two of 500 days.
    async fn of_two_years() -> Self {
        let audit = Self::new().await;
        let at = async |days: i64, organizations: &[OrganizationId]| {
            audit.installation.clock.advance(TimeDelta::days(-days));
            for organization in organizations {
                audit.append(Some(*organization)).await;
            }
            audit.installation.clock.advance(TimeDelta::days(days));
        };
        at(500, &[ACME, ACME, ACME, GLOBEX, GLOBEX]).await;
        at(50, &[ACME, ACME]).await;
        audit.link().await;
        audit
    }

    /// Has the owner say for how many days it is kept.
    async fn keep(&self, days: Option<u32>) {
        let mut owner = self.owner.acquire().await.unwrap();
        keep_for(&mut owner, (&self.installation.clock, &self.installation.random), days).await.unwrap();
    }

    /// How many the server deletes, of so many at most.
    async fn prune(&self, most: i64) -> u64 {
        let mut conn = self.installation.pool.acquire().await.unwrap();
        prune(&mut conn, self.installation.clock.now(), most).await.unwrap()
    }

    /// What a verification finds that lets chains begin later.
    async fn pruned(&self, heads: Vec<Head>) -> (Vec<Report>, Vec<Head>) {
        let mut verifier = Verifier::new(Some(&self.installation.keyring), heads, true);
        for link in self.links().await {
            verifier.next(&link);
        }
        verifier.finish()
    }
}

#[tokio::test]
async fn old_events_go_oldest_first_and_the_rest_of_each_chain_verifies() {
    let audit = Audit::of_two_years().await;
    let heads: Vec<Head> = audit.reports().await.into_iter().filter_map(|report| report.head).collect();
    assert_eq!(audit.prune(100).await, 0, "kept for ever unless it is said");
    audit.keep(Some(400)).await;
    audit.link().await;
    let mut conn = audit.installation.pool.acquire().await.unwrap();
    assert_eq!(days(&mut conn).await.unwrap(), Some(400));

    assert_eq!(audit.prune(2).await, 2);
    let (reports, lost) = audit.pruned(heads.clone()).await;
    assert!(reports.iter().all(|report| report.broken.is_none()) && lost.is_empty(), "{reports:?}");
    assert_eq!((audit.prune(100).await, audit.prune(100).await), (2, 0));
    let (reports, lost) = audit.pruned(heads).await;
    let of = |chain: OrganizationId| reports.iter().find(|report| report.chain == chain.0).unwrap();
    assert_eq!((of(ACME).begins_at, of(ACME).events), (4, 2));
    assert_eq!((of(GLOBEX).begins_at, of(GLOBEX).events), (2, 1), "the chain goes on from its last event");
    assert!(reports.iter().all(|report| report.broken.is_none()) && lost.is_empty(), "{reports:?} {lost:?}");
    // That it was said is said.
    assert_eq!(reports.iter().find(|report| report.chain.is_nil()).unwrap().events, 1);

    audit.append(Some(GLOBEX)).await;
    assert_eq!((audit.link().await, audit.prune(100).await), (1, 1));
    let (reports, _) = audit.pruned(vec![]).await;
    let globex = reports.iter().find(|report| report.chain == GLOBEX.0).unwrap();
    assert_eq!((globex.begins_at, globex.events, globex.broken), (3, 1, None));
    let without = Verifier::new(None, vec![], false);
    let mut without = without;
    for link in audit.links().await {
        without.next(&link);
    }
    assert!(without.finish().0.iter().any(|report| report.broken.is_some()), "only who expects it finds it in order");
}

#[tokio::test]
async fn what_somebody_took_out_stays_to_be_seen() {
    let audit = Audit::of_two_years().await;
    audit.keep(Some(400)).await;
    audit
        .tamper(
            "DELETE FROM audit_event WHERE id = (SELECT event_id FROM audit_link
                 WHERE organization_id = '00000000-0000-0000-0000-000000000001' AND position = 2)",
        )
        .await;
    assert_eq!(audit.prune(100).await, 2, "the first of Acme, and the first of Globex");
    assert_eq!(audit.prune(100).await, 0);
    let (reports, _) = audit.pruned(vec![]).await;
    let acme = reports.iter().find(|report| report.chain == ACME.0).unwrap();
    assert_eq!(acme.broken.map(|broken| broken.position), Some(2));
}

#[tokio::test]
async fn a_stolen_role_of_the_server_deletes_nothing_that_is_younger() {
    let audit = Audit::of_two_years().await;
    audit.keep(Some(400)).await;
    audit.link().await;
    let mut conn = audit.installation.pool.acquire().await.unwrap();
    let later = audit.installation.clock.now() + TimeDelta::days(10_000);
    let earlier = audit.installation.clock.now() - TimeDelta::days(200);
    assert_eq!(prune(&mut conn, earlier, 100).await.unwrap(), 0, "a clock that is behind deletes later");
    // Everything that it may make is made so that it looks like what the function asks for.
    for trap in [
        "CREATE TEMPORARY TABLE audit_retention AS SELECT true AS one, -10000 AS days",
        "CREATE TEMPORARY TABLE audit_link AS SELECT * FROM public.audit_link",
        "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2999-01-01''::timestamptz'",
        "SET search_path = pg_temp, public, pg_catalog",
        "SET countersign.pruning = 'on'",
    ] {
        sqlx::query(trap).execute(&mut *conn).await.unwrap();
    }
    let pruned: i64 =
        sqlx::query_scalar("SELECT public.prune_audit($1, 1000000)").bind(later).fetch_one(&mut *conn).await.unwrap();
    assert_eq!(pruned, 4, "what is past retention, and no more");
    let deleted = sqlx::query("DELETE FROM public.audit_event").execute(&mut *conn).await.unwrap_err();
    assert!(deleted.to_string().contains("permission denied"), "{deleted}");
    conn.detach();
    let (reports, _) = audit.pruned(vec![]).await;
    let acme = reports.iter().find(|report| report.chain == ACME.0).unwrap();
    assert_eq!((acme.begins_at, acme.events, acme.broken), (4, 2, None));
}

#[tokio::test]
async fn the_owner_keeps_it_for_ninety_days_at_least_and_for_ever_again() {
    let audit = Audit::of_two_years().await;
    for too_short in ["UPDATE audit_retention SET days = 89", "INSERT INTO audit_retention VALUES (false, 90)"] {
        let refused = sqlx::query(too_short).execute(&audit.owner).await.unwrap_err().to_string();
        assert!(refused.contains("violates check constraint"), "{refused}");
    }
    for deleting in ["DELETE FROM audit_event", "DELETE FROM audit_link"] {
        let refused = sqlx::query(deleting).execute(&audit.owner).await.unwrap_err().to_string();
        assert!(refused.contains("is append-only"), "{refused}");
    }
    audit.keep(Some(90)).await;
    audit.keep(None).await;
    assert_eq!(audit.prune(100).await, 0);
    audit.keep(Some(90)).await;
    assert_eq!(audit.prune(100).await, 4);
}
