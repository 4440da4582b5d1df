//! Tries whose times disagree: requests that overtake each other, nodes whose clocks differ, a clock that is set back.

use chrono::TimeDelta;
use countersign::attempts::{self, Reservation, Subject, Try};
use countersign::clock::Clock;
use countersign::installation::{Installation, Parts};

use crate::support::App;

const SUBJECT: Subject<'_> = Subject::KnownBrowser([7; 16]);

/// A node whose clock is so many seconds ahead.
fn node(app: &App, seconds: i64) -> Installation {
    let clock = Clock::manual(app.installation.clock.now() + TimeDelta::seconds(seconds));
    Installation::from(Parts { clock, ..App::parts(app.installation.pool.clone(), app.issuer()) })
}

/// A try, or for how many seconds there is none.
async fn reserve(node: &Installation) -> Result<Try, u64> {
    match attempts::reserve(node, &[SUBJECT]).await.unwrap() {
        Reservation::Granted(attempt) => Ok(attempt),
        Reservation::Closed(delay) => Err(delay.seconds),
    }
}

async fn was_right(node: &Installation, attempt: Try) {
    attempt.was_right(&mut node.pool.acquire().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn right_tries_that_overtake_each_other_are_all_taken() {
    let app = App::acme().await;
    let (ahead, behind) = (node(&app, 1), node(&app, 0));
    let first = reserve(&ahead).await.expect("the first");
    let second = reserve(&behind).await.expect("one that read the clock before");
    was_right(&ahead, first).await;
    was_right(&behind, second).await;
    let third = reserve(&behind).await.expect("nothing was wrong");
    was_right(&behind, third).await;

    // Nor after a delay that is over.
    for _ in 0..5 {
        let _wrong = reserve(&ahead).await.expect("one of five");
    }
    assert_eq!((reserve(&ahead).await.err(), reserve(&behind).await.err()), (Some(1), Some(2)));
    ahead.clock.advance(TimeDelta::seconds(1));
    let right = reserve(&ahead).await.expect("its time has come");
    was_right(&ahead, right).await;
    assert!(reserve(&behind).await.is_ok(), "it was right");
}

#[tokio::test]
async fn nodes_whose_clocks_differ_forget_nothing_twice() {
    let app = App::acme().await;
    let (ahead, behind) = (node(&app, 600), node(&app, 0));
    for node in [&behind, &ahead, &behind, &ahead, &behind] {
        let _wrong = reserve(node).await.expect("one of five");
    }
    let level: f64 = sqlx::query_scalar("SELECT level FROM attempt").fetch_one(&app.installation.pool).await.unwrap();
    assert!((4.8..5.0).contains(&level), "ten minutes take away a sixth, once: {level}");
    assert!(reserve(&ahead).await.is_ok(), "the delay of a second is over there");
    assert_eq!(reserve(&behind).await.err(), Some(602), "it began there");
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_delay_longer_than_the_longest() {
    let app = App::acme().await;
    let node = node(&app, 0);
    let _wrong = reserve(&node).await.expect("the first");
    node.clock.advance(TimeDelta::hours(-1));
    let _wrong = reserve(&node).await.expect("there was no delay");
    let mut longest = 0;
    while longest < 900 {
        if let Err(seconds) = reserve(&node).await {
            longest = seconds;
            node.clock.advance(TimeDelta::seconds(i64::try_from(seconds).unwrap()));
        }
    }
    let _wrong = reserve(&node).await.expect("its time has come");
    node.clock.advance(TimeDelta::seconds(-60));
    assert_eq!(reserve(&node).await.err(), Some(960), "so much clocks may differ");
    node.clock.advance(TimeDelta::hours(-10));
    let _wrong = reserve(&node).await.expect("no delay lasts for hours");
    assert_eq!(reserve(&node).await.err(), Some(900));
    // It is forgotten once the time is there again.
    node.clock.advance(TimeDelta::hours(40));
    // What somebody still holds is left for the next time.
    let mut swept = 0;
    for _ in 0..100 {
        swept += attempts::sweep(&mut node.pool.acquire().await.unwrap(), node.clock.now(), 500).await.unwrap();
        if swept == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it is remembered for ever");
}
