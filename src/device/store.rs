//! The SQL of device grants. Each step is one conditional UPDATE whose WHERE repeats the precondition, so that however
//! many arrive at once, the database lets one through.

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sqlx::types::Json;
use uuid::Uuid;

use crate::audit;
use crate::directory::fresh_proof::FreshProof;
use crate::directory::user::Profile;
use crate::http::client_address::Caller;
use crate::ids::{BrowserSessionId, EventId, GrantId, UserId};
use crate::postgres::{self, PgConnection};

use super::codes::Length;
use super::grant::{Approval, Device, Grant, MfaProof, State};
use super::nearness::Nearness;
use super::verification::{Number, TRIES};

/// Tells the nodes on which polls wait that a grant was decided. Its payload is the grant's id.
pub const DECISIONS: &str = "countersign_decision";

/// Finds a grant by id, and who approved it, if somebody did.
pub async fn by_id(conn: &mut PgConnection, id: GrantId) -> Result<Option<Grant>, sqlx::Error> {
    // Not as one of many: PostgreSQL keeps the plan of this one, and makes one for each list.
    let row = sqlx::query_as!(
        Row,
        r#"SELECT g.*, (SELECT jsonb_build_object('email', u.email, 'email_verified', u.email_verified, 'name', u.name)
                        FROM app_user u WHERE u.id = g.user_id) AS "person: _"
           FROM device_grant g WHERE g.id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Grant::try_from).transpose()
}

/// Finds these grants, each once, in any order, and who approved each, if somebody did.
pub async fn by_ids(conn: &mut PgConnection, ids: &[GrantId]) -> Result<Vec<Grant>, sqlx::Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT g.*, (SELECT jsonb_build_object('email', u.email, 'email_verified', u.email_verified, 'name', u.name)
                        FROM app_user u WHERE u.id = g.user_id) AS "person: _"
           FROM device_grant g WHERE g.id = ANY($1)"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Grant::try_from).collect()
}

/// Which of these grants aren't open any more: decided, or gone.
pub async fn not_open(conn: &mut PgConnection, grants: &[GrantId]) -> Result<Vec<GrantId>, sqlx::Error> {
    let ids: Vec<_> = grants.iter().map(|grant| grant.0).collect();
    let gone = sqlx::query_scalar!(
        r#"SELECT held AS "held!" FROM unnest($1::uuid[]) held
           WHERE NOT EXISTS (SELECT FROM device_grant WHERE id = held AND state IN ('pending', 'claimed'))"#,
        &ids,
    );
    Ok(gone.fetch_all(conn).await?.into_iter().map(GrantId).collect())
}

/// Finds the grant whose user code can still be typed, by anybody or by the browser that claimed it.
pub async fn by_user_code(
    conn: &mut PgConnection,
    macs: &[Vec<u8>],
    browser: Option<BrowserSessionId>,
    now: DateTime<Utc>,
) -> Result<Option<Grant>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT g.*, NULL::jsonb AS "person: _" FROM device_grant g
           WHERE g.user_code_mac = ANY($1) AND g.expires_at > $3
             AND (g.state = 'pending' OR (g.state = 'claimed' AND g.claimed_by = $2))"#,
        macs,
        browser.map(|id| id.0),
        now,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Grant::try_from).transpose()
}

/// `pending → claimed`, with its event, and the browser's pages are about it: from now on no other browser can act on the grant, and
/// what its service asks to be proven for it is asked whatever comes. `None`: nobody can claim it any more.
pub async fn claim(
    conn: &mut PgConnection,
    macs: &[Vec<u8>],
    browser: BrowserSessionId,
    caller: &Caller,
    event: EventId,
    now: DateTime<Utc>,
) -> Result<Option<Grant>, sqlx::Error> {
    // The current secret's first, with a plan that PostgreSQL keeps; it makes one for each list.
    for mac in macs {
        let row = sqlx::query_as!(
            Row,
            r#"WITH found AS (
                   SELECT g.id, g.organization_id, g.service_id
                   FROM device_grant g JOIN service s ON s.id = g.service_id JOIN organization o ON o.id = s.organization_id
                   WHERE g.user_code_mac = $1 AND g.state = 'pending' AND g.expires_at > $3
                     AND s.device_login AND o.status = 'active'
                   FOR UPDATE OF g),
               about AS (
                   UPDATE browser_session b SET grant_id = found.id, last_seen_at = $3 FROM found WHERE b.id = $2),
               noted AS (
                   INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, ip, user_agent)
                   SELECT $4, $3, $5, organization_id, service_id, id, $6, $7 FROM found)
               UPDATE device_grant g SET state = 'claimed', claimed_by = $2, claimed_at = $3,
                   max_age_seconds = asked_max_age(s, g.scopes), factor = asked_factor(s, g.scopes)
               FROM found JOIN service s ON s.id = found.service_id
               WHERE g.id = found.id
               RETURNING g.*, NULL::jsonb AS "person: _""#,
            mac,
            browser.0,
            now,
            event.0,
            audit::Kind::Claimed.as_str(),
            caller.ip_net(),
            caller.user_agent,
        )
        .fetch_optional(&mut *conn)
        .await?;
        if let Some(row) = row {
            audit::Kind::Claimed.count();
            return Ok(Some(row.try_into()?));
        }
    }
    Ok(None)
}

/// Notes that `user` proved a second factor for this grant, in the browser that claimed it.
pub async fn prove_mfa(
    conn: &mut PgConnection,
    grant: GrantId,
    browser: BrowserSessionId,
    proof: &MfaProof,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query!(
        "UPDATE device_grant SET mfa_user_id = $3, mfa_at = $4, mfa_amr = $5, mfa_borrowed = $7
         WHERE id = $1 AND state = 'claimed' AND claimed_by = $2 AND expires_at > $6",
        grant.0,
        browser.0,
        proof.user_id.0,
        proof.at,
        &proof.amr,
        now,
        proof.borrowed,
    )
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// What a person approves, and how.
#[derive(Clone, Copy, Debug)]
pub struct Consent<'a> {
    /// The scopes that they grant.
    pub scopes: &'a [String],
    /// How near the device is to them.
    pub nearness: Nearness,
    /// What has to be typed into the device, where the service wants that.
    pub number: Number,
    /// The version of the service that the page showed: its trusted networks and required scopes are known to the page alone.
    pub service_version: &'a str,
}

/// `claimed → approved`, by the user who is signed in to this browser, with all that the policies, the service and what
/// it asks for want to be proven, of scopes that were asked for, from as near as the service wants it, while the service is as
/// the page knows it. Gives the device at least three intervals to come for it, and where the service wants a number typed
/// into it, at least two minutes.
///
/// The sign-in is locked: whoever signs the person out everywhere ([`super::recall`]) either finds the approval made, or
/// it isn't.
pub async fn approve(
    conn: &mut PgConnection,
    grant: GrantId,
    browser: BrowserSessionId,
    user: UserId,
    consent: &Consent<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Grant>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE device_grant g
           SET state = 'approved', user_id = $3, granted_scopes = $4, decided_at = $5, auth_time = b.auth_time,
               amr = CASE WHEN g.mfa_user_id = $3
                     THEN b.amr || ARRAY(SELECT m FROM unnest(g.mfa_amr) m WHERE m <> ALL (b.amr)) ELSE b.amr END,
               verification_number = CASE s.verification WHEN 'number' THEN $6::smallint END,
               expires_at = greatest(g.expires_at, $5 + make_interval(secs => greatest(
                   3 * g.poll_interval_seconds, CASE s.verification WHEN 'number' THEN 120 ELSE 0 END))),
               approved_from_afar = $8, proven_at = b.proven_at, proven_for = b.grant_id
           FROM (SELECT * FROM browser_sign_in WHERE browser_session_id = $2 AND user_id = $3 FOR SHARE) b
                JOIN app_user u ON u.id = b.user_id
                JOIN organization o ON o.id = b.organization_id
                JOIN service s ON s.organization_id = o.id
           WHERE g.id = $1 AND g.state = 'claimed' AND g.claimed_by = $2 AND g.expires_at > $5 AND $4 <@ g.scopes
             AND s.id = g.service_id AND s.device_login AND o.status = 'active' AND u.status = 'active'
             AND (s.proximity <> 'block' OR $7) AND s.xmin::text || '.' || o.xmin::text = $9
             AND b.browser_session_id = $2 AND b.organization_id = g.organization_id AND b.user_id = $3
             AND proven_as_asked(g, s, o.mfa, u.id, b.proven_at, b.grant_id, $5)
           RETURNING g.*, jsonb_build_object(
               'email', u.email, 'email_verified', u.email_verified, 'name', u.name) AS "person: _""#,
        grant.0,
        browser.0,
        user.0,
        consent.scopes,
        now,
        consent.number.get(),
        consent.nearness.is_near(),
        consent.nearness.is_afar(),
        consent.service_version,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if row.is_some() {
        notify(conn, grant).await?;
    }
    row.map(Grant::try_from).transpose()
}

/// `claimed → denied`, by the browser that claimed it.
pub async fn deny(
    conn: &mut PgConnection,
    grant: GrantId,
    browser: BrowserSessionId,
    user: Option<UserId>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let denied = sqlx::query!(
        "UPDATE device_grant SET state = 'denied', decided_at = $3, user_id = $4
         WHERE id = $1 AND state = 'claimed' AND claimed_by = $2 AND expires_at > $3",
        grant.0,
        browser.0,
        now,
        user.map(|id| id.0),
    )
    .execute(&mut *conn)
    .await?;
    if denied.rows_affected() == 1 {
        notify(conn, grant).await?;
    }
    Ok(denied.rows_affected() == 1)
}

/// Notes that the device of an approved grant sent another number than the page showed; with the last try it is
/// `approved → denied`. How often that was, or `None` if the grant isn't waiting for a number any more.
pub async fn wrong_number(
    conn: &mut PgConnection,
    grant: GrantId,
    number: Option<Number>,
    now: DateTime<Utc>,
) -> Result<Option<i16>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE device_grant
         SET wrong_numbers = wrong_numbers + 1,
             state = CASE WHEN wrong_numbers + 1 >= $4 THEN 'denied' ELSE state END
         WHERE id = $1 AND state = 'approved' AND expires_at > $3
           AND verification_number IS NOT NULL AND verification_number IS DISTINCT FROM $2
         RETURNING wrong_numbers",
        grant.0,
        number.map(Number::get),
        now,
        i32::from(TRIES),
    )
    .fetch_optional(conn)
    .await
}

/// Sent when the transaction commits, and only then.
pub(super) async fn notify(conn: &mut PgConnection, grant: GrantId) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify($1, $2)", DECISIONS, grant.to_string()).execute(conn).await?;
    Ok(())
}

/// A row as it is stored.
struct Row {
    id: Uuid,
    organization_id: Uuid,
    service_id: Uuid,
    state: String,
    user_code_mac: Option<Vec<u8>>,
    user_code_length: i16,
    scopes: Vec<String>,
    resources: Vec<String>,
    dpop_jkt: Option<String>,
    poll_interval_seconds: i16,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    device_name: Option<String>,
    user_agent: Option<String>,
    ip: IpNet,
    claimed_by: Option<Uuid>,
    claimed_at: Option<DateTime<Utc>>,
    mfa_user_id: Option<Uuid>,
    mfa_at: Option<DateTime<Utc>>,
    mfa_amr: Vec<String>,
    user_id: Option<Uuid>,
    auth_time: Option<DateTime<Utc>>,
    amr: Vec<String>,
    granted_scopes: Option<Vec<String>>,
    #[expect(dead_code, reason = "rows are read whole")]
    decided_at: Option<DateTime<Utc>>,
    redeemed_at: Option<DateTime<Utc>>,
    session_id: Option<Uuid>,
    #[expect(dead_code, reason = "rows are read whole")]
    expiry_noted: bool,
    verification_number: Option<i16>,
    wrong_numbers: i16,
    #[expect(dead_code, reason = "rows are read whole")]
    approved_from_afar: bool,
    #[expect(dead_code, reason = "rows are read whole")]
    suspected_at: Option<DateTime<Utc>>,
    max_age_seconds: Option<i32>,
    factor: Option<String>,
    mfa_borrowed: bool,
    #[expect(dead_code, reason = "rows are read whole")]
    proven_at: Option<DateTime<Utc>>,
    #[expect(dead_code, reason = "rows are read whole")]
    proven_for: Option<Uuid>,
    /// Who approved it.
    person: Option<Json<Profile>>,
}

impl TryFrom<Row> for Grant {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let approved = (row.user_id, row.person, row.auth_time, row.granted_scopes);
        let state = match (row.state.as_str(), approved) {
            ("pending", ..) => State::Pending,
            ("claimed", ..) => State::Claimed,
            ("denied", ..) => State::Denied { by_numbers: row.wrong_numbers >= TRIES },
            ("approved", (Some(user), Some(Json(person)), Some(auth_time), Some(scopes))) => {
                let number = row.verification_number.and_then(Number::stored).map(|number| (number, row.wrong_numbers));
                State::Approved(Approval { user_id: user.into(), person, auth_time, amr: row.amr, scopes, number })
            }
            ("redeemed", ..) => match (row.redeemed_at, row.session_id) {
                (Some(at), Some(session)) => State::Redeemed { at, session: session.into() },
                _ => return Err(postgres::impossible_row("device_grant")),
            },
            _ => return Err(postgres::impossible_row("device_grant")),
        };
        let user_code_length = usize::try_from(row.user_code_length).ok().and_then(Length::of);
        Ok(Self {
            id: row.id.into(),
            organization_id: row.organization_id.into(),
            service_id: row.service_id.into(),
            state,
            claimed_by: row.claimed_by.map(BrowserSessionId),
            claimed_at: row.claimed_at,
            scopes: row.scopes,
            resources: row.resources,
            dpop_jkt: row.dpop_jkt,
            poll_interval: row.poll_interval_seconds,
            user_code_length: user_code_length.ok_or_else(|| postgres::impossible_row("device_grant"))?,
            user_code_mac: row.user_code_mac,
            created_at: row.created_at,
            expires_at: row.expires_at,
            device: Device { name: row.device_name, user_agent: row.user_agent, ip: row.ip.addr() },
            mfa: match (row.mfa_user_id, row.mfa_at) {
                (Some(user), Some(at)) => {
                    Some(MfaProof { user_id: user.into(), at, amr: row.mfa_amr, borrowed: row.mfa_borrowed })
                }
                _ => None,
            },
            fresh_proof: FreshProof::stored(row.max_age_seconds, row.factor.as_deref())?,
        })
    }
}
