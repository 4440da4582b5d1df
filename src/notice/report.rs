//! "This wasn't me": what it does, once for an approval, however often and at however many nodes it is said.
//!
//! One transaction, in an order in which nothing slips through. Rows are locked as others lock them: person, sign-ins,
//! logins, session.
//!
//! 1. The row of [`report`](self) is written; who finds it there has nothing left to do.
//! 2. The person's browsers are signed out. An approval under way holds its sign-in: it is finished before, or finds
//!    itself signed out.
//! 3. What these browsers hold and what the person approved is denied ([`recall`]). A redemption under way is finished
//!    before, or finds its approval denied.
//! 4. The session that the approval became, if it did by now, is revoked. No other device is: the page says where to look
//!    at them.
//! 5. The audit says so, and the organization's webhooks are told.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::audit::{Event, Kind};
use crate::device::grant;
use crate::device::recall::{self, Recall};
use crate::geo::Places;
use crate::http::client_address::Caller;
use crate::ids::{GrantId, OrganizationId, ServiceId, UserId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::{browser, session};

use super::Notices;
use super::told::{Browser, Client, Device, Ended, Organization, Person, Report};

/// What the device's next refresh says: "This device was signed out: …".
const BECAUSE: &str = "the person said that they had not approved it";

/// An approval, as far as somebody who holds its link may know it.
#[derive(Clone, Debug)]
pub struct Approved {
    /// The device login.
    pub grant: GrantId,
    /// Whose account it is.
    pub user: UserId,
    /// Its organization.
    pub organization: Organization,
    /// What was approved.
    pub service: Client,
    /// The same, by id.
    pub service_id: ServiceId,
    /// When.
    pub approved_at: DateTime<Utc>,
    /// What asked.
    pub device: grant::Device,
    /// How many minutes an access token of it can still be good for who doesn't ask.
    pub minutes: u64,
    /// When somebody said that it wasn't them.
    pub reported_at: Option<DateTime<Utc>>,
}

/// Finds an approval; `None` when this login never was approved, or is gone.
pub async fn find(conn: &mut PgConnection, grant: GrantId) -> Result<Option<Approved>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT g.user_id AS "user_id!", g.decided_at AS "decided_at!", g.service_id, g.device_name, g.user_agent, g.ip,
               o.id AS organization_id, o.slug AS organization_slug, o.name AS organization_name,
               s.slug, s.client_id, s.name, s.access_token_lifetime_seconds, r.reported_at AS "reported_at?"
           FROM device_grant g
           JOIN organization o ON o.id = g.organization_id
           JOIN service s ON s.id = g.service_id
           LEFT JOIN report r ON r.grant_id = g.id
           WHERE g.id = $1 AND g.user_id IS NOT NULL AND g.decided_at IS NOT NULL AND g.granted_scopes IS NOT NULL"#,
        grant.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Approved {
        grant,
        user: row.user_id.into(),
        organization: Organization {
            id: row.organization_id.into(),
            slug: row.organization_slug,
            name: row.organization_name,
        },
        service: Client { slug: row.slug, client_id: row.client_id, name: row.name },
        service_id: row.service_id.into(),
        approved_at: row.decided_at,
        device: grant::Device { name: row.device_name, user_agent: row.user_agent, ip: row.ip.addr() },
        minutes: u64::from(row.access_token_lifetime_seconds.unsigned_abs()).div_ceil(60),
        reported_at: row.reported_at,
    }))
}

/// Ends what came of an approval, in the caller's transaction, and says what that was, and which logins were denied for
/// it; `None` when somebody has said it before.
pub async fn report(
    conn: &mut PgConnection,
    (installation, notices, places): (&Installation, &Notices, &Places),
    approved: &Approved,
    caller: &Caller,
) -> Result<Option<(Ended, Vec<GrantId>)>, sqlx::Error> {
    let (grant, now) = (approved.grant, installation.clock.now());
    if approved.reported_at.is_some() {
        return Ok(None);
    }
    let person = lock(conn, approved.user).await?;
    if !write(conn, grant, now).await? {
        return Ok(None);
    }
    let browsers = browser::store::sign_out_everywhere(conn, approved.user).await?;
    let organization = approved.organization.id;
    let recall = Recall { organization, user: approved.user, browsers: &browsers, grant: Some(grant) };
    let denied = recall::deny_all(conn, recall, now).await?;
    let session = session::store::revoke_of_grant(conn, grant, BECAUSE, now).await?;
    let ended = Ended { session, codes: denied.len(), browsers: browsers.len() };
    let told = Report {
        organization: approved.organization.clone(),
        service: approved.service.clone(),
        user: person,
        grant,
        approved_at: approved.approved_at,
        reported_at: now,
        device: Device::of(&approved.device, places),
        reporter: Browser::of(caller, places),
        ended,
    };
    notices.reported(conn, installation, &told).await?;
    let event = |kind| about(installation, kind, organization, approved.user, caller);
    let detail = json!({ "codes_denied": ended.codes, "browsers_signed_out": ended.browsers });
    let mut reported = event(Kind::Reported).service(approved.service_id).grant(grant).detail(detail);
    if let Some(session) = session {
        reported = reported.session(session);
        let because = json!({ "by": "the person", "because": "it was reported" });
        let revoked = event(Kind::Revoked).service(approved.service_id).grant(grant).session(session);
        revoked.detail(because).append(conn).await?;
    }
    for &(grant, service) in &denied {
        let because = json!({ "because": "another approval was reported" });
        let because = if grant == approved.grant { json!({ "because": "it was reported" }) } else { because };
        event(Kind::Denied).service(service).grant(grant).detail(because).append(conn).await?;
    }
    reported.append(conn).await?;
    Ok(Some((ended, denied.into_iter().map(|(grant, _)| grant).collect())))
}

/// The person, whom nobody locks or signs out meanwhile.
async fn lock(conn: &mut PgConnection, user: UserId) -> Result<Person, sqlx::Error> {
    let row = sqlx::query!("SELECT email, name FROM app_user WHERE id = $1 FOR NO KEY UPDATE", user.0)
        .fetch_one(conn)
        .await?;
    Ok(Person { id: user, email: row.email, name: row.name })
}

/// `false`: it was written before.
async fn write(conn: &mut PgConnection, grant: GrantId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let written = sqlx::query!(
        "INSERT INTO report (grant_id, reported_at) VALUES ($1, $2) ON CONFLICT (grant_id) DO NOTHING",
        grant.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(written.rows_affected() == 1)
}

fn about(
    installation: &Installation,
    kind: Kind,
    organization: OrganizationId,
    user: UserId,
    caller: &Caller,
) -> Event {
    Event::new(kind, &installation.clock, &installation.random).of(organization).user(user).caller(caller)
}
