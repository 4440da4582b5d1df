//! The SQL of notices that wait to be delivered. Taking one is one UPDATE, however many nodes look at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::directory::webhook::Event;
use crate::directory::word;
use crate::ids::{GrantId, NoticeId, OrganizationId, UserId, WebhookId};
use crate::installation::Installation;
use crate::postgres::{self, PgConnection};
use crate::secrets::Sealed;

/// How long a node has for a notice that it took. Longer than any attempt takes.
const LEASE: TimeDelta = TimeDelta::minutes(2);

/// How long after a failed attempt the next one is made (the example of Standard Webhooks): three days altogether.
const DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// After this time a notice is given up even though it was never tried, or whoever took it never said how it went: longer
/// than all delays together.
const LIFE: TimeDelta = TimeDelta::days(4);

/// After so many attempts it is, too: one whose attempt takes its node down gets no further than being taken.
const MOST_ATTEMPTS: i16 = 20;

/// How long what is over is kept, for those who ask whether somebody was told.
const KEPT: TimeDelta = TimeDelta::days(7);

/// What is to be told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// In which organization.
    pub organization: OrganizationId,
    /// What happened, and to what.
    pub about: About,
    /// What is told of it ([`super::told`]).
    pub content: Value,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// This, to a device login.
    Login(Event, GrantId),
    /// Somebody was invited.
    Invitation(UserId),
}

/// How an invitation is stored. Never change it.
const INVITED: &str = "invited";

impl About {
    /// As it is stored.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login(event, _) => event.as_str(),
            Self::Invitation(_) => INVITED,
        }
    }

    /// The device login.
    #[must_use]
    pub const fn grant(self) -> Option<GrantId> {
        match self {
            Self::Login(_, grant) => Some(grant),
            Self::Invitation(_) => None,
        }
    }

    /// Who was invited.
    const fn invited(self) -> Option<UserId> {
        match self {
            Self::Login(..) => None,
            Self::Invitation(user) => Some(user),
        }
    }

    fn stored(kind: &str, grant: Option<uuid::Uuid>, user: Option<uuid::Uuid>) -> Result<Self, sqlx::Error> {
        match (kind, grant, user) {
            (INVITED, None, Some(user)) => Ok(Self::Invitation(user.into())),
            (kind, Some(grant), None) => Ok(Self::Login(word(kind)?, grant.into())),
            _ => Err(postgres::impossible_row("notice")),
        }
    }
}

/// Who is to be told.
#[derive(Clone, Copy, Debug)]
pub enum Receiver<'a> {
    /// Somebody with this address.
    Mail(&'a str),
    /// A program.
    Webhook(WebhookId),
}

/// A notice that this node took.
#[derive(Clone, Debug)]
pub struct Due {
    /// The same at every attempt.
    pub id: NoticeId,
    /// When it was put.
    pub created_at: DateTime<Utc>,
    /// What is to be told.
    pub notice: Notice,
    /// The how manieth attempt this is.
    pub attempt: i16,
    /// Who is to be told.
    pub to: To,
}

/// Who is to be told, with what is needed for it.
#[derive(Clone, Debug)]
pub enum To {
    /// Somebody with this address.
    Mail(String),
    /// A program.
    Webhook {
        /// Its id.
        id: WebhookId,
        /// Where it is.
        url: String,
        /// What it knows us by.
        secret: Sealed,
        /// Whether it is told at a public address only.
        public_only: bool,
    },
}

/// Puts a notice for each receiver.
pub async fn put<'a>(
    conn: &mut PgConnection,
    installation: &Installation,
    notice: &Notice,
    receivers: impl Iterator<Item = Receiver<'a>>,
) -> Result<(), sqlx::Error> {
    let now = installation.clock.now();
    for receiver in receivers {
        let (email, webhook) = match receiver {
            Receiver::Mail(email) => (Some(email), None),
            Receiver::Webhook(id) => (None, Some(id.0)),
        };
        sqlx::query!(
            "INSERT INTO notice (id, organization_id, kind, grant_id, user_id, webhook_id, email, content, created_at, due_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
            NoticeId::new(now, &installation.random.bytes()).0,
            notice.organization.0,
            notice.about.as_str(),
            notice.about.grant().map(|grant| grant.0),
            notice.about.invited().map(|user| user.0),
            webhook,
            email,
            notice.content,
            now,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Takes at most so many mails that are due.
pub async fn take_mails(conn: &mut PgConnection, most: usize, now: DateTime<Utc>) -> Result<Vec<Due>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"WITH due AS MATERIALIZED (
               SELECT id FROM notice
               WHERE email IS NOT NULL AND delivered_at IS NULL AND given_up_at IS NULL AND due_at <= $1
                   AND attempts < $4 AND created_at > $5 AND kind = ANY ($6)
               ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
           UPDATE notice n SET due_at = $3, attempts = n.attempts + 1, trouble = NULL
           FROM due WHERE n.id = due.id
           RETURNING n.id, n.organization_id, n.kind, n.grant_id, n.user_id, n.content, n.created_at, n.attempts, n.email,
               NULL::uuid AS webhook_id, NULL::text AS url, NULL::bytea AS secret_sealed, NULL::boolean AS public_only"#,
        now,
        i64::try_from(most).unwrap_or(0),
        now + LEASE,
        MOST_ATTEMPTS,
        now - LIFE,
        &kinds(),
    )
    .fetch_all(conn)
    .await?;
    Ok(understood(rows))
}

/// Takes messages that are due, at most so many, one for each webhook that isn't `busy`: a slow one holds up nobody but
/// itself.
pub async fn take_for_webhooks(
    conn: &mut PgConnection,
    most: usize,
    busy: &[WebhookId],
    now: DateTime<Utc>,
) -> Result<Vec<Due>, sqlx::Error> {
    let busy: Vec<_> = busy.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"WITH due AS MATERIALIZED (
               SELECT first.id, w.url, w.secret_sealed, w.public_only
               FROM webhook w CROSS JOIN LATERAL (
                   SELECT id, due_at FROM notice
                   WHERE webhook_id = w.id AND delivered_at IS NULL AND given_up_at IS NULL AND due_at <= $1
                       AND attempts < $5 AND created_at > $6 AND kind = ANY ($7)
                   ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) first
               WHERE w.id <> ALL ($4)
               ORDER BY first.due_at LIMIT $2)
           UPDATE notice n SET due_at = $3, attempts = n.attempts + 1, trouble = NULL
           FROM due WHERE n.id = due.id
           RETURNING n.id, n.organization_id, n.kind, n.grant_id, n.user_id, n.content, n.created_at, n.attempts,
               NULL::text AS email, n.webhook_id, due.url AS "url?", due.secret_sealed AS "secret_sealed?",
               due.public_only AS "public_only?""#,
        now,
        i64::try_from(most).unwrap_or(0),
        now + LEASE,
        &busy,
        MOST_ATTEMPTS,
        now - LIFE,
        &kinds(),
    )
    .fetch_all(conn)
    .await?;
    Ok(understood(rows))
}

/// What this program knows. What a newer one put waits for a newer one, and costs no attempt here.
fn kinds() -> Vec<String> {
    Event::ALL.into_iter().map(Event::as_str).chain([INVITED]).map(str::to_owned).collect()
}

/// The rows, without those that can't be read: none of them stops the others. Its lease ends, and it is given up later.
fn understood(rows: Vec<Row>) -> Vec<Due> {
    let read = |row: Row| {
        let notice = NoticeId::from(row.id);
        let unread = |error: &sqlx::Error| tracing::warn!(%notice, %error, "a notice can't be read");
        Due::try_from(row).inspect_err(unread).ok()
    };
    rows.into_iter().filter_map(read).collect()
}

/// Notes that a notice arrived.
pub async fn delivered(conn: &mut PgConnection, due: &Due, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE notice SET delivered_at = $2, trouble = NULL
         WHERE id = $1 AND delivered_at IS NULL AND given_up_at IS NULL",
        due.id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What becomes of a notice whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again after this time.
    In(Duration),
    /// It is given up.
    GivenUp,
}

/// What becomes of a notice after so many attempts.
#[must_use]
pub fn next(attempt: i16, hopeless: bool) -> Next {
    let delay = usize::try_from(attempt - 1).ok().and_then(|index| DELAYS.get(index));
    delay.filter(|_| !hopeless).map_or(Next::GivenUp, |delay| Next::In(*delay))
}

/// Notes that an attempt failed, and what becomes of it. An attempt whose lease is over has nothing to say any more.
pub async fn failed(
    conn: &mut PgConnection,
    due: &Due,
    (trouble, next): (&str, Next),
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let (due_at, given_up_at) = match next {
        Next::In(delay) => (now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::days(1)), None),
        Next::GivenUp => (now, Some(now)),
    };
    sqlx::query!(
        "UPDATE notice SET due_at = $3, given_up_at = $4, trouble = $5
         WHERE id = $1 AND attempts = $2 AND delivered_at IS NULL AND given_up_at IS NULL",
        due.id.0,
        due.attempt,
        due_at,
        given_up_at,
        trouble,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A notice that was given up without another attempt.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp {
    /// Its id.
    pub id: NoticeId,
    /// About which device login, if about one.
    pub grant: Option<GrantId>,
    /// How many attempts there had been.
    pub attempts: i16,
    /// Whether it was a mail.
    pub mail: bool,
}

/// Gives up what is too old or was tried too often, at most so many. What is under way now isn't.
pub async fn give_up(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<Vec<GivenUp>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"UPDATE notice SET given_up_at = $1, trouble = coalesce(trouble, 'it was not delivered in time')
           WHERE id IN (
               SELECT id FROM notice
               WHERE delivered_at IS NULL AND given_up_at IS NULL AND due_at <= $1
                   AND (created_at <= $2 OR attempts >= $3)
               LIMIT $4 FOR UPDATE SKIP LOCKED)
               AND delivered_at IS NULL AND given_up_at IS NULL
           RETURNING id, grant_id, attempts, email IS NOT NULL AS "mail!""#,
        now,
        now - LIFE,
        MOST_ATTEMPTS,
        most,
    )
    .fetch_all(conn)
    .await?;
    let given_up = rows.into_iter().map(|row| GivenUp {
        id: row.id.into(),
        grant: row.grant_id.map(GrantId::from),
        attempts: row.attempts,
        mail: row.mail,
    });
    Ok(given_up.collect())
}

/// Deletes what has been over for a week, at most so many, and says how many.
pub async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM notice WHERE id = ANY(ARRAY(
             SELECT id FROM notice
             WHERE coalesce(delivered_at, given_up_at) IS NOT NULL AND coalesce(delivered_at, given_up_at) <= $1
             ORDER BY coalesce(delivered_at, given_up_at) LIMIT $2 FOR UPDATE SKIP LOCKED))",
        now - KEPT,
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// A row as it is taken.
struct Row {
    id: uuid::Uuid,
    organization_id: uuid::Uuid,
    kind: String,
    grant_id: Option<uuid::Uuid>,
    user_id: Option<uuid::Uuid>,
    content: Value,
    created_at: DateTime<Utc>,
    attempts: i16,
    email: Option<String>,
    webhook_id: Option<uuid::Uuid>,
    url: Option<String>,
    secret_sealed: Option<Vec<u8>>,
    public_only: Option<bool>,
}

impl TryFrom<Row> for Due {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let to = match (row.email, row.webhook_id, row.url, row.secret_sealed, row.public_only) {
            (Some(email), ..) => To::Mail(email),
            (None, Some(id), Some(url), Some(secret), Some(public_only)) => {
                To::Webhook { id: id.into(), url, secret: secret.into(), public_only }
            }
            _ => return Err(postgres::impossible_row("notice")),
        };
        let notice = Notice {
            organization: row.organization_id.into(),
            about: About::stored(&row.kind, row.grant_id, row.user_id)?,
            content: row.content,
        };
        Ok(Self { id: row.id.into(), created_at: row.created_at, notice, attempt: row.attempts, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_end() {
        let delays: Vec<u64> = (1..=9)
            .map(|attempt| match next(attempt, false) {
                Next::In(delay) => delay.as_secs(),
                Next::GivenUp => 0,
            })
            .collect();
        assert!(delays.is_sorted() && delays[0] == 5, "{delays:?}");
        assert!(delays.iter().sum::<u64>() > 3 * 24 * 60 * 60);
        assert!(delays.iter().sum::<u64>() < LIFE.num_seconds().unsigned_abs());
        assert_eq!(next(10, false), Next::GivenUp);
        assert_eq!(next(100, false), Next::GivenUp);
        assert_eq!(next(1, true), Next::GivenUp);
    }
}
