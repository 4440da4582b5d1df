//! Users: people, each in one organization.

use chrono::{DateTime, Utc};

use crate::ids::{IdentityId, OrganizationId, ProviderId, UserId};
use crate::postgres::PgConnection;

use super::{stored_as_text, word};

/// The least characters of a password (NIST SP 800-63B §3.1.1.2, with a second factor beside it).
pub const SHORTEST_PASSWORD: usize = 8;

/// The most characters of a password that a person chooses here.
pub const LONGEST_PASSWORD: usize = 200;

/// The most characters that are taken for a password at all: what an administrator wrote down may be longer than what a
/// person chooses.
pub const LONGEST_TYPED: usize = 1000;

/// A person in one organization.
#[derive(Clone, Debug)]
pub struct User {
    /// Their id: `sub` of every token.
    pub id: UserId,
    /// Where they belong.
    pub organization_id: OrganizationId,
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
    /// argon2id, for local accounts.
    pub password_hash: Option<String>,
}

/// What tokens say of a person, as far as their scopes allow.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Profile {
    /// Lower case; none when no provider verified one.
    pub email: Option<String>,
    /// Whether somebody has verified it.
    pub email_verified: bool,
    /// As they are called; may be empty.
    pub name: String,
}

/// What a person may administer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing.
    Member,
    /// Their organization, but for its owners.
    Admin,
    /// Their organization.
    Owner,
}
stored_as_text!("role", Role { Member = "member", Admin = "admin", Owner = "owner" });

/// Whether a person may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not seen yet: becomes active with the first sign-in.
    Invited,
    /// Yes.
    Active,
    /// No.
    Locked,
}
stored_as_text!("user status", Status { Invited = "invited", Active = "active", Locked = "locked" });

impl User {
    /// What the pages call them: address, or name where there is none.
    #[must_use]
    pub fn label(&self) -> &str {
        match &self.email {
            Some(email) => email,
            None if self.name.is_empty() => "an account without a name",
            None => &self.name,
        }
    }
}

/// Finds a user by id.
pub async fn by_id(conn: &mut PgConnection, id: UserId) -> Result<Option<User>, sqlx::Error> {
    select(conn, Some(id), None, None).await
}

/// Finds the organization's user with this address, whatever its case.
pub async fn by_email(
    conn: &mut PgConnection,
    organization: OrganizationId,
    email: &str,
) -> Result<Option<User>, sqlx::Error> {
    select(conn, None, Some(organization), Some(email)).await
}

/// An address as it is stored, and found whatever its case.
pub async fn folded(conn: &mut PgConnection, email: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT lower($1) AS "folded!""#, email).fetch_one(conn).await
}

/// Finds the user to whom a provider's subject belongs.
pub async fn by_identity(
    conn: &mut PgConnection,
    provider: ProviderId,
    subject: &str,
) -> Result<Option<User>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "SELECT user_id FROM identity WHERE provider_id = $1 AND subject = $2",
        provider.0,
        subject
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(id) => by_id(conn, id.into()).await,
        None => Ok(None),
    }
}

async fn select(
    conn: &mut PgConnection,
    id: Option<UserId>,
    organization: Option<OrganizationId>,
    email: Option<&str>,
) -> Result<Option<User>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT * FROM app_user
         WHERE ($1::uuid IS NOT NULL AND id = $1) OR (organization_id = $2 AND email = lower($3))",
        id.map(|id| id.0),
        organization.map(|id| id.0),
        email,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(User {
            id: row.id.into(),
            organization_id: row.organization_id.into(),
            email: row.email,
            email_verified: row.email_verified,
            name: row.name,
            role: word(&row.role)?,
            status: word(&row.status)?,
            password_hash: row.password_hash,
        })
    })
    .transpose()
}

/// A user to be written.
#[derive(Clone, Debug)]
pub struct NewUser<'a> {
    /// Where they belong.
    pub organization_id: OrganizationId,
    /// Lower-cased when written; only an address that somebody verified or invited.
    pub email: Option<&'a str>,
    /// Whether somebody has verified it.
    pub email_verified: bool,
    /// As they are called.
    pub name: &'a str,
}

/// Adds an active member.
pub async fn add_member(
    conn: &mut PgConnection,
    id: UserId,
    user: &NewUser<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO app_user (id, organization_id, email, email_verified, name, created_at)
         VALUES ($1, $2, lower($3), $4, $5, $6)",
        id.0,
        user.organization_id.0,
        user.email,
        user.email_verified,
        user.name,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a provider's subject belong to a user. It stays with whom it belonged to first.
pub async fn link_identity(
    conn: &mut PgConnection,
    id: IdentityId,
    user: UserId,
    provider: ProviderId,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO identity (id, user_id, provider_id, subject, created_at, last_sign_in_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT ON CONSTRAINT identity_taken DO UPDATE SET last_sign_in_at = excluded.last_sign_in_at",
        id.0,
        user.0,
        provider.0,
        subject,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes an invited user active, with an address that is now known to be theirs.
pub async fn accept_invitation(conn: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE app_user SET status = 'active', email_verified = true WHERE id = $1 AND status = 'invited'",
        user.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a password in the place of the one with this hash; `false` when that isn't the user's any more.
pub async fn change_password(
    conn: &mut PgConnection,
    user: UserId,
    old_hash: &str,
    new_hash: &str,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query!(
        "UPDATE app_user SET password_hash = $3 WHERE id = $1 AND password_hash = $2 AND status = 'active'",
        user.0,
        old_hash,
        new_hash,
    )
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Gives somebody a password in the place of any that they had; `false` when there is no such user any more.
pub async fn set_password(conn: &mut PgConnection, user: UserId, hash: &str) -> Result<bool, sqlx::Error> {
    let set = sqlx::query!("UPDATE app_user SET password_hash = $2 WHERE id = $1", user.0, hash).execute(conn).await?;
    Ok(set.rows_affected() == 1)
}

/// Keeps a password as it is until the transaction ends; `false` when the one with this hash isn't the user's any more, or
/// nobody signs in with it, since they are locked.
pub async fn hold_password(conn: &mut PgConnection, user: UserId, hash: &str) -> Result<bool, sqlx::Error> {
    let held = sqlx::query!(
        "SELECT FROM app_user WHERE id = $1 AND password_hash = $2 AND status <> 'locked' FOR SHARE",
        user.0,
        hash,
    );
    Ok(held.fetch_optional(conn).await?.is_some())
}
