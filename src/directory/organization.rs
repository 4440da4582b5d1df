//! Organizations: tenants.

use crate::ids::OrganizationId;
use crate::postgres::PgConnection;

use super::{stored_as_text, word};

/// A tenant: owns services, providers and users.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name in URLs and files.
    pub slug: String,
    /// Its name to people.
    pub name: String,
    /// Whether anybody can log in.
    pub status: Status,
    /// Whether a second factor is asked.
    pub mfa: MfaPolicy,
}

/// Whether anybody can log in to the organization's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As usual.
    Active,
    /// Nobody, and no session goes on.
    Suspended,
}
stored_as_text!("status", Status { Active = "active", Suspended = "suspended" });

/// Whether a second factor is asked. In order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MfaPolicy {
    /// Never.
    Off,
    /// Of those who have one.
    IfEnrolled,
    /// Of everybody; who has none sets one up.
    Required,
}
stored_as_text!("MFA policy", MfaPolicy { Off = "off", IfEnrolled = "if_enrolled", Required = "required" });

impl MfaPolicy {
    /// The stricter of the organization's policy and the service's own, when it has one.
    #[must_use]
    pub fn stricter(self, of_service: Option<Self>) -> Self {
        of_service.map_or(self, |policy| policy.max(self))
    }
}

/// Finds an organization by id.
pub async fn by_id(conn: &mut PgConnection, id: OrganizationId) -> Result<Option<Organization>, sqlx::Error> {
    let row = sqlx::query!("SELECT id, slug, name, status, mfa FROM organization WHERE id = $1", id.0)
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Organization {
            id: row.id.into(),
            slug: row.slug,
            name: row.name,
            status: word(&row.status)?,
            mfa: word(&row.mfa)?,
        })
    })
    .transpose()
}

/// Finds an organization by slug. What can be no slug is nobody's.
pub async fn by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<Organization>, sqlx::Error> {
    if !slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Ok(None);
    }
    match id_by_slug(conn, slug).await? {
        Some(id) => by_id(conn, id).await,
        None => Ok(None),
    }
}

/// The id of the organization with this slug.
pub async fn id_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<OrganizationId>, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM organization WHERE slug = $1", slug).fetch_optional(conn).await?;
    Ok(id.map(OrganizationId))
}

/// Every organization and its slug.
pub async fn slugs(conn: &mut PgConnection) -> Result<Vec<(OrganizationId, String)>, sqlx::Error> {
    let rows = sqlx::query!("SELECT id, slug FROM organization").fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id.into(), row.slug)).collect())
}

/// So many organizations after this slug, in the order of slugs; or the only one that is asked for.
pub async fn page(
    conn: &mut PgConnection,
    only: Option<OrganizationId>,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<Organization>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT id, slug, name, status, mfa FROM organization
         WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR slug > $2) ORDER BY slug LIMIT $3",
        only.map(|id| id.0),
        after,
        most,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(Organization {
            id: row.id.into(),
            slug: row.slug,
            name: row.name,
            status: word(&row.status)?,
            mfa: word(&row.mfa)?,
        });
    }
    Ok(found)
}

/// Whether anything belongs to an organization, besides the service by which it is administered.
pub async fn owns_anything(conn: &mut PgConnection, id: OrganizationId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM service WHERE organization_id = $1 AND slug <> 'admin-cli')
               OR EXISTS (SELECT FROM provider WHERE organization_id = $1)
               OR EXISTS (SELECT FROM app_user WHERE organization_id = $1)
               OR EXISTS (SELECT FROM webhook WHERE organization_id = $1) AS "found!""#,
        id.0,
    )
    .fetch_one(conn)
    .await
}
