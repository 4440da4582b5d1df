//! The person whom a command on the installation's own machine is about, and what becomes of their devices.

use anyhow::Context as _;

use crate::directory::organization;
use crate::directory::user::{self, User};
use crate::postgres::PgConnection;

/// Who it is.
#[derive(Clone, Debug, clap::Args)]
pub struct PersonArgs {
    /// The person's e-mail address
    pub email: String,
    /// Slug of their organization
    #[arg(long, value_name = "SLUG")]
    pub organization: String,
}

impl PersonArgs {
    /// Finds them, or says what there is none of.
    pub async fn find(&self, conn: &mut PgConnection) -> anyhow::Result<User> {
        let Self { email, organization: slug } = self;
        let organization = organization::id_by_slug(conn, slug).await?;
        let organization = organization.with_context(|| format!("there is no organization {slug}"))?;
        let person = user::by_email(conn, organization, email).await?;
        person.with_context(|| format!("{slug} has nobody with the address {email}"))
    }
}

/// How many devices were signed out.
pub fn devices(signed_out: usize) -> String {
    match signed_out {
        0 => "no device was signed in".to_owned(),
        1 => "1 device".to_owned(),
        more => format!("{more} devices"),
    }
}
