//! The primary is lost while a COMMIT waits for its standby, which has it all the same. The server that waited hears of an error,
//! though it was done.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::crew::ACCOUNTS;
use super::device::{Codes, Device};
use super::ledger::{Told, Wish};
use super::person::{Errand, Person};
use super::scene::Scene;

/// Devices whose tokens were on the way get them afterwards, from whichever server they ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_lost_with_redemptions_in_doubt() {
    let mut scene = Scene::of(2).await;
    let standby = scene.postgres.standby().await;
    let approved = approved(&scene, 6).await;

    scene.ledger.database_breaks();
    let receiver = standby.hold_back().await;
    let polling: Vec<_> = approved
        .into_iter()
        .map(|(mut device, codes)| tokio::spawn(async move { (device.poll(&codes).await, device, codes) }))
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let deadline = Instant::now() + Duration::from_secs(5);
    while scene.postgres.number(waiting).await < 6 {
        assert!(Instant::now() < deadline, "not all of them wait for the standby");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.postgres.stop(Signal::QUIT);
    kill_process(receiver, Signal::CONT).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    standby.promote().await;
    // For longer than a device's own second poll is told from a thief's.
    tokio::time::sleep(Duration::from_secs(11)).await;
    scene.proxy.turn_to(&standby.socket()).await;
    scene.ledger.database_is_back();
    scene.postgres = standby;

    let redeemed = scene.postgres.number("SELECT count(*) FROM device_grant WHERE state = 'redeemed'").await;
    println!("{redeemed} of 6 redemptions are on the standby");
    for polling in polling {
        let (told, mut device, codes) = polling.await.unwrap();
        if told == Told::Pending {
            device.wait_for(&codes, Duration::from_secs(5)).await;
        }
    }
    scene.close("failed over with redemptions in doubt").await;
}

/// So many devices whose codes are approved, and that haven't polled since.
async fn approved(scene: &Scene, count: usize) -> Vec<(Device, Codes)> {
    let (email, password) = ACCOUNTS[0];
    let mut person = Person::new(scene.wire(), &scene.ledger, &scene.origin, email, password);
    let mut devices = Vec::new();
    for number in 0..count {
        let wire = scene.wire().beginning_at(number);
        let mut device = Device { wire, ledger: scene.ledger.clone(), holds: false };
        let codes = device.ask(Wish::Approve).await;
        person.decide(&Errand { login: codes.login, user_code: codes.user_code.clone(), wish: Wish::Approve }).await;
        devices.push((device, codes));
    }
    devices
}
