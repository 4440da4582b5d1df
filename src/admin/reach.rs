//! How far somebody reaches.
//!
//! An owner of `platform` administers every organization, as its owners do. Everybody else administers their own, admins of
//! `platform` too: `platform` is their organization, and no other exists for them. What an admin may not do, since it would
//! make an owner of them: change what owners are, or how people prove who they are.

use crate::directory::apply::PLATFORM;
use crate::directory::organization::{self, Organization};
use crate::directory::user::Role;
use crate::ids::OrganizationId;
use crate::postgres::PgConnection;

use super::problem::Problem;

const OWNERS_ONLY: &str = "Only owners may do that.";
const PLATFORM_ONLY: &str = "Only owners of the organization platform may do that.";
const OWNERS: &str = "An owner is changed by owners only.";

/// Which organizations there are for somebody, and as what they stand in them.
#[derive(Clone, Debug)]
pub struct Reach {
    home: Organization,
    role: Role,
}

impl Reach {
    /// Of a person of this organization who is this there.
    pub fn of(home: Organization, role: Role) -> Self {
        Self { home, role }
    }

    /// Whether somebody who is this now reaches as far.
    pub fn is_kept_by(&self, role: Role) -> bool {
        role >= self.role
    }

    /// Whether there is every organization for them.
    pub fn is_everything(&self) -> bool {
        self.home.slug == PLATFORM && self.role == Role::Owner
    }

    /// The only organization there is for them; `None`: there are all.
    pub fn only(&self) -> Option<OrganizationId> {
        (!self.is_everything()).then_some(self.home.id)
    }

    /// Whether an organization with this slug would be one for them.
    pub fn may_name(&self, slug: &str) -> bool {
        self.is_everything() || self.home.slug == slug
    }

    /// The organization with this slug, if there is one for them.
    pub async fn organization(&self, conn: &mut PgConnection, slug: &str) -> Result<Organization, Problem> {
        let found = if self.may_name(slug) { organization::by_slug(conn, slug).await? } else { None };
        found.ok_or_else(Problem::not_found)
    }

    /// Goes on for owners of the organization that was found, and of the installation.
    pub fn as_owner(&self) -> Result<(), Problem> {
        if self.role == Role::Owner { Ok(()) } else { Err(Problem::forbidden(OWNERS_ONLY)) }
    }

    /// Goes on for whoever administers the installation.
    pub fn as_platform_owner(&self) -> Result<(), Problem> {
        if self.is_everything() { Ok(()) } else { Err(Problem::forbidden(PLATFORM_ONLY)) }
    }

    /// Goes on for whoever may change somebody of this role, or give it: nobody gives more than they have.
    pub fn over(&self, role: Role) -> Result<(), Problem> {
        if role <= self.role { Ok(()) } else { Err(Problem::forbidden(OWNERS)) }
    }
}
