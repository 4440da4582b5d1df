//! Whoever enters a user code could be guessing. A wrong one is paid for with the budgets of their browser, their accounts, their
//! address and the whole installation; who has too little left of one isn't told whether theirs was right.

use sqlx::Connection as _;

use crate::audit;
use crate::budget::{Budgets, Charge, Exhausted, Purpose};
use crate::http::client_address::{Caller, subscriber};
use crate::ids::{BrowserSessionId, UserId};
use crate::installation::Installation;
use crate::postgres::PgConnection;

use super::codes::{Length, UserCode};
use super::live::LiveCodes;

/// How many wrong codes one browser may enter within an hour.
const OF_BROWSER: i64 = 10;
/// How many one person may who is signed in.
const OF_ACCOUNT: i64 = 30;
/// How many may come from one address, or one /64 of IPv6.
const OF_ADDRESS: i64 = 30;

/// Who enters a code.
#[derive(Clone, Debug)]
pub struct Guesser<'a> {
    /// The browser, if it can be told from others. Who drops its cookie is another one, and has the same address.
    pub browser: Option<String>,
    /// Its session, if it has one: the code that this one holds is no guess.
    pub session: Option<BrowserSessionId>,
    /// Who is signed in there, to any organization.
    pub accounts: Vec<UserId>,
    /// From where.
    pub caller: &'a Caller,
}

impl Guesser<'_> {
    fn charges(&self, live: &LiveCodes, code: Option<&UserCode>) -> Vec<Charge> {
        let one = |purpose, subject, limit| Charge { purpose, subject, cost: 1, limit };
        let browser = self.browser.iter().map(|browser| one(Purpose::Browser, browser.clone(), OF_BROWSER));
        let accounts = self.accounts.iter().map(|user| one(Purpose::Account, user.to_string(), OF_ACCOUNT));
        let network = subscriber(self.caller.ip);
        let address = |subject| one(Purpose::Address, subject, OF_ADDRESS);
        // What is no code can't be right, and yet takes its line in the audit.
        let (cost, limit) = live.price(code.map_or(Length::Eight, UserCode::length));
        let installation = Charge { purpose: Purpose::Installation, subject: String::new(), cost, limit };
        if self.caller.of_another_site {
            // What strangers' pages have a visitor's browser try takes nothing of what the visitor may try.
            return vec![address(format!("{network} for pages of other sites")), installation];
        }
        browser.chain(accounts).chain([address(network.to_string()), installation]).collect()
    }
}

/// Lets somebody try this code, `None` for what is none, which costs as much; not within a transaction, which may come to nothing when
/// what was paid must stay paid. Whether the code is right the caller finds out. That a budget is exhausted is audited once
/// an hour for each, not for each refusal: a flood must not fill the disk.
pub async fn try_code(
    conn: &mut PgConnection,
    installation: &Installation,
    live: &LiveCodes,
    guesser: &Guesser<'_>,
    code: Option<&UserCode>,
) -> Result<Result<(), Exhausted>, sqlx::Error> {
    if conn.is_in_transaction() {
        return Err(sqlx::Error::Protocol(
            "what a try costs is not for a transaction, which may come to nothing".into(),
        ));
    }
    let now = installation.clock.now();
    live.look(conn, now).await?;
    let macs = code.map(|code| code.macs(&installation.keyring)).unwrap_or_default();
    let budgets = Budgets::new(guesser.charges(live, code), now);
    let refused_by = sqlx::query_scalar!(
        r#"SELECT try_user_code($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS "place!""#,
        &macs,
        guesser.session.map(|id| id.0),
        now,
        &budgets.purposes(),
        &budgets.subjects(),
        &budgets.moments(),
        &budgets.over_at(),
        &budgets.costs(),
        &budgets.limits(),
        budgets.since(),
    )
    .fetch_one(&mut *conn)
    .await?;
    let Some(exhausted) = budgets.exhausted(conn, refused_by).await? else { return Ok(Ok(())) };
    if exhausted.is_news {
        note(conn, installation, guesser, exhausted.purpose).await?;
    }
    Ok(Err(exhausted))
}

/// Says that a budget is exhausted.
async fn note(
    conn: &mut PgConnection,
    installation: &Installation,
    guesser: &Guesser<'_>,
    purpose: Purpose,
) -> Result<(), sqlx::Error> {
    let exhausted = purpose.whose();
    tracing::warn!(
        event = "guesses_exhausted",
        exhausted,
        "user codes are refused: too many wrong ones within an hour"
    );
    audit::Event::new(audit::Kind::GuessRefused, &installation.clock, &installation.random)
        .caller(guesser.caller)
        .detail(serde_json::json!({ "exhausted": exhausted }))
        .append(conn)
        .await
}
