//! The audit as administrators read it.

use countersign::audit::linker;
use serde_json::Value;

use super::{Admin, app, fields, token_of};
use crate::support::App;

const AUDIT: &str = "/api/v1/organizations/acme/audit";

/// What a server does each second.
async fn link(app: &App) {
    linker::link_all(&app.installation.pool, &app.installation.keyring).await.unwrap();
}

async fn page(admin: &Admin<'_>, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = admin.get(&format!("{AUDIT}?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    (body["items"].as_array().unwrap().clone(), body["next"].as_str().map(str::to_owned))
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn what_happened_is_listed_the_newest_first() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    Admin::log_in(&app, "owner@other.example").await;
    token_of(&app, "member@acme.example", "cli", "read").await;
    let id = admin.id_of("member@acme.example").await;
    admin.act(&format!("/api/v1/organizations/acme/users/{id}/lock")).await;
    link(&app).await;

    let (all, next) = page(&admin, "limit=200").await;
    assert_eq!(next, None);
    assert_eq!(positions(&all), (1..=i64::try_from(all.len()).unwrap()).rev().collect::<Vec<_>>());
    let here: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit_event WHERE organization_id = (SELECT id FROM organization WHERE slug = 'acme')",
    )
    .fetch_one(&app.installation.pool)
    .await
    .unwrap();
    assert_eq!(positions(&all).len(), usize::try_from(here).unwrap(), "all of this organization and of no other");

    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (events, next) = page(&admin, &format!("limit=3{after}")).await;
        assert!(events.len() == 3 || next.is_none());
        seen.extend(positions(&events));
        let Some(next) = next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, positions(&all));

    let (locked, _) = page(&admin, &format!("kind=administered&user={id}")).await;
    assert_eq!(locked.len(), 2, "made and locked: {locked:?}");
    assert_eq!(locked[0]["detail"]["fields"]["status"]["to"], "locked");
    let (sessions, _) = page(&admin, &format!("kind=redeemed&user={id}")).await;
    let session = sessions[0]["session_id"].as_str().unwrap();
    assert_eq!(page(&admin, &format!("session={session}&kind=redeemed")).await.0, sessions);
    let (later, next) = page(&admin, "since=2999-01-01T00:00:00Z").await;
    assert_eq!((later.len(), next), (0, None));
    assert_eq!(page(&admin, "limit=200&until=2999-01-01T00:00:00Z").await.0, all);
    for (query, field) in [
        ("kind=nothing", "kind"),
        ("kind=%00", "kind"),
        ("since=yesterday", "since"),
        ("user=me", "user"),
        ("after=eA", "after"),
        ("sort=at", "sort"),
    ] {
        assert_eq!(fields(&admin.get(&format!("{AUDIT}?{query}")).await), [field]);
    }
}

#[tokio::test]
async fn who_looks_for_what_is_rare_goes_on_page_by_page() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    link(&app).await;
    app.execute(
        "WITH o AS (SELECT id FROM organization WHERE slug = 'acme'),
              last AS (SELECT max(position) AS position FROM audit_link JOIN o ON o.id = organization_id),
              made AS (INSERT INTO audit_event (id, at, kind, organization_id)
                       SELECT gen_random_uuid(), now(), 'reported', o.id FROM o, generate_series(1, 10050) RETURNING id)
         INSERT INTO audit_link (organization_id, position, event_id, previous_hash, hash, seal)
         SELECT o.id, last.position + row_number() OVER (), made.id, z, z, z
         FROM o, last, made, decode(repeat('00', 32), 'hex') AS z",
    )
    .await;
    let (none, next) = page(&admin, "kind=requested").await;
    assert!(none.is_empty());
    let (found, next) = page(&admin, &format!("kind=requested&after={}", next.unwrap())).await;
    assert_eq!((found.len(), next), (1, None));
}
