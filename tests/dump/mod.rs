//! A copy of the database is worth nothing to whoever has it: no value in it can be used (SPEC §4).
//!
//! 1. [`life`] brings an installation into the middle of everything, so that whatever is ever stored stands in its database.
//! 2. [`reader`] reads every value of every table, and writes each in every form that somebody could think of.
//! 3. [`thief`] tries each form in every way, and notes what isn't answered as a wrong value is.
//!
//! What the actors hold works in the same hands: a trial that could not succeed would prove nothing.

mod life;
mod reader;
mod thief;

use std::sync::Arc;

use life::{Held, Life};
use reader::{Forms, Found};
use sqlx::{Connection as _, Executor as _};
use thief::{Thief, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_the_database_contains_nothing_that_can_be_used() {
    let life = Arc::new(Life::new().await);
    let found = reader::read(&life.app.owner()).await;
    let as_it_is: Vec<String> = life.held.iter().filter_map(|held| lies_open(held, &found)).collect();
    assert!(as_it_is.is_empty(), "{as_it_is:#?}");

    let thief = Thief::new(life.clone()).await;
    let forms = written(&found);
    let trials = trials(&forms);
    assert!(trials.len() > 10_000, "only {} trials", trials.len());
    let given = thief.tries_all(trials).await;
    let given: Vec<_> = given.iter().map(|(way, value, told)| (forms[value].1, way, value, told)).collect();
    assert!(given.is_empty(), "{given:#?}");

    // All that changed nothing: what the actors hold is still good, in the same hands.
    let mut usable: Vec<(Way, &Held)> = life.held.iter().filter_map(|held| Some((held.way?, held))).collect();
    usable.sort_by_key(|(way, _)| *way);
    for (way, held) in &usable {
        assert!(thief.tries(*way, &held.secret).await.is_some(), "the {} is worth nothing", held.what);
    }
    for way in Way::ALL {
        assert!(usable.iter().any(|(used, _)| *used == way), "nobody holds anything for {way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_stood_in_the_database_would_be_found() {
    let life = Arc::new(Life::new().await);
    let thief = Thief::new(life.clone()).await;
    leak(&life).await;
    let found = reader::read(&life.app.owner()).await;
    // The MAC of a code or a token is enough, with the ids that stand elsewhere.
    let composed = reader::composed(&found);
    // A setup link is chance, and has no MAC in it.
    let made_of_macs = |held: &&Held| held.secret.starts_with("cs") && held.way != Some(Way::SetupLink);
    for held in life.held.iter().filter(made_of_macs) {
        assert!(composed.contains_key(&held.secret), "the {} was not composed", held.what);
    }
    let leaked: Vec<Found> = found.into_iter().filter(|found| found.place.starts_with("attic.leak.")).collect();
    for column in ["plain", "list", "tree", "raw", "raws"] {
        let there = leaked.iter().filter(|found| found.place == format!("attic.leak.{column}"));
        let written = reader::written(there);
        for held in &life.held {
            assert!(written.contains_key(&held.secret), "the {} was not read from {column}", held.what);
            assert!(lies_open(held, &leaked).is_some(), "the {} was not seen", held.what);
        }
    }
    let mut trials = trials(&written(&leaked));
    trials.retain(|(_, value)| life.held.iter().any(|held| held.secret == *value));
    let given = thief.tries_all(trials).await;
    for held in life.held.iter().filter(|held| held.way.is_some()) {
        let used = given.iter().any(|(way, value, _)| held.way == Some(*way) && *value == held.secret);
        assert!(used, "the {} was not used", held.what);
    }
}

/// Every form of what was found.
fn written(found: &[Found]) -> Forms<'_> {
    let mut forms = reader::composed(found);
    forms.extend(reader::written(found));
    forms
}

/// Every form in every way that takes it.
fn trials(forms: &Forms<'_>) -> Vec<(Way, String)> {
    let all = forms.iter().flat_map(|(value, (kind, _))| Way::ALL.map(|way| (way, *kind, value)));
    all.filter(|(way, kind, value)| way.takes(*kind, value)).map(|(way, _, value)| (way, value.clone())).collect()
}

/// Whether a secret stands somewhere as it is, or its bytes do.
fn lies_open(held: &Held, found: &[Found]) -> Option<String> {
    let mut needles = vec![held.secret.as_bytes().to_vec()];
    needles.extend(reader::decode(bare(&held.secret)));
    let holds = |found: &&Found| {
        needles.iter().any(|needle| found.value.bytes().windows(needle.len()).any(|window| window == needle))
    };
    found.iter().find(holds).map(|found| format!("the {} stands in {}", held.what, found.place))
}

/// A code, a token or a link's token without its beginning.
fn bare(secret: &str) -> &str {
    ["csd_", "csr_", "csn_", "csu_"].into_iter().find_map(|start| secret.strip_prefix(start)).unwrap_or(secret)
}

/// Writes down what the actors hold, in a table of another schema, in every type that holds a text.
async fn leak(life: &Life) {
    let mut conn = sqlx::PgConnection::connect_with(&life.app.owner().connect_options()).await.unwrap();
    conn.execute("CREATE SCHEMA attic").await.unwrap();
    conn.execute("CREATE TABLE attic.leak (plain varchar, list text[], tree jsonb, raw bytea, raws bytea[])")
        .await
        .unwrap();
    for held in &life.held {
        let secret = held.secret.as_str();
        let bytes = reader::decode(bare(secret)).unwrap_or_default();
        let mac = bytes.last_chunk::<32>().map(|mac| &mac[..]).unwrap_or_default();
        sqlx::query("INSERT INTO attic.leak VALUES ($1, $2, $3, $4, $5)")
            .bind(secret)
            .bind(["nothing", secret])
            .bind(serde_json::json!({ "deep": [1, { "down": secret }] }))
            .bind(secret.as_bytes())
            .bind([secret.as_bytes(), mac])
            .execute(&mut conn)
            .await
            .unwrap();
    }
}
