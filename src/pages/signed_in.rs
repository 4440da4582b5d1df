//! Who is signed in to an organization in this browser.

use chrono::{DateTime, Utc};

use crate::browser;
use crate::browser::store::SignIn;
use crate::directory::organization::MfaPolicy;
use crate::directory::user::User;
use crate::ids::{BrowserSessionId, OrganizationId};
use crate::postgres::PgConnection;

/// Who is signed in to the organization in this browser.
pub struct Account {
    /// The person.
    pub user: User,
    /// When and how they signed in.
    pub sign_in: SignIn,
    /// Since when they have a second factor; `None`: they have none.
    pub enrolled_at: Option<DateTime<Utc>>,
}

impl Account {
    /// Whoever is signed in to `organization` here, while account and organization are active.
    pub async fn signed_in(
        conn: &mut PgConnection,
        browser: BrowserSessionId,
        organization: OrganizationId,
    ) -> Result<Option<Self>, sqlx::Error> {
        let found = browser::store::signed_in(conn, browser, organization).await?;
        Ok(found.map(|(user, sign_in, enrolled_at)| Self { user, sign_in, enrolled_at }))
    }

    /// Whether they have a second factor.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.enrolled_at.is_some()
    }

    /// Whether this policy asks them for a second factor.
    #[must_use]
    pub fn needs_mfa(&self, policy: MfaPolicy) -> bool {
        match policy {
            MfaPolicy::Required => true,
            MfaPolicy::IfEnrolled => self.is_enrolled(),
            MfaPolicy::Off => false,
        }
    }
}
