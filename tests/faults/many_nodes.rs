//! Four servers need nothing but one database to be one.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;

use super::crew::ACCOUNTS;
use super::device::{CLIENT, Device};
use super::ledger::{Told, Wish};
use super::person::{Errand, Person};
use super::scene::Scene;

/// How soon a held poll hears of a decision at another server. It takes milliseconds; a machine under load is granted more.
pub const HEARD_WITHIN: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_at_one_approved_at_another_polled_at_a_third_revoked_at_a_fourth() {
    let scene = Scene::of(4).await;
    each_step_at_another(&scene, HEARD_WITHIN).await;
    scene.close("asked, approved, polled and revoked at four").await;
}

/// A login, step by step, each at the next server; its held poll is to hear of the decision within this time.
pub async fn each_step_at_another(scene: &Scene, heard_within: Duration) {
    let (wire, ledger, nodes) = (scene.wire(), &scene.ledger, scene.nodes.len());
    let mut device = Device { wire: wire.to(0), ledger: ledger.clone(), holds: false };
    let (email, password) = ACCOUNTS[0];
    let mut person = Person::new(wire.to(1), ledger, &scene.origin, email, password);

    let codes = device.ask(Wish::Approve).await;
    device.wire = wire.to(2 % nodes);
    assert_eq!(device.poll(&codes).await, Told::Pending);
    device.holds = true;
    let errand = Errand { login: codes.login, user_code: codes.user_code.clone(), wish: Wish::Approve };
    let (told, decided) = tokio::join!(device.poll(&codes), async {
        person.decide(&errand).await;
        Instant::now()
    });
    let heard_after = decided.elapsed();
    let Told::Tokens(refresh_token) = told else { panic!("{told:?}") };
    assert!(heard_after < heard_within, "heard {heard_after:?} after the decision");

    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str()), ("client_id", CLIENT)];
    let refreshed = wire.to(3 % nodes).post("/auth/token", &form).await.answer.unwrap();
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.body);
    let (access_token, refresh_token) = (refreshed.text("access_token"), refreshed.text("refresh_token"));
    let form = [("token", refresh_token.as_str()), ("client_id", CLIENT)];
    let revoked = wire.to(3 % nodes).post("/auth/revoke", &form).await.answer.unwrap();
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);

    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str()), ("client_id", CLIENT)];
    for node in 0..nodes {
        let mut wire = wire.to(node);
        let refused = wire.post("/auth/token", &form).await.answer.unwrap();
        assert_eq!((refused.status, refused.text("error").as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
        let bearer = format!("Bearer {access_token}");
        let userinfo = wire.other("/auth/userinfo", |client, url| client.get(url).header(AUTHORIZATION, &bearer)).await;
        assert!(
            userinfo.answer.unwrap().status.is_client_error(),
            "server {node} still takes a token of an ended session"
        );
    }
    let mut published = Vec::new();
    for node in 0..nodes {
        let asked = wire.to(node).other("/.well-known/jwks.json", reqwest::Client::get).await;
        published.push(asked.answer.unwrap().body);
    }
    assert!(published[0].contains("\"kid\"") && published.iter().all(|keys| *keys == published[0]), "{published:?}");
}

/// The crew goes from one to the next with every request, in the midst of a page's forms too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_request_may_go_to_any_of_four() {
    let scene = Scene::of(4).await;
    let crew = scene.crew().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    crew.end().await;
    let counts = scene.ledger.counts();
    assert_eq!((counts.polls_lost, counts.others_lost), (0, 0), "{counts:?}");
    // Where the machine stands still for seconds, somebody waits too long for a connection.
    assert!(counts.unavailable < 5, "{counts:?}");
    scene.close("four servers").await;
}
