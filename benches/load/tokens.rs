//! Redemptions and refreshes, beside pgbench that does the same statements.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::ids::SessionId;
use countersign::secrets::Keyring;

use super::authorization::variables;
use super::closed::{self, Turn, Verdict, Work};
use super::cpu::Meter;
use super::http::{Answer, Template};
use super::pgbench::{self, Amount, Told};
use super::report::{Cost, Row, median};
use super::scene::Scene;
use super::settings::CONNECTIONS;
use super::stage::{Codes, REFRESH_TOKEN, Stage, token_of};

/// Sessions of each connection and of each client.
const EACH: usize = 200;

/// Redeems each code once.
struct Redeeming {
    codes: Codes,
    next: AtomicUsize,
}

impl Work for Redeeming {
    type Own = Template;

    fn begin(&self, _connection: usize) -> Template {
        Template::poll("")
    }

    fn next<'a>(&self, own: &'a mut Template) -> Option<&'a [u8]> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (turn < self.codes.len()).then(|| own.with(self.codes.at(turn)))
    }

    fn judge(&self, answer: &Answer<'_>) -> Verdict {
        tokens(answer)
    }
}

fn tokens(answer: &Answer<'_>) -> Verdict {
    let right = answer.status == 200 && answer.body.starts_with(b"{\"access_token\"");
    if right { Verdict::Right } else { Verdict::Wrong }
}

/// Refreshes sessions in turn.
struct Refreshing {
    keyring: Keyring,
    sessions: Vec<SessionId>,
}

/// A connection's sessions.
struct Own {
    template: Template,
    sessions: Vec<SessionId>,
    turn: usize,
}

impl Work for Refreshing {
    type Own = Own;

    fn begin(&self, connection: usize) -> Own {
        let before = "grant_type=refresh_token&client_id=acme-cli&refresh_token=";
        let template = Template::new("/auth/token", "", before, REFRESH_TOKEN, "");
        Own { template, sessions: self.sessions[connection * EACH..][..EACH].to_vec(), turn: 0 }
    }

    fn next<'a>(&self, own: &'a mut Own) -> Option<&'a [u8]> {
        let (generation, index) = (own.turn / EACH, own.turn % EACH);
        own.turn += 1;
        let token = token_of(&self.keyring, own.sessions[index], i32::try_from(generation).unwrap());
        Some(own.template.with(token.as_bytes()))
    }

    fn judge(&self, answer: &Answer<'_>) -> Verdict {
        tokens(answer)
    }
}

/// Measures.
pub async fn measure(scene: &mut Scene) {
    let (redeemed, refreshed) = (redemptions(scene).await, refreshes(scene).await);
    for (work, baseline, (ours, theirs)) in [
        ("redemption", "the statements of a redemption, pgbench", redeemed),
        ("refresh", "the statements of a refresh, pgbench", refreshed),
    ] {
        let rates = (median(ours.iter().map(|turn| turn.rate)), median(theirs.iter().map(|told| told.rate)));
        scene.report.rows.push(Row::at_least(work, rates, 0.5));
        let (turn, told) = (&ours[ours.len() / 2], &theirs[theirs.len() / 2]);
        scene.report.costs.push(Cost { work: work.to_owned(), cpu: turn.cpu, driver: Some(turn.driver) });
        scene.report.costs.push(Cost { work: baseline.to_owned(), cpu: told.cpu, driver: None });
    }
}

fn script(scene: &Scene, name: &str, text: &str) -> PathBuf {
    let path = scene.cluster.directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

async fn redemptions(scene: &Scene) -> (Vec<Turn>, Vec<Told>) {
    let (database, alone) = (scene.fresh("redemption").await, scene.fresh("redemption_alone").await);
    let (stage, plain) = (scene.stage(&database).await, scene.stage(&alone).await);
    let script = script(scene, "redemption.sql", include_str!("pgbench/redemption.sql"));
    let server = scene.installation.serve(&database).await;
    let meter = Meter { server: server.pid(), postgres: scene.cluster.pid() };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..scene.settings.rounds {
        let each = scene.settings.redemptions / CONNECTIONS;
        numbered_grants(&plain, round, each).await;
        alone.rest().await;
        let variables = [variables(&plain.ids), vec![("base", base(round).to_string())]].concat();
        theirs.push(pgbench::run(&alone, &script, &variables, Amount::Each(each), &meter).await);

        let codes = stage.approved(scene.settings.redemptions).await;
        database.rest().await;
        let redeeming = Arc::new(Redeeming { codes, next: AtomicUsize::new(0) });
        ours.push(closed::run(server.address, CONNECTIONS, None, &meter, &redeeming).await);
        database.settle().await;
    }
    // Neither did less than it says.
    let expected = i64::try_from(scene.settings.rounds * (scene.settings.redemptions / CONNECTIONS) * CONNECTIONS);
    for database in [&alone, &database] {
        let done = "SELECT count(*) FROM device_grant g JOIN session s ON s.grant_id = g.id WHERE g.state = 'redeemed'";
        assert_eq!(Ok(database.count(done).await), expected);
    }
    drop(server);
    scene.cluster.drop("redemption").await;
    scene.cluster.drop("redemption_alone").await;
    (ours, theirs)
}

/// The first number of a round, for what pgbench works through.
const fn base(round: usize) -> usize {
    (round + 1) * 10_000_000
}

/// Approved grants whose ids pgbench can count.
async fn numbered_grants(stage: &Stage<'_>, round: usize, each: usize) {
    let sql = format!(
        "INSERT INTO device_grant (id, organization_id, service_id, user_code_mac, user_code_length, scopes,
             poll_interval_seconds, created_at, expires_at, user_agent, ip)
         SELECT ('00000000-0000-7000-8000-' || lpad(({} + c * 100000 + i)::text, 12, '0'))::uuid, '{}', '{}',
             sha256(gen_random_uuid()::text::bytea), 10, '{{read}}', 5, now(), now() + interval '1 hour', 'acme-cli/1.0',
             '127.0.0.1'
         FROM generate_series(0, {}) c, generate_series(0, {}) i",
        base(round),
        stage.ids.organization,
        stage.ids.service,
        CONNECTIONS - 1,
        each - 1,
    );
    stage.database.execute(sql).await;
    stage.approve().await;
}

async fn refreshes(scene: &Scene) -> (Vec<Turn>, Vec<Told>) {
    let (database, alone) = (scene.fresh("refresh").await, scene.fresh("refresh_alone").await);
    let (stage, plain) = (scene.stage(&database).await, scene.stage(&alone).await);
    let script = script(scene, "refresh.sql", include_str!("pgbench/refresh.sql"));
    let server = scene.installation.serve(&database).await;
    let meter = Meter { server: server.pid(), postgres: scene.cluster.pid() };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..scene.settings.rounds {
        numbered_sessions(&plain, round).await;
        alone.rest().await;
        let own = vec![("base", base(round).to_string()), ("each", EACH.to_string())];
        let variables = [variables(&plain.ids), own].concat();
        theirs.push(pgbench::run(&alone, &script, &variables, Amount::Time(scene.settings.round), &meter).await);

        let sessions = stage.sessions(CONNECTIONS * EACH).await;
        database.rest().await;
        let refreshing = Arc::new(Refreshing { keyring: scene.keyring.clone(), sessions });
        let limit = Some(scene.settings.round);
        ours.push(closed::run(server.address, CONNECTIONS, limit, &meter, &refreshing).await);
        database.settle().await;
    }
    // Neither did less than it says.
    let done = "SELECT coalesce(sum(generation), 0)::bigint FROM session";
    let told: f64 = theirs.iter().map(|told| told.count).sum();
    assert!((alone.count(done).await as f64 - told).abs() < 0.5);
    let answered: u64 = ours.iter().map(|turn| turn.latency.len()).sum();
    assert_eq!(u64::try_from(database.count(done).await), Ok(answered));
    drop(server);
    scene.cluster.drop("refresh").await;
    scene.cluster.drop("refresh_alone").await;
    (ours, theirs)
}

/// Sessions whose ids pgbench can count.
async fn numbered_sessions(stage: &Stage<'_>, round: usize) {
    let Stage { database, ids, .. } = stage;
    let (organization, service, person) = (ids.organization, ids.service, ids.person);
    let sql = format!(
        "INSERT INTO session (id, organization_id, service_id, user_id, grant_id, scopes, auth_time, amr, name, user_agent,
             ip, last_ip, created_at, last_seen_at, generation, idle_expires_at, expires_at)
         SELECT n.id, '{organization}', '{service}', '{person}', n.id, '{{read}}', now(), '{{pwd}}', 'Acme CLI',
             'acme-cli/1.0', '127.0.0.1', '127.0.0.1', now(), now(), 0, now() + interval '30 days',
             now() + interval '90 days'
         FROM (SELECT ('00000000-0000-7000-8000-' || lpad(({} + c * 1000 + i)::text, 12, '0'))::uuid AS id
               FROM generate_series(0, {}) c, generate_series(0, {}) i) n",
        base(round),
        CONNECTIONS - 1,
        EACH - 1,
    );
    database.execute(sql).await;
}
