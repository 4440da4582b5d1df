//! Users as administrators see and change them.
//!
//! Whoever changes one holds the directory's [`lock`](super::apply::lock): that there is another owner left is looked up first.

use chrono::{DateTime, Utc};

use crate::ids::{OrganizationId, UserId};
use crate::postgres::PgConnection;

use super::user::{Role, Status};
use super::word;

/// A person, with what an administrator may know of them.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their id.
    pub id: UserId,
    /// Lower case; none when no provider verified one.
    pub email: Option<String>,
    /// Whether somebody has verified it.
    pub email_verified: bool,
    /// As they are called; may be empty.
    pub name: String,
    /// What they may administer.
    pub role: Role,
    /// Whether they may log in.
    pub status: Status,
    /// Whether they have a password here.
    pub has_password: bool,
    /// Whether they have an authenticator.
    pub enrolled: bool,
    /// The slugs of the providers where an account of theirs is known.
    pub providers: Vec<String>,
    /// When they were invited, or came.
    pub created_at: DateTime<Utc>,
}

/// Which of an organization's people, in the order in which they were added.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The one with this id.
    One(UserId),
    /// The one with this address, in whatever case.
    Email(&'a str),
    /// So many, after this one.
    Page(Option<UserId>, i64),
}

/// Finds people of an organization.
pub async fn find(
    conn: &mut PgConnection,
    organization: OrganizationId,
    which: Which<'_>,
) -> Result<Vec<Person>, sqlx::Error> {
    let (id, email, after, most) = match which {
        Which::One(id) => (Some(id.0), None, None, 1),
        Which::Email(email) => (None, Some(email), None, 1),
        Which::Page(after, most) => (None, None, after.map(|id| id.0), most),
    };
    let rows = sqlx::query!(
        r#"SELECT u.id, u.email, u.email_verified, u.name, u.role, u.status, u.created_at,
                  u.password_hash IS NOT NULL AS "has_password!",
                  EXISTS (SELECT FROM totp_factor WHERE user_id = u.id) AS "enrolled!",
                  ARRAY(SELECT DISTINCT p.slug FROM identity i JOIN provider p ON p.id = i.provider_id
                        WHERE i.user_id = u.id ORDER BY p.slug) AS "providers!"
           FROM app_user u
           WHERE u.organization_id = $1 AND ($2::uuid IS NULL OR u.id = $2)
             AND ($3::text IS NULL OR u.email = lower($3)) AND ($4::uuid IS NULL OR u.id > $4)
           ORDER BY u.id LIMIT $5"#,
        organization.0,
        id,
        email,
        after,
        most,
    )
    .fetch_all(conn)
    .await?;
    let mut people = Vec::with_capacity(rows.len());
    for row in rows {
        people.push(Person {
            id: row.id.into(),
            email: row.email,
            email_verified: row.email_verified,
            name: row.name,
            role: word(&row.role)?,
            status: word(&row.status)?,
            has_password: row.has_password,
            enrolled: row.enrolled,
            providers: row.providers,
            created_at: row.created_at,
        });
    }
    Ok(people)
}

/// How many people an organization has.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Who never signed in.
    pub invited: i64,
    /// Who can sign in.
    pub active: i64,
    /// Who can't.
    pub locked: i64,
    /// Who of all of them has an authenticator.
    pub enrolled: i64,
}

/// Counts an organization's people.
pub async fn count(conn: &mut PgConnection, organization: OrganizationId) -> Result<Counted, sqlx::Error> {
    sqlx::query_as!(
        Counted,
        r#"SELECT count(*) FILTER (WHERE u.status = 'invited') AS "invited!",
                  count(*) FILTER (WHERE u.status = 'active') AS "active!",
                  count(*) FILTER (WHERE u.status = 'locked') AS "locked!",
                  count(f.user_id) AS "enrolled!"
           FROM app_user u LEFT JOIN totp_factor f ON f.user_id = u.id
           WHERE u.organization_id = $1"#,
        organization.0,
    )
    .fetch_one(conn)
    .await
}

/// Whether anybody else is an owner who can sign in.
pub async fn has_other_owner(
    conn: &mut PgConnection,
    organization: OrganizationId,
    but: UserId,
) -> Result<bool, sqlx::Error> {
    is_there_an_owner(conn, organization, Some(but)).await
}

/// Whether there is an owner who can sign in.
pub async fn has_owner(conn: &mut PgConnection, organization: OrganizationId) -> Result<bool, sqlx::Error> {
    is_there_an_owner(conn, organization, None).await
}

/// Whether there is an owner who can sign in, with a password where passwords are taken, or at a provider: who is active isn't
/// always one, since a provider may have gone. `but` counts as none.
async fn is_there_an_owner(
    conn: &mut PgConnection,
    organization: OrganizationId,
    but: Option<UserId>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM app_user u
           WHERE organization_id = $1 AND ($2::uuid IS NULL OR id <> $2) AND role = 'owner' AND status = 'active'
             AND (EXISTS (SELECT FROM identity WHERE user_id = u.id)
                  OR (password_hash IS NOT NULL
                      AND EXISTS (SELECT FROM provider WHERE organization_id = $1 AND kind = 'password')))) AS "found!""#,
        organization.0,
        but.map(|id| id.0),
    )
    .fetch_one(conn)
    .await
}

/// Gives somebody a name and a role.
pub async fn change(conn: &mut PgConnection, user: UserId, name: &str, role: Role) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE app_user SET name = $2, role = $3 WHERE id = $1", user.0, name, role.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Locks somebody, which ends what they are signed in to; `false` when they were locked.
pub async fn set_locked(conn: &mut PgConnection, user: UserId) -> Result<bool, sqlx::Error> {
    let locked = sqlx::query!("UPDATE app_user SET status = 'locked' WHERE id = $1 AND status <> 'locked'", user.0);
    Ok(locked.execute(conn).await?.rows_affected() == 1)
}

/// Unlocks somebody: who has a way to sign in is active, the others are invited. `false` when they weren't locked.
pub async fn set_unlocked(conn: &mut PgConnection, user: UserId) -> Result<bool, sqlx::Error> {
    let unlocked = sqlx::query!(
        "UPDATE app_user u
         SET status = CASE WHEN password_hash IS NOT NULL OR EXISTS (SELECT FROM identity WHERE user_id = u.id)
                           THEN 'active' ELSE 'invited' END
         WHERE id = $1 AND status = 'locked'",
        user.0,
    );
    Ok(unlocked.execute(conn).await?.rows_affected() == 1)
}
