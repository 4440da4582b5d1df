//! `POST /auth/device/code`, by many at the same time: they share statements, and nobody shares anybody's fate.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use countersign::device::codes::{Length, UserCode};
use countersign::ids::GrantId;
use countersign::installation::Parts;
use countersign::secrets::Random;
use futures_util::future::{join, join_all};

use crate::api::is_refused;
use crate::support::app::{ACME, AGENT_SECRET, Answer};
use crate::support::{App, Browser, Device, Held, database};

/// Requests at the same time wait for it to be let go: two statements of each server, and the others for those.
const NEW_GRANTS: &str = "LOCK device_grant IN SHARE MODE";

/// Long enough for requests that are under way already to get as far as they can.
const A_WHILE: Duration = Duration::from_millis(300);

async fn ask(app: &App) -> Answer {
    app.post("/auth/device/code", &[("client_id", "acme-cli")]).await
}

async fn ask_as_agent(app: &App) -> Answer {
    app.post("/auth/device/code", &[("client_id", "acme-agent"), ("client_secret", AGENT_SECRET)]).await
}

/// Begins a request, and returns when it is the `nth` whose statement waits: at once, requests would go together.
async fn begin<'a, T>(
    held: &Held,
    nth: i64,
    request: impl Future<Output = T> + 'a,
) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    let mut request: Pin<Box<dyn Future<Output = T> + 'a>> = Box::pin(request);
    tokio::select! {
        _ = &mut request => panic!("it should wait"),
        () = held.until_waiting(nth) => {}
    }
    request
}

async fn count(app: &App, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&app.installation.pool).await.unwrap()
}

const GRANTS: &str = "SELECT count(*) FROM device_grant";
const COMMITS: &str = "SELECT count(DISTINCT transaction_id) FROM audit_event WHERE kind = 'requested'";
/// Grants of which there isn't one event, and events of which there isn't a grant.
const UNEVEN: &str = "SELECT
    (SELECT count(*) FROM device_grant g WHERE 1 <> (
         SELECT count(*) FROM audit_event e WHERE e.kind = 'requested' AND e.grant_id = g.id AND e.at = g.created_at
             AND e.service_id = g.service_id AND e.organization_id = g.organization_id AND e.ip = g.ip))
    + (SELECT count(*) FROM audit_event e
       WHERE e.kind = 'requested' AND NOT EXISTS (SELECT FROM device_grant g WHERE g.id = e.grant_id))";

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_two_nodes_get_codes_of_their_own_in_a_few_commits() {
    let app = App::acme().await;
    let other = app.another_node().await;
    // What each server knows of the live codes, it knows from here on.
    join(ask(&app), ask(&other)).await;
    let held = Held::by(&app, NEW_GRANTS).await;
    let release = async {
        held.until_waiting(4).await;
        tokio::time::sleep(A_WHILE).await;
        held.release().await;
    };
    let asking = join_all((0..64).map(|n| Device::ask(if n % 2 == 0 { &app } else { &other }, "read deploy")));
    let (devices, ()) = join(asking, release).await;
    let codes: HashSet<&str> = devices.iter().map(|device| &*device.user_code).collect();
    assert_eq!((codes.len(), count(&app, GRANTS).await, app.audit().await["requested"]), (64, 66, 66));
    assert_eq!(count(&app, UNEVEN).await, 0);
    let commits = count(&app, COMMITS).await - 2;
    assert!((3..=24).contains(&commits), "{commits} commits");
    for device in &devices {
        let poll = other.send(device.poll_request()).await;
        assert_eq!(poll.error(), "authorization_pending");
    }
    for device in &devices[..2] {
        Browser::new(&app).approve_code(&device.user_code).await;
        assert_eq!(device.poll_held().await.text("scope"), "read deploy");
    }
    assert_eq!(app.metric("audit_events_total{kind=\"requested\"}").await, Some(33.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_somebodys_is_drawn_again_for_that_request_alone() {
    let foreseen = Arc::new(Mutex::new(VecDeque::<[u8; 10]>::new()));
    let (source, system) = (Arc::clone(&foreseen), Random::system());
    // Ten bytes are drawn for ids.
    let random = Random::from_fn(move |bytes| {
        let next = if bytes.len() == 10 { source.lock().unwrap().pop_front() } else { None };
        match next {
            Some(next) => bytes.copy_from_slice(&next),
            None => bytes.copy_from_slice(&system.bytes::<256>()[..bytes.len()]),
        }
    });
    let parts = App::parts(database::database().await, "https://auth.acme.example");
    let app = App::of(Parts { random, ..parts }).await;
    app.apply(ACME).await;
    let keyring = &app.installation.keyring;
    let taken = UserCode::draw(keyring, GrantId::new(app.installation.clock.now(), &[1; 10]), Length::Eight);
    let somebody = Device::ask(&app, "read").await;
    sqlx::query("UPDATE device_grant SET user_code_mac = $1")
        .bind(taken.mac(keyring))
        .execute(&app.installation.pool)
        .await
        .unwrap();

    let held = Held::by(&app, NEW_GRANTS).await;
    let first = begin(&held, 1, Device::ask(&app, "read")).await;
    let second = begin(&held, 2, Device::ask(&app, "read")).await;
    let act = async {
        foreseen.lock().unwrap().extend([[1; 10], [2; 10]]);
        let meanwhile = join_all((0..8).map(|_| Device::ask(&app, "read")));
        let release = async {
            tokio::time::sleep(A_WHILE).await;
            held.release().await;
        };
        join(meanwhile, release).await.0
    };
    let ((first, second), mut devices) = join(join(first, second), act).await;
    devices.extend([first, second]);
    assert!(foreseen.lock().unwrap().is_empty());
    let codes: HashSet<&str> = devices.iter().map(|device| &*device.user_code).collect();
    assert_eq!((codes.len(), codes.contains(&*taken.to_string())), (10, false));
    for device in devices.iter().chain([&somebody]) {
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
    assert_eq!((count(&app, GRANTS).await, count(&app, UNEVEN).await), (11, 0));
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_nobody_with_it() {
    let app = App::acme().await;
    ask(&app).await;
    let held = Held::by(&app, NEW_GRANTS).await;
    let under_way = (begin(&held, 1, ask(&app)).await, begin(&held, 2, ask(&app)).await);
    let mut hangs_up = Box::pin(ask(&app));
    let mut stays = Box::pin(ask(&app));
    tokio::select! {
        _ = &mut hangs_up => panic!("it should wait"),
        _ = &mut stays => panic!("it should wait"),
        () = tokio::time::sleep(A_WHILE) => {}
    }
    // One pair while its statements are under way, one request while it waits for them.
    drop((under_way, hangs_up));
    let (stays, ()) = join(stays, held.release()).await;
    assert_eq!(stays.status, StatusCode::OK, "{}", stays.body);
    // Nobody is told when the statements of those who have hung up are through.
    while count(&app, GRANTS).await < 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((count(&app, GRANTS).await, count(&app, UNEVEN).await), (4, 0));
    assert_eq!(ask(&app).await.status, StatusCode::OK);
}

#[tokio::test]
async fn when_the_database_goes_away_in_the_middle_each_is_told_so() {
    let app = App::acme().await;
    ask(&app).await;
    let held = Held::by(&app, NEW_GRANTS).await;
    let under_way = [begin(&held, 1, ask(&app)).await, begin(&held, 2, ask(&app)).await];
    let cut = async {
        tokio::time::sleep(A_WHILE).await;
        // Those under way, and then those who waited for them.
        held.cut().await;
        held.until_waiting(1).await;
        held.cut().await;
    };
    let waiting = join_all((0..12).map(|_| ask(&app)));
    let ((mut answers, waited), ()) = join(join(join_all(under_way), waiting), cut).await;
    answers.extend(waited);
    for answer in &answers {
        is_refused(answer, 503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    held.release().await;
    assert_eq!((count(&app, GRANTS).await, count(&app, UNEVEN).await), (1, 0));
    assert_eq!(ask(&app).await.status, StatusCode::OK);
}

#[tokio::test]
async fn when_the_database_does_not_answer_each_is_told_so_in_time() {
    let app = App::acme().await;
    ask(&app).await;
    let held = Held::by(&app, NEW_GRANTS).await;
    let start = Instant::now();
    let answers = join_all((0..12).map(|_| ask(&app))).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for answer in &answers {
        is_refused(answer, 503, "temporarily_unavailable");
    }
    held.release().await;
    assert_eq!(ask(&app).await.status, StatusCode::OK);
    assert_eq!(count(&app, UNEVEN).await, 0);
}

#[tokio::test]
async fn a_service_that_is_deleted_meanwhile_spoils_no_other_request() {
    let app = App::acme().await;
    ask(&app).await;
    app.until_known("acme-agent").await;
    let mut held = Held::by(&app, NEW_GRANTS).await;
    let under_way = [begin(&held, 1, ask(&app)).await, begin(&held, 2, ask(&app)).await];
    let delete = async {
        tokio::time::sleep(A_WHILE).await;
        held.execute("DELETE FROM service WHERE client_id = 'acme-agent'").await;
        held.release().await;
    };
    let waiting = join(join_all((0..6).map(|_| ask(&app))), join_all((0..2).map(|_| ask_as_agent(&app))));
    let ((mut answers, (waited, of_agents)), ()) = join(join(join_all(under_way), waiting), delete).await;
    answers.extend(waited);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:#?}");
    assert!(of_agents.iter().all(|answer| answer.status == StatusCode::INTERNAL_SERVER_ERROR), "{of_agents:#?}");
    assert_eq!((count(&app, GRANTS).await, count(&app, UNEVEN).await), (9, 0));
}
