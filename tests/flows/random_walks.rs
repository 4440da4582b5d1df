//! Two browsers that do anything in any order: whatever they do, a login is approved only by the browser that entered
//! its code, by who signed in there, with the second factor that the policy asks, by a tick and a decision; once.

use axum::http::StatusCode;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::support::app::{ADA_PASSWORD, BOB_PASSWORD, TOTP_SECRET, with_bob};
use crate::support::{App, Browser, Device, Page};

/// Ada has an authenticator and is asked for it; Bob has none and isn't.
const PEOPLE: [(&str, &str); 2] = [("ada@acme.example", ADA_PASSWORD), ("bob@acme.example", BOB_PASSWORD)];
const ADA: usize = 0;

const PAGES: [&str; 5] = ["/activate", "/activate/sign-in", "/activate/mfa", "/activate/confirm", "/activate/done"];

/// What somebody does. Forms are sent with the token of the page that the browser shows, whatever page that is.
#[derive(Clone, Debug)]
enum Action {
    /// What the page asks for, as Ada or Bob would who wants to get on.
    GoOn {
        browser: usize,
        person: usize,
    },
    Enter {
        browser: usize,
        right: bool,
    },
    SignIn {
        browser: usize,
        person: usize,
        right: bool,
    },
    Prove {
        browser: usize,
        right: bool,
    },
    Decide {
        browser: usize,
        approve: bool,
        mine: bool,
    },
    SignOut {
        browser: usize,
    },
    Open {
        browser: usize,
        page: usize,
    },
    /// Shows an earlier page again, without asking the server: the "back" button.
    Back {
        browser: usize,
        steps: usize,
    },
    Pass {
        seconds: i64,
    },
    Poll,
}

fn action() -> impl Strategy<Value = Action> {
    let (browser, person) = (|| 0..2_usize, || 0..2_usize);
    prop_oneof![
        8 => (browser(), person()).prop_map(|(browser, person)| Action::GoOn { browser, person }),
        1 => (browser(), any::<bool>()).prop_map(|(browser, right)| Action::Enter { browser, right }),
        1 => (browser(), person(), any::<bool>())
            .prop_map(|(browser, person, right)| Action::SignIn { browser, person, right }),
        1 => (browser(), any::<bool>()).prop_map(|(browser, right)| Action::Prove { browser, right }),
        2 => (browser(), any::<bool>(), any::<bool>())
            .prop_map(|(browser, approve, mine)| Action::Decide { browser, approve, mine }),
        1 => browser().prop_map(|browser| Action::SignOut { browser }),
        2 => (browser(), 0..PAGES.len()).prop_map(|(browser, page)| Action::Open { browser, page }),
        2 => (browser(), 1..4_usize).prop_map(|(browser, steps)| Action::Back { browser, steps }),
        1 => prop_oneof![4 => Just(31_i64), 1 => Just(600)].prop_map(|seconds| Action::Pass { seconds }),
        2 => Just(Action::Poll),
    ]
}

/// A browser, the pages that it has shown, and what it has rightly proven by the forms that the server took.
struct Tab<'a> {
    browser: Browser<'a>,
    shown: Vec<Page>,
    signed_in: Option<usize>,
    /// Whether Ada has proven her second factor for this login.
    proven: bool,
}

impl Tab<'_> {
    fn page(&self) -> Page {
        self.shown.last().unwrap().clone()
    }
}

/// What the database says of the login.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
struct Stored {
    state: String,
    email: Option<String>,
    decided_at: Option<chrono::DateTime<chrono::Utc>>,
}

struct World<'a> {
    app: &'a App,
    device: Device<'a>,
    tabs: [Tab<'a>; 2],
    claimed_by: Option<usize>,
    expires_at: chrono::DateTime<chrono::Utc>,
    stored: Stored,
    tokens: usize,
}

impl<'a> World<'a> {
    async fn new(app: &'a App) -> Self {
        let device = Device::ask(app, "read deploy").await;
        let expires_at = app.installation.clock.now() + chrono::TimeDelta::minutes(15);
        let tab = async || {
            let mut browser = Browser::new(app);
            let shown = vec![browser.open("/activate").await];
            Tab { browser, shown, signed_in: None, proven: false }
        };
        let tabs = [tab().await, tab().await];
        let stored = Stored { state: "pending".into(), email: None, decided_at: None };
        Self { app, device, tabs, claimed_by: None, expires_at, stored, tokens: 0 }
    }

    async fn act(&mut self, action: &Action) {
        match *action {
            Action::GoOn { browser, person } => {
                let next = match self.tabs[browser].page().path.as_str() {
                    "/activate/sign-in" => Action::SignIn { browser, person, right: true },
                    "/activate/mfa" => Action::Prove { browser, right: true },
                    "/activate/confirm" => Action::Decide { browser, approve: true, mine: true },
                    _ => Action::Enter { browser, right: true },
                };
                Box::pin(self.act(&next)).await;
            }
            Action::Pass { seconds } => self.app.advance(seconds),
            Action::Back { browser, steps } => {
                let shown = &mut self.tabs[browser].shown;
                shown.truncate(shown.len().saturating_sub(steps).max(1));
            }
            Action::Open { browser, page } => {
                let tab = &mut self.tabs[browser];
                tab.shown.push(tab.browser.open(PAGES[page]).await);
            }
            Action::Poll => {
                let answer = self.device.poll().await;
                assert!(matches!(answer.status, StatusCode::OK | StatusCode::BAD_REQUEST), "{}", answer.status);
                self.tokens += usize::from(answer.status == StatusCode::OK);
            }
            _ => self.send(action).await,
        }
        self.check(action).await;
    }

    /// Sends a form and notes what the server took as right.
    async fn send(&mut self, action: &Action) {
        let right_totp = self.app.totp(TOTP_SECRET);
        let (at, path, fields) = match *action {
            Action::Enter { browser, right } => {
                let code = if right { self.device.user_code.clone() } else { "BCDF-GHJK".to_owned() };
                (browser, "/activate", vec![("user_code", code)])
            }
            Action::SignIn { browser, person, right } => {
                let (email, password) = PEOPLE[person];
                let password = if right { password } else { "wrong" };
                (browser, "/activate/sign-in", vec![("email", email.to_owned()), ("password", password.to_owned())])
            }
            Action::Prove { browser, right } => {
                (browser, "/activate/mfa", vec![("code", if right { right_totp } else { "000000".to_owned() })])
            }
            Action::Decide { browser, approve, mine } => {
                let decision = if approve { "approve" } else { "deny" };
                let mut fields = vec![("scope", "read".to_owned()), ("decision", decision.to_owned())];
                fields.extend(mine.then(|| ("mine", "yes".to_owned())));
                (browser, "/activate/confirm", fields)
            }
            Action::SignOut { browser } => (browser, "/activate/sign-out", vec![]),
            _ => unreachable!("not a form"),
        };
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let tab = &mut self.tabs[at];
        let cookie = tab.browser.cookie.clone();
        let sent_from = tab.page();
        let page = tab.browser.submit(&sent_from, path, &fields).await;
        assert!(!page.status.is_server_error(), "{}", page.text());
        match *action {
            Action::Enter { right: true, .. } if page.path != "/activate" => {
                assert!(self.claimed_by.is_none_or(|by| by == at), "two browsers own one code");
                self.claimed_by = Some(at);
            }
            // A sign-in gives the session another cookie, and nothing else here does.
            Action::SignIn { person, right: true, .. } if tab.browser.cookie != cookie => {
                tab.signed_in = Some(person);
            }
            Action::Prove { right: true, .. } if page.path == "/activate/confirm" => {
                tab.proven |= tab.signed_in == Some(ADA);
            }
            Action::SignOut { .. } if page.path == "/activate/sign-in" => tab.signed_in = None,
            _ => {}
        }
        tab.shown.push(page);
    }

    /// What may never happen has not happened.
    async fn check(&mut self, action: &Action) {
        let now = self.stored().await;
        let (before, claimer) = (&self.stored, self.claimed_by);
        let in_time = self.app.installation.clock.now() < self.expires_at;
        match (before.state.as_str(), now.state.as_str()) {
            (was, is) if was == is => assert_eq!(*before, now, "a decision was changed by {action:?}"),
            ("pending", "claimed") => assert!(in_time && claimer.is_some(), "claimed by {action:?}"),
            ("claimed", "approved") => {
                let Action::Decide { browser, approve: true, mine: true } = *action else {
                    panic!("approved by {action:?}");
                };
                let tab = &self.tabs[browser];
                assert!(
                    in_time && claimer == Some(browser),
                    "approved by a browser that didn't enter the code in time"
                );
                let person = tab.signed_in.expect("approved by nobody");
                assert_eq!(now.email.as_deref(), Some(PEOPLE[person].0), "approved as somebody else");
                assert!(person != ADA || tab.proven, "approved without a second factor");
            }
            ("claimed", "denied") => {
                let Action::Decide { browser, approve: false, .. } = *action else { panic!("denied by {action:?}") };
                assert!(in_time && claimer == Some(browser));
            }
            ("approved", "redeemed") => assert!(matches!(action, Action::Poll) && self.tokens == 1),
            (was, is) => panic!("from {was} to {is} by {action:?}"),
        }
        assert_eq!(self.tokens, usize::from(now.state == "redeemed"), "after {action:?}");
        self.stored = now;
    }

    async fn stored(&self) -> Stored {
        sqlx::query_as(
            "SELECT g.state, u.email, g.decided_at FROM device_grant g LEFT JOIN app_user u ON u.id = g.user_id
             ORDER BY g.created_at DESC, g.id DESC LIMIT 1",
        )
        .fetch_one(&self.app.installation.pool)
        .await
        .unwrap()
    }
}

#[test]
fn whatever_two_browsers_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(async {
        let app = App::with(&with_bob().replace("mfa = \"off\"", "mfa = \"if_enrolled\"")).await;
        app.enrol(PEOPLE[ADA].0).await;
        app
    });
    let mut ends = std::collections::HashMap::<String, usize>::new();
    let walk = vec(action(), 4..28);
    let config = Config { cases: 48, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let ends_of = std::cell::RefCell::new(&mut ends);
    TestRunner::new(config)
        .run(&walk, |actions| {
            let end = runtime.block_on(async {
                // The codes of the last walk are used or not: this one's are of another moment.
                app.advance(61);
                let mut world = World::new(&app).await;
                for action in &actions {
                    world.act(action).await;
                }
                world.stored.state
            });
            *ends_of.borrow_mut().entry(end).or_default() += 1;
            Ok(())
        })
        .unwrap();
    // The walks do get somewhere.
    assert!(ends.contains_key("claimed") && ends.len() >= 3, "{ends:?}");
    assert!(ends.contains_key("approved") || ends.contains_key("redeemed"), "{ends:?}");
}
