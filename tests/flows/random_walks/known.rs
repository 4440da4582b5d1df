//! Walks that are walked every time: the honest ones, so that the model is known to let them through, those that other
//! servers once let through, and those that failed here.

use super::action::{ADA, Action, At, BOB, Forgery, GRACE, HENRY, PEOPLE, Way};
use super::runtime;
use super::world::{House, World};

const ONE: At = At { browser: 0, tab: 0 };
const SECOND_TAB: At = At { browser: 0, tab: 1 };
const OTHER: At = At { browser: 1, tab: 0 };

fn go_on(at: At, person: usize, device: usize) -> Action {
    Action::GoOn { at, person, device }
}

/// From the code to the decision.
fn login(at: At, person: usize, device: usize) -> Vec<Action> {
    let steps = if PEOPLE[person].has_authenticator { 4 } else { 3 };
    vec![go_on(at, person, device); steps]
}

fn until_the_decision(at: At, person: usize, device: usize) -> Vec<Action> {
    let mut walk = login(at, person, device);
    walk.pop();
    walk
}

fn deny(at: At) -> Action {
    Action::Decide { at, approve: false, mine: false }
}

fn approve(at: At) -> Action {
    Action::Decide { at, approve: true, mine: true }
}

fn back(at: At) -> Action {
    Action::Back { at, steps: 1 }
}

const fn poll(device: usize) -> Action {
    Action::Poll { device }
}

const EXPIRY: Action = Action::Pass { seconds: 901 };

/// Walks one after the other, and says where both logins stand after each.
fn walk<const N: usize>(walks: [Vec<Action>; N]) -> Vec<[String; 2]> {
    let runtime = runtime();
    runtime.block_on(async {
        let house = House::new().await;
        let mut ends = Vec::new();
        for actions in walks {
            let mut world = World::new(&house).await;
            for action in actions {
                world.act(&action).await;
            }
            ends.push(world.states());
        }
        ends
    })
}

#[test]
fn honest_walks_get_there() {
    let walks = [ADA, BOB, GRACE, HENRY].map(|person| [login(ONE, person, 0), vec![poll(0), poll(1)]].concat());
    assert_eq!(walk(walks), [["redeemed", "pending"]; 4]);
    // Two devices in two tabs, two people in two browsers.
    let two_devices = [
        login(ONE, BOB, 0),
        vec![Action::Open { at: SECOND_TAB, page: 0 }],
        vec![go_on(SECOND_TAB, BOB, 1); 2],
        vec![poll(1), poll(0)],
    ];
    let two_people = [until_the_decision(ONE, ADA, 0), login(OTHER, HENRY, 1), vec![approve(ONE), poll(0), poll(1)]];
    assert_eq!(walk([two_devices.concat(), two_people.concat()]), [["redeemed", "redeemed"]; 2]);
}

#[test]
fn denied_is_denied() {
    let denied = |then: Vec<Action>| [until_the_decision(ONE, ADA, 0), vec![deny(ONE), poll(0)], then].concat();
    let walks = [
        denied(vec![back(ONE), approve(ONE), poll(0)]),
        denied(vec![Action::SignOut { at: ONE }, go_on(ONE, ADA, 0), go_on(ONE, ADA, 0), approve(ONE), poll(0)]),
        denied([Action::Open { at: OTHER, page: 0 }].into_iter().chain(login(OTHER, BOB, 0)).collect()),
    ];
    assert_eq!(walk(walks), [["denied", "pending"]; 3]);
}

#[test]
fn an_expired_code_is_approved_at_no_step() {
    for person in [ADA, GRACE] {
        let steps = login(ONE, person, 0);
        let walks = [0, 1, 2, 3].map(|at| {
            let mut walk = steps.clone();
            walk.insert(at, EXPIRY);
            [walk, vec![go_on(ONE, person, 0), poll(0)]].concat()
        });
        let ends = walk(walks);
        assert_eq!(ends[0][0], "pending");
        assert!(ends[1..].iter().all(|end| end[0] == "claimed"), "{ends:?}");
    }
    let late = [login(ONE, BOB, 0), vec![EXPIRY, poll(0)]].concat();
    assert_eq!(walk([late]), [["approved", "pending"]], "and is redeemed by nobody");
}

#[test]
fn two_tabs_approve_what_each_of_them_shows() {
    // The first tab shows the first device's page; in the second, another code is entered.
    let about_two = [
        until_the_decision(ONE, BOB, 0),
        vec![Action::Open { at: SECOND_TAB, page: 0 }, go_on(SECOND_TAB, BOB, 1)],
        vec![approve(ONE), poll(0), poll(1), back(ONE), deny(ONE)],
    ];
    // The first tab shows Bob's page; in the second, he signs out and Ada signs in.
    let as_two = [
        until_the_decision(ONE, BOB, 0),
        vec![Action::Open { at: SECOND_TAB, page: 3 }, Action::SignOut { at: SECOND_TAB }],
        vec![go_on(SECOND_TAB, ADA, 0), go_on(SECOND_TAB, ADA, 0), approve(ONE), poll(0)],
    ];
    assert_eq!(walk([about_two.concat(), as_two.concat()]), [["claimed", "claimed"], ["claimed", "pending"]]);
}

#[test]
fn a_code_is_its_browsers() {
    let other = [
        until_the_decision(OTHER, BOB, 1),
        until_the_decision(ONE, ADA, 0),
        vec![
            Action::Enter { at: OTHER, device: Some(0) },
            Action::Follow { at: OTHER, device: 0, provider: 0 },
            Action::Open { at: OTHER, page: 3 },
            Action::Forge { at: OTHER, how: Forgery::TokenOfAnotherBrowser },
            Action::Forge { at: ONE, how: Forgery::TokenOfAnotherBrowser },
            Action::Forge { at: ONE, how: Forgery::Get },
            Action::Forge { at: ONE, how: Forgery::NoToken },
            Action::Forge { at: ONE, how: Forgery::FromAnotherSite },
            Action::Forge { at: ONE, how: Forgery::FromAnotherOrigin },
            poll(0),
            poll(1),
        ],
    ];
    assert_eq!(walk([other.concat()]), [["claimed", "claimed"]]);
}

#[test]
fn a_callback_signs_in_the_browser_that_left_and_once() {
    let come_back = |at, ago, to_its_own| Action::Return { at, ago, to_its_own };
    let (enter, leave) = (go_on(ONE, GRACE, 0), Action::Leave { at: ONE, provider: 0 });
    assert!(matches!(PEOPLE[GRACE].way, Way::Provider(0)));
    let walks = [
        // In another browser, which is at signing in as well.
        vec![enter.clone(), leave.clone(), go_on(OTHER, GRACE, 1), come_back(OTHER, 0, true), approve(OTHER)],
        // At another provider's address.
        vec![enter.clone(), leave.clone(), come_back(ONE, 0, false), approve(ONE)],
        // Once more, after a sign-out.
        vec![
            enter.clone(),
            leave.clone(),
            come_back(ONE, 0, true),
            Action::Open { at: ONE, page: 2 },
            Action::SignOut { at: ONE },
            come_back(ONE, 0, true),
            go_on(ONE, GRACE, 0),
        ],
        // About another device than the one that it was begun for.
        vec![enter.clone(), leave.clone(), Action::Enter { at: ONE, device: Some(1) }, come_back(ONE, 0, true)],
        // Too late.
        vec![enter, leave, Action::Pass { seconds: 600 }, come_back(ONE, 0, true)],
    ];
    let ends = walk(walks);
    assert!(ends.iter().flatten().all(|state| state == "claimed" || state == "pending"), "{ends:?}");
}
