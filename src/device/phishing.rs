//! The signature of a phishing kit: one machine asks for codes, and many people elsewhere approve them.
//!
//! Counted are people, not codes, and only those who approved from another network than the device's. So an office that
//! shares one address counts for nothing, however many log in there on a Monday morning, and neither does somebody who
//! logs in again and again. What is left are machines on which many people work from afar: jump hosts, shared servers,
//! build machines. A service lists them as its trusted networks.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;

use crate::config::Phishing;
use crate::http::client_address::subscriber;
use crate::ids::{GrantId, UserId};
use crate::postgres::PgConnection;

use super::grant::Grant;
use super::nearness::Nearness;

/// Others who approved devices of one address lately, and so many that somebody collects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// How many people.
    pub people: i64,
    /// Within which time.
    pub within: Duration,
}

/// Whether a login bears the signature, to be approved by `person` from so far.
pub async fn suspicion(
    conn: &mut PgConnection,
    signature: Phishing,
    grant: &Grant,
    nearness: Nearness,
    person: UserId,
    now: DateTime<Utc>,
) -> Result<Option<Suspicion>, sqlx::Error> {
    if !nearness.is_afar() || signature.people == 0 {
        return Ok(None);
    }
    let within = TimeDelta::from_std(signature.within).unwrap_or(TimeDelta::hours(1));
    let people = people_elsewhere(conn, grant, person, now - within).await?;
    let suspicious = people >= i64::from(signature.people);
    Ok(suspicious.then_some(Suspicion { people, within: signature.within }))
}

/// How many other people approved, from afar, a code of the same service and of the same address: for IPv6 of the same
/// /64, in which a machine may take what address it likes. The index `device_grant_from_afar` answers: it is in order of
/// service, address and time, so that one address is one range of it, and it holds approvals from afar only.
async fn people_elsewhere(
    conn: &mut PgConnection,
    grant: &Grant,
    person: UserId,
    since: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    let network = subscriber(grant.device.ip);
    // As hosts, in whose order the addresses of devices are stored.
    let [first, last] = [network.network(), network.broadcast()].map(IpNet::from);
    sqlx::query_scalar!(
        r#"SELECT count(DISTINCT user_id) AS "count!" FROM device_grant
           WHERE service_id = $1 AND ip BETWEEN $2 AND $3 AND decided_at > $4 AND user_id <> $5
             AND approved_from_afar AND state IN ('approved', 'redeemed')"#,
        grant.service_id.0,
        first,
        last,
        since,
        person.0,
    )
    .fetch_one(conn)
    .await
}

/// Notes that the approver is being warned. `true` the first time: then the page in front of them said nothing of it.
pub async fn note(conn: &mut PgConnection, grant: GrantId, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query!(
        "UPDATE device_grant SET suspected_at = $2 WHERE id = $1 AND state = 'claimed' AND suspected_at IS NULL",
        grant.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}
