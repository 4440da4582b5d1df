//! State: once, in the browser that left, for the provider that it left for, in time.

use std::slice;

use chrono::TimeDelta;
use countersign::ids::BrowserSessionId;
use countersign::secrets::{InstallationSecret, Random};
use countersign::upstream::round_trip;
use sqlx::Row as _;

use crate::house::{House, Settings, house, installation, random_uuid};

async fn elsewhere(house: &House, state: &str) -> bool {
    let other = BrowserSessionId(random_uuid());
    house.add_browser(other).await;
    let mut conn = house.installation.pool.acquire().await.unwrap();
    round_trip::finish(&mut conn, &house.installation, other, "sso", state).await.unwrap().is_some()
}

#[tokio::test]
async fn a_state_counts_once_here_and_for_its_provider() {
    let house = house().await;
    let sso = house.add_provider(&Settings::sso("http://127.0.0.1:9")).await;
    let other = Settings { slug: "other", ..Settings::sso("http://127.0.0.1:9") };
    house.add_provider(&other).await;
    let trip = house.start(&sso).await;
    assert_eq!(trip.state().len(), 43);

    assert!(!elsewhere(&house, trip.state()).await, "the state of another browser");
    assert!(house.finish("other", trip.state()).await.is_none(), "the state of another provider");
    assert!(house.finish("sso", "").await.is_none() && house.finish("sso", "AAAA").await.is_none());
    let finished = house.finish("sso", trip.state()).await.expect("a wrong try spends nothing");
    assert_eq!((finished.provider_id, finished.grant_id), (sso.id, None));
    assert_eq!(finished.round_trip.state(), trip.state());
    assert!(house.finish("sso", trip.state()).await.is_none(), "a callback counts once");
}

#[tokio::test]
async fn of_many_callbacks_at_once_one_counts() {
    let house = house().await;
    let sso = house.add_provider(&Settings::sso("http://127.0.0.1:9")).await;
    let trip = house.start(&sso).await;
    let finished = futures_util::future::join_all((0..5).map(|_| house.finish("sso", trip.state()))).await;
    assert_eq!(finished.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_state_lasts_ten_minutes_and_is_swept_after_them() {
    let house = house().await;
    let sso = house.add_provider(&Settings::sso("http://127.0.0.1:9")).await;
    let (early, late) = (house.start(&sso).await, house.start(&sso).await);
    house.advance(TimeDelta::seconds(599));
    assert!(house.finish("sso", early.state()).await.is_some());
    house.advance(TimeDelta::seconds(1));
    assert!(house.finish("sso", late.state()).await.is_none());
    let mut conn = house.installation.pool.acquire().await.unwrap();
    assert_eq!(round_trip::sweep(&mut conn, house.installation.clock.now(), 500).await.unwrap(), 2);
}

#[tokio::test]
async fn the_installation_secret_may_be_rotated_on_the_way() {
    let house = house().await;
    let github = Settings { slug: "github", kind: "github", ..Settings::sso("https://github.com") };
    let github = house.add_provider(&github).await;
    let secret = || InstallationSecret::generate(&Random::system());
    let (old, new) = (secret(), secret());
    let with = |secrets: &[InstallationSecret]| {
        installation(house.installation.pool.clone(), secrets, house.installation.clock.clone())
    };
    let (before, during, after) = (with(slice::from_ref(&old)), with(&[new.clone(), old]), with(&[new]));
    let mut conn = house.installation.pool.acquire().await.unwrap();

    let trip = round_trip::start(&mut conn, &before, house.browser, &github, None).await.unwrap();
    let gone = round_trip::finish(&mut conn, &after, house.browser, "github", trip.state()).await.unwrap();
    assert!(gone.is_none(), "the secret that it began with is no longer listed");
    let found = round_trip::finish(&mut conn, &during, house.browser, "github", trip.state()).await.unwrap();
    // The URL holds the challenge, and so shows whether the verifier is the same.
    let url = async |trip| house.upstream.authorization_url(&before, &github, trip).await.unwrap();
    assert_eq!(url(&found.unwrap().round_trip).await, url(&trip).await);
}

#[tokio::test]
async fn the_database_holds_nothing_that_could_be_replayed() {
    let house = house().await;
    let sso = house.add_provider(&Settings::sso("http://127.0.0.1:9")).await;
    let trip = house.start(&sso).await;
    let row = sqlx::query("SELECT state_mac, upstream_sign_in::text AS everything FROM upstream_sign_in")
        .fetch_one(&house.installation.pool)
        .await
        .unwrap();
    assert_eq!(row.get::<Vec<u8>, _>("state_mac").len(), 32);
    assert!(!row.get::<String, _>("everything").contains(trip.state()));
    assert!(!format!("{trip:?}").contains(trip.state()));
}
