//! Another password for somebody who forgot theirs, given by whoever runs the installation. What was proven by the old one ends.

use serde_json::json;

use crate::audit::{Event, Kind};
use crate::browser;
use crate::device::recall::{self, Recall};
use crate::directory::user::{self, User};
use crate::ids::SessionId;
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::session::devices::{self, Which};

/// What the device's next refresh says: "This device was signed out: …".
const BECAUSE: &str = "the password of the account was reset";

/// Gives the person the password with this hash, ends what they are signed in to, and says so in the audit. In the caller's
/// transaction; returns the sessions, or `None` when there is no such person any more.
///
/// Rows are locked as a [`report`](crate::notice::report) locks them: person, sign-ins, logins, sessions. So a sign-in with the
/// old password is finished before and ended here, or fails.
pub async fn reset(
    conn: &mut PgConnection,
    installation: &Installation,
    person: &User,
    hash: &str,
) -> Result<Option<Vec<SessionId>>, sqlx::Error> {
    let (organization, now) = (person.organization_id, installation.clock.now());
    let event = |kind| Event::new(kind, &installation.clock, &installation.random).of(organization).user(person.id);
    let because = json!({ "because": "the password was reset" });
    if !user::set_password(conn, person.id, hash).await? {
        return Ok(None);
    }
    let what = if person.password_hash.is_some() { "reset" } else { "given" };
    event(Kind::Administered).detail(json!({ "password": what })).append(conn).await?;
    let browsers = browser::store::sign_out_everywhere(conn, person.id).await?;
    let recall = Recall { organization, user: person.id, browsers: &browsers, grant: None };
    for (grant, service) in recall::deny_all(conn, recall, now).await? {
        event(Kind::Denied).service(service).grant(grant).detail(because.clone()).append(conn).await?;
    }
    let ended = devices::end(conn, person.id, Which::All, BECAUSE, now).await?;
    for device in &ended {
        let revoked = event(Kind::Revoked).service(device.service_id).grant(device.grant_id).session(device.id);
        revoked.detail(because.clone()).append(conn).await?;
    }
    Ok(Some(ended.into_iter().map(|device| device.id).collect()))
}
