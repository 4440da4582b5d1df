//! Accounts: whether somebody has one must not show in how long a wrong password takes.

use chrono::TimeDelta;

use super::scene::{PEOPLE, Scene, address_of, address_of_invited};
use super::{Class, Table};

/// `POST /activate/sign-in` with a password that is nobody's.
pub fn sign_in(scene: &mut Scene, tries: usize) -> Table {
    let mut alike = ["another password", "no account", "no password yet"].map(Class::named);
    let mut control = Class::named("nothing typed");
    let mut seen = None;
    // The first round warms up and is not counted.
    for round in 0..=tries.div_ceil(PEOPLE) {
        // Whoever has to wait after wrong passwords has waited.
        scene.pass(TimeDelta::days(2));
        for person in 0..PEOPLE {
            let code = scene.user_code();
            let mut browser = scene.claim(&code);
            browser.open(&mut scene.client, "/activate/sign-in");
            let nobody = format!("nobody-{:03}@acme.example", scene.below(1000));
            let known = [(0, address_of(person)), (1, nobody.clone()), (2, address_of_invited(person))];
            let mut order: Vec<(usize, String, &str)> =
                known.into_iter().map(|(kind, email)| (kind, email, "a password of nobody")).collect();
            if person % 4 == 0 {
                order.push((3, nobody, ""));
            }
            scene.shuffle(&mut order);
            for (kind, email, password) in order {
                let fields = [("email", &*email), ("password", password)];
                let answer = browser.submit(&mut scene.client, "/activate/sign-in", &fields);
                let class = alike.get_mut(kind);
                if class.is_some() {
                    assert_eq!(*seen.get_or_insert(answer.seen()), answer.seen(), "{}", answer.body);
                }
                if round > 0 {
                    class.unwrap_or(&mut control).took(answer.took);
                }
            }
        }
    }
    Table { title: "POST /activate/sign-in", alike: alike.into(), control }
}
