//! What may never happen.

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::support::App;
use crate::support::app::Answer;

use super::action::{Action, PEOPLE};
use super::world::{Login, Shown, World};

/// What the database says of a login.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Stored {
    pub state: String,
    pub expires_at: DateTime<Utc>,
    pub decided_at: Option<DateTime<Utc>>,
    /// As whom the device acts.
    pub user: Option<String>,
    /// Whose second factor was proven for it.
    pub proven: Option<String>,
    /// Who is signed in to the browser that entered its code. That changes without the login.
    pub signed_in: Option<String>,
}

impl Stored {
    pub async fn of(app: &App, id: Uuid) -> Self {
        sqlx::query_as(
            r#"SELECT g.state, g.expires_at, g.decided_at, u.email AS "user", m.email AS proven, s.email AS signed_in
               FROM device_grant g
               LEFT JOIN app_user u ON u.id = g.user_id
               LEFT JOIN app_user m ON m.id = g.mfa_user_id
               LEFT JOIN browser_sign_in b ON b.browser_session_id = g.claimed_by
               LEFT JOIN app_user s ON s.id = b.user_id
               WHERE g.id = $1"#,
        )
        .bind(id)
        .fetch_one(&app.installation.pool)
        .await
        .unwrap()
    }
}

/// What an action was rightly able to change.
pub enum Decided {
    Nothing,
    /// The code of a device was entered.
    Claim {
        device: usize,
        by: usize,
    },
    /// What the authenticators show was typed.
    Proof {
        by: usize,
        code: String,
    },
    /// A decision was sent from a page.
    Decision {
        by: usize,
        approve: bool,
        deny: bool,
        from: Box<Shown>,
    },
    /// A poll got tokens, in the name of this address.
    Tokens {
        device: usize,
        user: String,
    },
}

impl World<'_> {
    /// Holds what the database says now against what it said before, and against what the action could rightly do.
    pub async fn check(&mut self, action: &Action, decided: Decided) {
        for device in 0..self.logins.len() {
            let now = Stored::of(&self.house.app, self.logins[device].id).await;
            let before = self.logins[device].stored.clone();
            if before.state == now.state {
                let decision = |stored: &Stored| (stored.user.clone(), stored.decided_at, stored.expires_at);
                assert_eq!(decision(&before), decision(&now), "changed by {action:?}");
            } else {
                self.check_step(device, (&before, &now), action, &decided);
            }
            if before.proven != now.proven {
                self.check_proof(device, &now, action, &decided);
            }
            let login = &mut self.logins[device];
            if let Some(signed_in) = &now.signed_in {
                let by = login.claimed_by.unwrap();
                let rightly = self.jars[by].signed_in.map(|person| PEOPLE[person].email);
                assert_eq!(Some(signed_in.as_str()), rightly, "signed in by {action:?}");
            }
            assert_eq!(login.tokens, usize::from(now.state == "redeemed"), "after {action:?}");
            login.stored = now;
        }
    }

    fn check_step(&mut self, device: usize, (before, now): (&Stored, &Stored), action: &Action, decided: &Decided) {
        let in_time = self.now() < self.logins[device].expires_at;
        let claimed_by = self.logins[device].claimed_by;
        match (before.state.as_str(), now.state.as_str(), decided) {
            ("pending", "claimed", Decided::Claim { device: entered, by }) => {
                assert!(in_time && *entered == device && claimed_by.is_none(), "claimed by {action:?}");
                self.logins[device].claimed_by = Some(*by);
            }
            ("claimed", "approved", Decided::Decision { by, approve: true, from, .. }) => {
                assert!(in_time && claimed_by == Some(*by), "approved by a browser that didn't enter the code in time");
                let person = self.jars[*by].signed_in.expect("approved by nobody");
                assert_eq!(now.user.as_deref(), Some(PEOPLE[person].email), "approved as somebody else");
                let proven = now.proven.as_deref() == Some(PEOPLE[person].email);
                assert!(proven || !PEOPLE[person].has_authenticator, "approved without a second factor");
                assert_eq!(from.about, (Some(device), Some(person)), "approved by a page about something else");
                if from.page.path == "/activate/confirm" && from.page.status == StatusCode::OK {
                    let text = from.page.text();
                    let code = &self.logins[device].device.user_code;
                    assert!(text.contains(code) && text.contains(PEOPLE[person].email), "approved unseen: {text}");
                }
                let at_least = self.now() + TimeDelta::seconds(15);
                assert_eq!(now.expires_at, before.expires_at.max(at_least), "and the device has time to come");
            }
            ("claimed", "denied", Decided::Decision { by, deny: true, from, .. }) => {
                assert!(in_time && claimed_by == Some(*by), "denied by {action:?}");
                assert_eq!(from.about.0, Some(device), "denied by a page about something else");
            }
            ("approved", "redeemed", Decided::Tokens { device: polled, user }) => {
                assert_eq!((*polled, Some(user.as_str())), (device, before.user.as_deref()), "somebody else's tokens");
                assert!(self.now() < before.expires_at, "redeemed too late");
            }
            (was, is, _) => panic!("from {was} to {is} by {action:?}"),
        }
    }

    /// A second factor is proven by who has it, in the browser that entered the code, with a code that was never used.
    fn check_proof(&mut self, device: usize, now: &Stored, action: &Action, decided: &Decided) {
        let Decided::Proof { by, code } = decided else { panic!("proven by {action:?}") };
        let login = &self.logins[device];
        let person = self.jars[*by].signed_in.expect("proven by nobody");
        assert_eq!(now.proven.as_deref(), Some(PEOPLE[person].email), "proven for somebody else");
        assert!(PEOPLE[person].has_authenticator && login.claimed_by == Some(*by), "proven by {action:?}");
        assert!(login.stored.state == "claimed" && self.jars[*by].about == Some(device), "proven by {action:?}");
        assert!(self.spent.insert((person, code.clone())), "proven by a code that was used before");
    }

    /// Polls, and checks the answer against what is stored.
    pub async fn poll(&mut self, device: usize) -> Decided {
        let (login, now) = (&self.logins[device], self.now());
        let mut answer = login.device.poll().await;
        // A server that is too busy for its database says that nothing is decided yet.
        while answer.error() == "authorization_pending" && !expected(login, now).contains(&"authorization_pending") {
            answer = login.device.poll().await;
        }
        assert!(expected(login, now).contains(&answer.error().as_str()), "{:?}: {}", login.stored, answer.body);
        if answer.status != StatusCode::OK {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
            return Decided::Nothing;
        }
        self.logins[device].tokens += 1;
        Decided::Tokens { device, user: in_the_name_of(&answer) }
    }
}

/// What a poll may be told. The empty error is none.
fn expected(login: &Login<'_>, now: DateTime<Utc>) -> &'static [&'static str] {
    let stored = &login.stored;
    let (late, forgotten) = (now >= stored.expires_at, now - stored.expires_at >= TimeDelta::hours(1));
    match stored.state.as_str() {
        "redeemed" => &["invalid_grant"],
        _ if forgotten => &["invalid_grant"],
        "denied" => &["access_denied"],
        _ if late => &["expired_token"],
        "approved" => &[""],
        _ => &["authorization_pending", "slow_down"],
    }
}

fn in_the_name_of(answer: &Answer) -> String {
    answer.claims("access_token")["email"].as_str().unwrap().to_owned()
}
