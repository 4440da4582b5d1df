//! What everybody was told, and what of it may not be.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use sqlx::Row as _;
use uuid::Uuid;

use super::postgres::{DATABASE, Postgres};
use super::wire::Exchange;

/// How often devices poll.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How much later than within one interval a device may hear of a decision, on a machine that does other things as well.
const GRACE: Duration = Duration::from_secs(4);

/// How long a poll that isn't held may take, whatever is broken.
const POLL_WITHIN: Duration = Duration::from_secs(8);

/// How soon anything else is answered, if only to say that it can't be.
const OTHERS_WITHIN: Duration = Duration::from_secs(8);

/// After how long servers know that the database is away, …
const KNOWN_AFTER: Duration = Duration::from_secs(3);

/// … and say so at once: within this.
const ONCE_KNOWN_WITHIN: Duration = Duration::from_secs(4);

/// What a person means to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Approve,
    Deny,
    /// Nobody ever types this code.
    Nothing,
}

/// What a device knows after a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Poll again after an interval.
    Pending,
    /// Ask another server: this one was killed meanwhile.
    Lost,
    /// The login succeeded; the refresh token.
    Tokens(String),
    /// It is over otherwise.
    Over,
}

/// Which login, in the ledger.
pub type LoginNumber = usize;

/// One login, as its device and its person see it.
#[derive(Debug)]
struct Login {
    grant: Uuid,
    wish: Wish,
    /// When the decision was sent, whatever became of it.
    decided_at_earliest: Option<Instant>,
    /// When the person saw that it was taken.
    seen: Option<Instant>,
    tokens: u32,
    /// Whether a poll was lost with a server that was killed: it may have been the one that redeemed.
    poll_lost: bool,
    /// What the device was told at last, if it was.
    end: Option<End>,
}

/// How a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Tokens,
    Denied,
    /// The code is used up, though the device got no tokens.
    UsedUp,
}

/// The books of one test.
#[derive(Default)]
pub struct Ledger {
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    logins: Vec<Login>,
    /// `Err`: the database is broken since then. `Ok`: it is well again since then.
    database: Option<Result<Instant, Instant>>,
    /// More than [`OTHERS_WITHIN`], if so.
    others_may_take: Option<Duration>,
    count: Counts,
    /// How long devices took to hear of a decision while the database was well.
    heard_after: Vec<Duration>,
    wrong: Vec<String>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Polls that were answered, …
    pub polls: u32,
    /// … of them with "pending" while the database was broken, …
    pub pending_meanwhile: u32,
    /// … and those that were lost with a server that was killed.
    pub polls_lost: u32,
    /// Logins that ended with tokens.
    pub logged_in: u32,
    /// Logins that were denied.
    pub denied: u32,
    /// Tokens that were refreshed.
    pub refreshed: u32,
    /// Other requests that were answered with what they asked for, …
    pub others: u32,
    /// … that failed, with 503 and nothing else, …
    pub unavailable: u32,
    /// … and those that were lost with a server that was killed.
    pub others_lost: u32,
    /// Redemptions whose answer was lost with a server that was killed.
    pub redemptions_lost: u32,
    /// The longest time that a poll took which wasn't held.
    pub slowest_poll: Duration,
    /// The longest time that any other request took.
    pub slowest_other: Duration,
}

impl Ledger {
    /// From now on the database is broken: devices may be told "pending" of what is decided already.
    pub fn database_breaks(&self) {
        self.books().database = Some(Err(Instant::now()));
    }

    /// It is well again.
    pub fn database_is_back(&self) {
        self.books().database = Some(Ok(Instant::now()));
    }

    /// From now on requests that no polls are may take so long.
    pub fn others_may_take(&self, at_most: Duration) {
        self.books().others_may_take = Some(at_most);
    }

    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        self.books().count
    }

    /// A device got its codes.
    pub fn begins(&self, grant: Uuid, wish: Wish) -> LoginNumber {
        let mut books = self.books();
        books.logins.push(Login {
            grant,
            wish,
            decided_at_earliest: None,
            seen: None,
            tokens: 0,
            poll_lost: false,
            end: None,
        });
        books.logins.len() - 1
    }

    /// A person presses the button.
    pub fn decides(&self, login: LoginNumber) {
        self.books().logins[login].decided_at_earliest.get_or_insert_with(Instant::now);
    }

    /// A person sees what became of it.
    pub fn sees(&self, login: LoginNumber, title: &str) {
        let mut books = self.books();
        let wish = books.logins[login].wish;
        if !matches!((wish, title), (Wish::Approve, "Approved") | (Wish::Deny, "Denied")) {
            books.wrong(format!("login {login}: {wish:?} was wished, and the page says {title:?}"));
        }
        books.logins[login].seen = Some(Instant::now());
    }

    /// Something that must not be.
    pub fn wrong(&self, what: String) {
        self.books().wrong(what);
    }

    /// A session was refreshed.
    pub fn refreshed(&self) {
        self.books().count.refreshed += 1;
    }

    /// Enters a poll of a known code, and says what the device makes of it.
    pub fn poll(&self, login: LoginNumber, poll: &Exchange, held: Option<Duration>) -> Told {
        let mut books = self.books();
        let answer = match &poll.answer {
            Ok(answer) => answer,
            Err(lost) => {
                if poll.excuses_loss() {
                    books.count.polls_lost += 1;
                    books.logins[login].poll_lost = true;
                } else {
                    books.wrong(format!("login {login}: a poll was lost after {:?}: {lost}", poll.took));
                }
                return Told::Lost;
            }
        };
        books.count.polls += 1;
        let extra = poll.took.saturating_sub(held.unwrap_or_default());
        if !poll.excuses_delay() {
            books.count.slowest_poll = books.count.slowest_poll.max(extra);
            if extra > POLL_WITHIN {
                books.wrong(format!("login {login}: a poll took {:?}: {}", poll.took, answer.body));
            }
        }
        match (answer.status, answer.text("error").as_str()) {
            (StatusCode::OK, _) => books.tokens(login, poll, answer.text("refresh_token")),
            (StatusCode::BAD_REQUEST, "authorization_pending") => books.pending(login, poll, held.is_some()),
            (StatusCode::BAD_REQUEST, "access_denied") => books.denied(login, poll),
            (StatusCode::BAD_REQUEST, "invalid_grant") if books.logins[login].tokens == 0 => books.used_up(login, poll),
            (status, _) => {
                books.wrong(format!("login {login}: {} was answered with {status}: {}", poll.what, answer.body));
                Told::Pending
            }
        }
    }

    /// Enters a request that no poll is. One that fails says so clearly, and none keeps anybody waiting.
    pub fn other(&self, request: &Exchange) {
        let mut books = self.books();
        let (what, took) = (&request.what, request.took);
        match &request.answer {
            Ok(answer) if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => {
                books.count.unavailable += 1;
                let clear = answer.status == StatusCode::SERVICE_UNAVAILABLE;
                if !clear || !answer.headers.contains_key(RETRY_AFTER) {
                    books.wrong(format!("{what}: {} after {took:?}: {}", answer.status, answer.body));
                }
            }
            Ok(_) => books.count.others += 1,
            Err(_) if request.excuses_loss() => books.count.others_lost += 1,
            Err(lost) => books.wrong(format!("{what}: lost after {took:?}: {lost}")),
        }
        if !request.excuses_delay() {
            books.count.slowest_other = books.count.slowest_other.max(took);
            if took > books.bound(request.sent) {
                let said = request.answer.as_ref().map_or_else(String::clone, |answer| answer.status.to_string());
                books.wrong(format!("{what}: answered only after {took:?}: {said}"));
            }
        }
    }

    /// A device stops polling because the test is over.
    pub fn stops(&self, login: LoginNumber) {
        let mut books = self.books();
        let known = &books.logins[login];
        if known.seen.is_some() && known.end.is_none() {
            let said = format!("login {login}: decided ({:?}), and its device never heard of it", known.wish);
            books.wrong(said);
        }
    }

    /// Compares what everybody was told with what the database knows, and fails with everything that was wrong.
    pub async fn close(&self, scenario: &str, postgres: &Postgres) {
        let mut connection = postgres.connect(DATABASE).await.unwrap();
        let rows = sqlx::query(
            "SELECT g.id, g.state,
                    (SELECT count(*) FROM session s WHERE s.grant_id = g.id) AS sessions,
                    -- But for those whose tokens could not be sent, which were taken back.
                    (SELECT count(*) FILTER (WHERE e.kind = 'redeemed')
                          - count(*) FILTER (WHERE e.kind = 'revoked' AND e.detail->>'because' LIKE 'its tokens%')
                     FROM audit_event e WHERE e.grant_id = g.id) AS redeemed,
                    (SELECT count(*) FROM audit_event e WHERE e.grant_id = g.id AND e.kind = 'replayed') AS replayed
             FROM device_grant g",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut books = self.books();
        for number in 0..books.logins.len() {
            let login = &books.logins[number];
            let Some(row) = rows.iter().find(|row| row.get::<Uuid, _>("id") == login.grant) else {
                books.wrong(format!("login {number}: its device got codes, and the database doesn't know them"));
                continue;
            };
            let state: String = row.get("state");
            let [sessions, redeemed, replayed] =
                ["sessions", "redeemed", "replayed"].map(|column| row.get::<i64, _>(column));
            if let Some(wrong) = login.contradicts(&state, sessions, redeemed) {
                books.wrong(format!("login {number}: {wrong}"));
            } else if replayed > 0 {
                books.wrong(format!("login {number}: its own device was taken for a thief"));
            } else if login.end == Some(End::UsedUp) {
                books.count.redemptions_lost += 1;
            }
        }
        books.say(scenario);
        assert!(books.wrong.is_empty(), "{scenario}: {} things were wrong\n{}", books.wrong.len(), books.wrongs());
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Books {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    fn wrongs(&self) -> String {
        // A fault has many victims; the first thirty tell enough.
        self.wrong.iter().take(30).fold(String::new(), |said, wrong| said + "  " + wrong + "\n")
    }

    fn tokens(&mut self, login: LoginNumber, poll: &Exchange, refresh_token: String) -> Told {
        if let (Some(seen), Some(well_since)) = (self.logins[login].seen, self.is_well_since(poll)) {
            let could_be_heard = seen.max(well_since).max(poll.sound_since());
            self.heard_after.push(poll.answered().saturating_duration_since(could_be_heard));
        }
        let known = &mut self.logins[login];
        known.tokens += 1;
        known.end = Some(End::Tokens);
        let wrong = match known {
            Login { tokens: 2.., .. } => Some("tokens a second time"),
            Login { wish: Wish::Deny | Wish::Nothing, .. } => Some("tokens that nobody approved"),
            Login { decided_at_earliest: None, .. } => Some("tokens before the approval"),
            _ => None,
        };
        self.count.logged_in += 1;
        self.wrong.extend(wrong.map(|wrong| format!("login {login}: {wrong}")));
        Told::Tokens(refresh_token)
    }

    /// "Pending" is right until a decision, and as long after it as news may take: one interval, while all is well.
    fn pending(&mut self, login: LoginNumber, poll: &Exchange, held: bool) -> Told {
        let (seen, well_since) = (self.logins[login].seen, self.is_well_since(poll));
        if matches!(self.database, Some(Err(_))) {
            self.count.pending_meanwhile += 1;
        }
        if let (Some(seen), Some(well_since)) = (seen, well_since) {
            let known_by = seen.max(well_since).max(poll.sound_since()) + INTERVAL + GRACE;
            // A poll that isn't held may have been answered when it was sent; one that is held has to hear of it.
            let asked = if held { poll.answered() } else { poll.sent };
            if asked > known_by {
                let late = asked - seen;
                self.wrong(format!("login {login}: {} is pending {late:?} after its decision", poll.what));
            }
        }
        Told::Pending
    }

    fn denied(&mut self, login: LoginNumber, poll: &Exchange) -> Told {
        let known = &mut self.logins[login];
        known.end = Some(End::Denied);
        if known.wish != Wish::Deny || known.decided_at_earliest.is_none() {
            let wrong = format!("login {login}: {} says denied, which nobody did", poll.what);
            self.wrong(wrong);
        }
        self.count.denied += 1;
        Told::Over
    }

    /// Only somebody whose tokens were on the way when a server was killed may hear this.
    fn used_up(&mut self, login: LoginNumber, poll: &Exchange) -> Told {
        let known = &mut self.logins[login];
        known.end = Some(End::UsedUp);
        if !known.poll_lost {
            let said = poll.answer.as_ref().map(|answer| answer.body.clone()).unwrap_or_default();
            let wrong = format!("login {login}: an approval was lost, {} says {said}", poll.what);
            self.wrong(wrong);
        }
        Told::Over
    }

    /// Since when the database is well, if it was when this poll was sent.
    fn is_well_since(&self, poll: &Exchange) -> Option<Instant> {
        match self.database {
            None => Some(poll.sound_since()),
            Some(Ok(since)) => Some(since),
            Some(Err(_)) => None,
        }
    }

    /// How long a request that no poll is may take when it is sent now.
    fn bound(&self, sent: Instant) -> Duration {
        let known = |broken: Instant| sent > broken + KNOWN_AFTER;
        match (self.others_may_take, self.database) {
            (Some(at_most), _) => at_most,
            (None, Some(Err(broken))) if known(broken) => ONCE_KNOWN_WITHIN,
            (None, _) => OTHERS_WITHIN,
        }
    }

    fn say(&mut self, scenario: &str) {
        let Counts { polls, pending_meanwhile, polls_lost, logged_in, denied, refreshed, .. } = self.count;
        let Counts { others, unavailable, others_lost, redemptions_lost, slowest_poll, slowest_other, .. } = self.count;
        self.heard_after.sort_unstable();
        let median = self.heard_after.get(self.heard_after.len() / 2).copied().unwrap_or_default();
        let last = self.heard_after.last().copied().unwrap_or_default();
        let mut said = format!("{scenario}: {} wrong\n", self.wrong.len());
        let _always = writeln!(
            said,
            "  {polls} polls answered ({pending_meanwhile} pending while the database was broken; the slowest took \
             {slowest_poll:.1?}), {polls_lost} lost with a killed server\n  \
             {logged_in} logged in, {denied} denied, {refreshed} refreshed, {redemptions_lost} redemptions lost with a \
             killed server; heard {median:.1?} after the decision, {last:.1?} at most\n  \
             {others} other requests answered, {unavailable} with 503 (the slowest took {slowest_other:.1?}), \
             {others_lost} lost with a killed server"
        );
        println!("{said}");
    }
}

impl Login {
    /// What of this the database contradicts.
    fn contradicts(&self, state: &str, sessions: i64, redeemed: i64) -> Option<String> {
        let is_redeemed = state == "redeemed" && sessions == 1 && redeemed == 1;
        let is_not = sessions == 0 && redeemed == 0;
        let decided = self.seen.is_some();
        let fits = match (self.end, self.wish) {
            (Some(End::Tokens | End::UsedUp), _) => is_redeemed,
            (Some(End::Denied), _) => state == "denied" && is_not,
            (None, Wish::Approve) if decided => state == "approved" && is_not,
            (None, Wish::Deny) if decided => state == "denied" && is_not,
            (None, _) => is_not,
        };
        (!fits).then(|| format!("the database says {state}, {sessions} sessions, {redeemed} redemptions; {self:?}"))
    }
}
