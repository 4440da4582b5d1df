//! Device authorization requests, beside pgbench that inserts the same rows.

use std::fs;
use std::sync::Arc;

use super::closed::{self, Verdict, Work};
use super::cpu::Meter;
use super::database::Ids;
use super::http::{Answer, request};
use super::pgbench::{self, Amount};
use super::report::{Cost, Row, median};
use super::scene::Scene;
use super::settings::CONNECTIONS;

/// Asks for codes.
struct Asking;

impl Work for Asking {
    type Own = Vec<u8>;

    fn begin(&self, _connection: usize) -> Vec<u8> {
        request("POST", "/auth/device/code", "", "client_id=acme-cli&scope=read")
    }

    fn next<'a>(&self, own: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        Some(own)
    }

    fn judge(&self, answer: &Answer<'_>) -> Verdict {
        let right = answer.status == 200 && answer.body.starts_with(b"{\"device_code\"");
        if right { Verdict::Right } else { Verdict::Wrong }
    }
}

/// The variables of every script.
pub fn variables(ids: &Ids) -> Vec<(&'static str, String)> {
    let Ids { organization, service, person } = ids;
    let ids = [("organization", organization), ("service", service), ("person", person)];
    ids.into_iter().map(|(name, id)| (name, id.to_string())).chain([("i", "-1".to_owned())]).collect()
}

/// Measures.
pub async fn measure(scene: &mut Scene) {
    let (database, alone) = (scene.fresh("authorization").await, scene.fresh("authorization_alone").await);
    let script = scene.cluster.directory.join("authorization.sql");
    fs::write(&script, include_str!("pgbench/authorization.sql")).unwrap();
    let variables = variables(&alone.ids().await);
    let server = scene.installation.serve(&database).await;
    let meter = Meter { server: server.pid(), postgres: scene.cluster.pid() };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..scene.settings.rounds {
        alone.rest().await;
        theirs.push(pgbench::run(&alone, &script, &variables, Amount::Time(scene.settings.round), &meter).await);
        database.rest().await;
        let limit = Some(scene.settings.round);
        ours.push(closed::run(server.address, CONNECTIONS, limit, &meter, &Arc::new(Asking)).await);
        database.settle().await;
    }
    let written = database.count("SELECT count(*) FROM device_grant").await as f64;
    let answered: u64 = ours.iter().map(|turn| turn.latency.len()).sum();
    assert!((written - answered as f64).abs() < 0.5, "{answered} codes were given, {written} are there");
    let rates = (median(ours.iter().map(|turn| turn.rate)), median(theirs.iter().map(|told| told.rate)));
    scene.report.rows.push(Row::at_least("device authorization request", rates, 0.6));
    let (turn, told) = (&ours[ours.len() / 2], &theirs[theirs.len() / 2]);
    let work = "device authorization".to_owned();
    scene.report.costs.push(Cost { work, cpu: turn.cpu, driver: Some(turn.driver) });
    scene.report.costs.push(Cost { work: "the same INSERTs, pgbench".to_owned(), cpu: told.cpu, driver: None });
    drop(server);
    scene.cluster.drop("authorization").await;
    scene.cluster.drop("authorization_alone").await;
}
