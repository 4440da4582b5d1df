//! The SQL of browser sessions and of who is signed in to them.

use chrono::{DateTime, TimeDelta, Utc};

use crate::directory::provider::Kind;
use crate::directory::user::User;
use crate::directory::word;
use crate::ids::{BrowserSessionId, GrantId, OrganizationId, ProviderId, UserId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{Purpose, SecretText};

use super::visitor::BrowserSession;

/// How long a browser session lives, and so a sign-in on these pages.
const LIFE: TimeDelta = TimeDelta::hours(12);

/// How long after a sign-in the same form may be sent once more: people click twice, and browsers drop the first answer
/// with its new cookie.
const SECOND_CLICK: TimeDelta = TimeDelta::seconds(30);

/// What a cookie's value is to the database.
pub(super) enum Token {
    /// Of no session: a browser that has claimed nothing yet.
    Unknown,
    /// Of a session that goes on.
    Live(BrowserSession),
    /// Of a session that is over. It names nothing any more, and nothing new is to be put under it.
    Over,
}

/// Looks a cookie's value up.
pub(super) async fn by_token(
    conn: &mut PgConnection,
    installation: &Installation,
    token: &SecretText,
) -> Result<Token, sqlx::Error> {
    let macs = installation.keyring.macs(Purpose::BrowserSession, &[token.expose().as_bytes()]);
    // One after the other, the current secret's first: PostgreSQL keeps the plan of this, and makes one for each list.
    for mac in macs {
        let row = sqlx::query!("SELECT id, grant_id, expires_at FROM browser_session WHERE token_mac = $1", mac)
            .fetch_optional(&mut *conn)
            .await?;
        let Some(row) = row else { continue };
        if row.expires_at <= installation.clock.now() {
            return Ok(Token::Over);
        }
        return Ok(Token::Live(BrowserSession { id: row.id.into(), grant_id: row.grant_id.map(GrantId) }));
    }
    Ok(Token::Unknown)
}

/// The session whose cookie was renewed a moment ago and was this value before.
pub(super) async fn by_previous_token(
    conn: &mut PgConnection,
    installation: &Installation,
    token: &SecretText,
) -> Result<Option<BrowserSession>, sqlx::Error> {
    let macs = installation.keyring.macs(Purpose::BrowserSession, &[token.expose().as_bytes()]);
    let now = installation.clock.now();
    let row = sqlx::query!(
        "SELECT id, grant_id FROM browser_session
         WHERE previous_token_mac = ANY($1) AND renewed_at > $2 AND expires_at > $3",
        &macs,
        now - SECOND_CLICK,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| BrowserSession { id: row.id.into(), grant_id: row.grant_id.map(GrantId) }))
}

/// Deletes sessions that are over, with all that belongs to them: at most so many, and says how many.
pub async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM browser_session WHERE id = ANY(ARRAY(
             SELECT id FROM browser_session WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

/// Stores a session. Two requests of one new browser may come at once: both get the same.
pub(super) async fn create(
    conn: &mut PgConnection,
    installation: &Installation,
    token: &SecretText,
) -> Result<BrowserSession, sqlx::Error> {
    let now = installation.clock.now();
    let row = sqlx::query!(
        "INSERT INTO browser_session AS b (id, token_mac, created_at, last_seen_at, expires_at)
         VALUES ($1, $2, $3, $3, $4)
         ON CONFLICT (token_mac) DO UPDATE SET last_seen_at = excluded.last_seen_at
         RETURNING b.id, b.grant_id",
        BrowserSessionId::new(now, &installation.random.bytes()).0,
        &installation.keyring.mac(Purpose::BrowserSession, &[token.expose().as_bytes()]),
        now,
        now + LIFE,
    )
    .fetch_one(conn)
    .await?;
    Ok(BrowserSession { id: row.id.into(), grant_id: row.grant_id.map(GrantId) })
}

/// Puts the session under another cookie value.
pub(super) async fn set_token(
    conn: &mut PgConnection,
    installation: &Installation,
    session: BrowserSessionId,
    token: &SecretText,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE browser_session
         SET previous_token_mac = token_mac, renewed_at = $3, token_mac = $2, last_seen_at = $3
         WHERE id = $1",
        session.0,
        &installation.keyring.mac(Purpose::BrowserSession, &[token.expose().as_bytes()]),
        installation.clock.now(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the pages be about this grant.
pub async fn set_grant(
    conn: &mut PgConnection,
    session: BrowserSessionId,
    grant: GrantId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE browser_session SET grant_id = $2, last_seen_at = $3 WHERE id = $1", session.0, grant.0, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Who is signed in to an organization in a browser.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// When they signed in, as their provider says.
    pub auth_time: DateTime<Utc>,
    /// When they did so here.
    pub signed_in_at: DateTime<Utc>,
    /// When they proved who they are; `None`: their provider doesn't say.
    pub proven_at: Option<DateTime<Utc>>,
    /// What their provider speaks.
    pub provider: Kind,
    /// For which device login they did.
    pub grant_id: Option<GrantId>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// The last second factor in this browser: when and how.
    pub mfa: Option<(DateTime<Utc>, Vec<String>)>,
}

/// A sign-in to be noted.
#[derive(Clone, Debug)]
pub struct NewSignIn<'a> {
    /// Where.
    pub organization: OrganizationId,
    /// Who.
    pub user: UserId,
    /// By what.
    pub provider: ProviderId,
    /// When.
    pub auth_time: DateTime<Utc>,
    /// When they proved who they are; `None`: their provider doesn't say.
    pub proven_at: Option<DateTime<Utc>>,
    /// For which device login; `None`: for none.
    pub grant: Option<GrantId>,
    /// How (RFC 8176).
    pub amr: &'a [String],
}

/// Notes that somebody signed in, in place of whoever was signed in to that organization here.
pub async fn sign_in(
    conn: &mut PgConnection,
    session: BrowserSessionId,
    sign_in: &NewSignIn<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO browser_sign_in
             (browser_session_id, organization_id, user_id, provider_id, auth_time, amr, signed_in_at, proven_at, grant_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (browser_session_id, organization_id) DO UPDATE
             SET user_id = excluded.user_id, provider_id = excluded.provider_id, auth_time = excluded.auth_time,
                 amr = excluded.amr, signed_in_at = excluded.signed_in_at, proven_at = excluded.proven_at,
                 grant_id = excluded.grant_id, mfa_at = NULL, mfa_amr = '{}'",
        session.0,
        sign_in.organization.0,
        sign_in.user.0,
        sign_in.provider.0,
        sign_in.auth_time,
        sign_in.amr,
        now,
        sign_in.proven_at,
        sign_in.grant.map(|id| id.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets who is signed in to an organization here.
pub async fn sign_out(
    conn: &mut PgConnection,
    session: BrowserSessionId,
    organization: OrganizationId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM browser_sign_in WHERE browser_session_id = $1 AND organization_id = $2",
        session.0,
        organization.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who is signed in to an organization here, how they did it, and since when they have an authenticator, if they have one;
/// while account and organization are active. Every page of a login asks for all of it.
pub async fn signed_in(
    conn: &mut PgConnection,
    session: BrowserSessionId,
    organization: OrganizationId,
) -> Result<Option<(User, SignIn, Option<DateTime<Utc>>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT b.user_id, b.auth_time, b.signed_in_at, b.proven_at, b.grant_id, b.amr, b.mfa_at, b.mfa_amr, p.kind,
                  u.email, u.email_verified, u.name, u.role, u.status, u.password_hash, f.created_at AS "enrolled_at?"
           FROM browser_sign_in b
           JOIN provider p ON p.id = b.provider_id
           JOIN app_user u ON u.id = b.user_id
           JOIN organization o ON o.id = b.organization_id
           LEFT JOIN totp_factor f ON f.user_id = u.id
           WHERE b.browser_session_id = $1 AND b.organization_id = $2 AND u.status = 'active' AND o.status = 'active'"#,
        session.0,
        organization.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let user = User {
        id: row.user_id.into(),
        organization_id: organization,
        email: row.email,
        email_verified: row.email_verified,
        name: row.name,
        role: word(&row.role)?,
        status: word(&row.status)?,
        password_hash: row.password_hash,
    };
    let sign_in = SignIn {
        auth_time: row.auth_time,
        signed_in_at: row.signed_in_at,
        proven_at: row.proven_at,
        provider: word(&row.kind)?,
        grant_id: row.grant_id.map(GrantId),
        amr: row.amr,
        mfa: row.mfa_at.map(|at| (at, row.mfa_amr)),
    };
    Ok(Some((user, sign_in, row.enrolled_at)))
}

/// Every account that is signed in here.
pub async fn accounts(conn: &mut PgConnection, session: BrowserSessionId) -> Result<Vec<UserId>, sqlx::Error> {
    let users = sqlx::query_scalar!("SELECT user_id FROM browser_sign_in WHERE browser_session_id = $1", session.0)
        .fetch_all(conn)
        .await?;
    Ok(users.into_iter().map(UserId).collect())
}

/// Notes the last second factor of whoever is signed in here.
pub async fn note_mfa(
    conn: &mut PgConnection,
    session: BrowserSessionId,
    user: UserId,
    at: DateTime<Utc>,
    amr: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE browser_sign_in SET mfa_at = $3, mfa_amr = $4 WHERE browser_session_id = $1 AND user_id = $2",
        session.0,
        user.0,
        at,
        amr,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a sign-in as it is until the transaction ends: nobody is signed out meanwhile. `false`: they were before.
pub async fn hold(conn: &mut PgConnection, session: BrowserSessionId, user: UserId) -> Result<bool, sqlx::Error> {
    let held = sqlx::query!(
        "SELECT FROM browser_sign_in WHERE browser_session_id = $1 AND user_id = $2 FOR SHARE",
        session.0,
        user.0,
    );
    Ok(held.fetch_optional(conn).await?.is_some())
}

/// Keeps a sign-in for this transaction alone; `false`: the person isn't signed in here any more. For what must not be left
/// behind by a browser that is signed out meanwhile.
pub async fn hold_alone(conn: &mut PgConnection, session: BrowserSessionId, user: UserId) -> Result<bool, sqlx::Error> {
    let held = sqlx::query!(
        "SELECT FROM browser_sign_in WHERE browser_session_id = $1 AND user_id = $2 FOR NO KEY UPDATE",
        session.0,
        user.0,
    );
    Ok(held.fetch_optional(conn).await?.is_some())
}

/// Signs a person out in every browser but this one, and says in how many.
pub async fn sign_out_elsewhere(
    conn: &mut PgConnection,
    session: BrowserSessionId,
    user: UserId,
) -> Result<u64, sqlx::Error> {
    let signed_out =
        sqlx::query!("DELETE FROM browser_sign_in WHERE user_id = $2 AND browser_session_id <> $1", session.0, user.0)
            .execute(conn)
            .await?;
    Ok(signed_out.rows_affected())
}

/// Signs a person out in every browser, and says in which they were signed in.
pub async fn sign_out_everywhere(conn: &mut PgConnection, user: UserId) -> Result<Vec<BrowserSessionId>, sqlx::Error> {
    let ids =
        sqlx::query_scalar!("DELETE FROM browser_sign_in WHERE user_id = $1 RETURNING browser_session_id", user.0)
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().map(BrowserSessionId).collect())
}

/// Slug and name of the organizations that somebody is signed in to here.
pub async fn organizations(
    conn: &mut PgConnection,
    session: BrowserSessionId,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT o.slug, o.name FROM browser_sign_in b JOIN organization o ON o.id = b.organization_id
         WHERE b.browser_session_id = $1 AND o.status = 'active'
         ORDER BY o.name, o.slug",
        session.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.slug, row.name)).collect())
}
