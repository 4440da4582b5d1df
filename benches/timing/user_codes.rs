//! User codes that can't be used: nobody's, expired, another browser's, decided.

use chrono::TimeDelta;

use super::scene::{PEOPLE, Scene};
use super::{Class, Table};

/// How many codes of each kind there are at a time.
const CODES: usize = 25;

/// How often each is tried before there are others.
const TIMES: usize = 4;

/// The kinds that must be alike, in the order of a table.
const KINDS: [&str; 4] = ["unknown", "expired", "foreign", "decided"];

/// Codes of every kind, each with the number of its kind; behind them `CODES` that are good.
fn codes(scene: &mut Scene) -> (Vec<(usize, String)>, Vec<String>) {
    // Budgets are full again, and what was there is over.
    scene.pass(TimeDelta::hours(3));
    let expired: Vec<String> = (0..CODES).map(|_| scene.user_code()).collect();
    scene.pass(TimeDelta::seconds(1000));
    let mut codes = Vec::new();
    for (number, expired) in expired.into_iter().enumerate() {
        let (foreign, decided) = (scene.user_code(), scene.user_code());
        scene.claim(&foreign);
        scene.deny(&decided, number % PEOPLE);
        codes.extend([(0, scene.nobodys_code(&foreign)), (1, expired), (2, foreign), (3, decided)]);
    }
    let good = (0..CODES).map(|_| scene.user_code()).collect();
    (codes, good)
}

fn classes() -> Vec<Class> {
    KINDS.into_iter().map(Class::named).collect()
}

/// `POST /auth/device/verify`, as an organization's own page asks.
pub fn verify(scene: &mut Scene, tries: usize) -> Table {
    let (mut alike, mut control) = (classes(), Class::named("good"));
    let mut seen = None;
    // The first round warms up and is not counted.
    for round in 0..=tries.div_ceil(CODES * TIMES) {
        let (codes, good) = codes(scene);
        let mut order: Vec<(usize, String)> = (0..TIMES).flat_map(|_| codes.iter().cloned()).collect();
        order.extend((0..TIMES).flat_map(|_| good.iter().map(|code| (KINDS.len(), code.clone()))));
        scene.shuffle(&mut order);
        for (kind, code) in order {
            let caller = scene.caller();
            let answer = scene.client.post("/auth/device/verify", &caller, &[("user_code", &code)]);
            let class = alike.get_mut(kind);
            if class.is_some() {
                assert_eq!(*seen.get_or_insert(answer.seen()), answer.seen(), "{}", answer.body);
            } else {
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
            if round > 0 {
                class.unwrap_or(&mut control).took(answer.took);
            }
        }
    }
    Table { title: "POST /auth/device/verify", alike, control }
}

/// `POST /activate`, as a person's browser asks.
pub fn activate(scene: &mut Scene, tries: usize) -> Table {
    let (mut alike, mut control) = (classes(), Class::named("good"));
    let mut seen = None;
    for round in 0..=tries.div_ceil(CODES * TIMES) {
        let (codes, good) = codes(scene);
        let mut order: Vec<(usize, String)> = (0..TIMES).flat_map(|_| codes.iter().cloned()).collect();
        order.extend(good.into_iter().map(|code| (KINDS.len(), code)));
        scene.shuffle(&mut order);
        for (kind, code) in order {
            let mut browser = scene.caller();
            browser.open(&mut scene.client, "/activate");
            let answer = browser.submit(&mut scene.client, "/activate", &[("user_code", &code)]);
            let class = alike.get_mut(kind);
            if class.is_some() {
                assert_eq!(*seen.get_or_insert(answer.seen()), answer.seen(), "{}", answer.body);
            } else {
                assert_eq!(answer.status, 303, "{}", answer.body);
            }
            if round > 0 {
                class.unwrap_or(&mut control).took(answer.took);
            }
        }
    }
    Table { title: "POST /activate", alike, control }
}
