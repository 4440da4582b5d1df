//! Random sequences of refreshes, lost answers, parallel refreshes, revocations and passing time, against a model of a
//! dozen lines. What must never happen: two live successors, a session that lives on after reuse, and a client that is
//! signed out because an answer was lost.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{app, log_in, refresh};
use crate::support::App;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The client refreshes with the token that is this many generations old.
    Refresh { age: usize },
    /// Several processes of the client refresh at once with the newest token.
    Together,
    /// The client refreshes, and the answer is lost on the way.
    Lose,
    /// Seconds pass.
    Wait(i64),
    /// The client gives its newest token back.
    Revoke,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => (0_usize..4).prop_map(|age| Act::Refresh { age: age.saturating_sub(1) }),
        2 => Just(Act::Together),
        3 => Just(Act::Lose),
        3 => prop_oneof![Just(1_i64), Just(29), Just(30), Just(31), Just(3600), Just(31 * 86_400)].prop_map(Act::Wait),
        1 => Just(Act::Revoke),
    ];
    prop::collection::vec(act, 1..14)
}

/// What the session should be.
struct Model {
    /// Tokens by generation, as far as the client has seen them.
    seen: Vec<Option<String>>,
    rotated: i64,
    now: i64,
    used: i64,
    over: bool,
}

impl Model {
    fn current(&self) -> usize {
        self.seen.len() - 1
    }

    /// Whether a refresh with this generation must succeed; notes what it does.
    fn expect(&mut self, generation: usize) -> bool {
        self.over |= self.now - self.used >= 30 * 86_400;
        if self.over {
            return false;
        }
        if generation == self.current() {
            self.seen.push(None);
            (self.rotated, self.used) = (self.now, self.now);
            return true;
        }
        if generation + 1 == self.current() && self.now - self.rotated <= 30 {
            return true;
        }
        self.over = true;
        false
    }
}

async fn play(app: &App, acts: Vec<Act>) {
    let first = log_in(app, "read offline_access").await.text("refresh_token");
    let mut model = Model { seen: vec![Some(first)], rotated: i64::MIN / 2, now: 0, used: 0, over: false };
    for act in acts {
        let newest_seen = model.seen.iter().rposition(Option::is_some).unwrap();
        match act {
            Act::Wait(seconds) => {
                app.advance(seconds);
                model.now += seconds;
            }
            Act::Revoke => {
                let token = model.seen[newest_seen].clone().unwrap();
                app.post("/auth/revoke", &[("token", &token), ("client_id", "acme-cli")]).await;
                model.over = true;
            }
            Act::Refresh { age } => {
                let generation = newest_seen.saturating_sub(age);
                let Some(token) = model.seen[generation].clone() else { continue };
                let expected = model.expect(generation);
                let answer = refresh(app, &token).await;
                assert_eq!(answer.status == 200, expected, "{act:?}: {}", answer.body);
                if expected {
                    keep(&mut model, &answer.text("refresh_token"));
                }
            }
            Act::Lose => {
                let token = model.seen[newest_seen].clone().unwrap();
                let expected = model.expect(newest_seen);
                assert_eq!(refresh(app, &token).await.status == 200, expected);
            }
            Act::Together => {
                let token = model.seen[newest_seen].clone().unwrap();
                let expected = model.expect(newest_seen);
                let answers = futures_util::future::join_all((0..4).map(|_| refresh(app, &token))).await;
                for answer in answers {
                    assert_eq!(answer.status == 200, expected, "{}", answer.body);
                    if expected {
                        keep(&mut model, &answer.text("refresh_token"));
                    }
                }
            }
        }
    }
}

/// Notes the successor. There is only ever one.
fn keep(model: &mut Model, token: &str) {
    let newest = model.seen.last_mut().unwrap();
    assert!(newest.as_deref().is_none_or(|known| known == token), "two successors are alive");
    *newest = Some(token.to_owned());
}

#[test]
fn sessions_do_as_the_model_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let app = runtime.block_on(app());
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    runner
        .run(&acts(), |acts| {
            runtime.block_on(play(&app, acts));
            Ok(())
        })
        .unwrap();
    drop(app);
}
