//! The SQL of sessions. A rotation is one conditional UPDATE: however many refreshes arrive at once, one rotates. A session is
//! made by the statement that redeems its grant (`oauth/redemption.rs`).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use uuid::Uuid;

use crate::audit::Kind;
use crate::directory::service::Service;
use crate::directory::user::Profile;
use crate::http::client_address::Caller;
use crate::ids::{EventId, GrantId, SessionId};
use crate::postgres::PgConnection;

use super::Session;

/// How long after a rotation the token before is answered with the same successor: its answer may have been lost, or
/// another process of the client asked at the same time (SPEC §2.3).
const REPEATABLE: TimeDelta = TimeDelta::seconds(30);

/// Ends a session; `false` when it had ended.
pub async fn revoke(
    conn: &mut PgConnection,
    session: SessionId,
    because: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let revoked = sqlx::query!(
        "UPDATE session SET revoked_at = $2, revoked_because = $3 WHERE id = $1 AND revoked_at IS NULL",
        session.0,
        now,
        because,
    )
    .execute(conn)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Ends the session that a grant became; `None` when there is none, or it had ended.
pub async fn revoke_of_grant(
    conn: &mut PgConnection,
    grant: GrantId,
    because: &str,
    now: DateTime<Utc>,
) -> Result<Option<SessionId>, sqlx::Error> {
    let revoked = sqlx::query_scalar!(
        "UPDATE session SET revoked_at = $2, revoked_because = $3 WHERE grant_id = $1 AND revoked_at IS NULL RETURNING id",
        grant.0,
        now,
        because,
    )
    .fetch_optional(conn)
    .await?;
    Ok(revoked.map(SessionId))
}

/// Binds a session that was bound to no key to this one; from now on its refreshes need it. `false`: it was bound meanwhile.
pub async fn bind(conn: &mut PgConnection, session: SessionId, jkt: &str) -> Result<bool, sqlx::Error> {
    let bound = sqlx::query!("UPDATE session SET dpop_jkt = $2 WHERE id = $1 AND dpop_jkt IS NULL", session.0, jkt)
        .execute(conn)
        .await?;
    Ok(bound.rows_affected() == 1)
}

/// A session and whether it goes on.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The session.
    pub session: Session,
    /// What tokens say of its person.
    pub person: Profile,
    /// When its current refresh token came to be.
    pub rotated_at: Option<DateTime<Utc>>,
    /// Why it doesn't go on, in words that end a sentence; `None` while it does.
    pub ended_because: Option<String>,
    /// The version of its client.
    client_version: String,
}

/// Finds a session, with what its account, organization and client say of it.
pub async fn by_id(
    conn: &mut PgConnection,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT s.*, u.status AS "user_status!", u.email, u.email_verified AS "email_verified!", u.name AS "person_name!",
                  o.status AS "organization_status!", c.xmin::text || '.' || o.xmin::text AS "client_version!"
           FROM session s JOIN app_user u ON u.id = s.user_id JOIN organization o ON o.id = s.organization_id
                JOIN service c ON c.id = s.service_id
           WHERE s.id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.standing(now)))
}

/// What a refresh token of a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// The current one.
    Current,
    /// It was the current one a moment ago: the same successor again.
    Repeated,
    /// It was replaced before: it is in two hands.
    Reused,
    /// The session is over, for this reason.
    Ended(String),
    /// No session has had it: the database was restored from before it.
    Unknown,
}

impl Standing {
    /// Whether this service is the session's client as it is now. Services are remembered, and a change is heard of a moment later.
    #[must_use]
    pub fn is_of(&self, service: &Service) -> bool {
        self.session.service_id == service.id && self.client_version == service.version
    }

    /// What the refresh token of this generation is.
    #[must_use]
    pub fn use_of(&self, generation: i32, now: DateTime<Utc>) -> Use {
        let current = self.session.generation;
        let repeatable = self.rotated_at.is_some_and(|at| now - at <= REPEATABLE);
        match &self.ended_because {
            Some(because) => Use::Ended(because.clone()),
            None if generation == current => Use::Current,
            None if generation == current - 1 && repeatable => Use::Repeated,
            None if generation < current => Use::Reused,
            None => Use::Unknown,
        }
    }
}

/// A session's next refresh token.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// How long the session goes on unused.
    pub idle: Duration,
    /// The thumbprint of the key that refreshes need from now on.
    pub jkt: Option<&'a str>,
    /// Who asks.
    pub caller: &'a Caller,
    /// That of the event which says so.
    pub event: EventId,
}

/// Puts a session's next refresh token in the place of the current one, and appends the event, in one statement. `false`: the
/// session, its client, or what tokens say of its person, isn't any more as it was looked at. Of any number of callers one is told `true`.
pub async fn rotate(
    conn: &mut PgConnection,
    Standing { session, person, client_version, .. }: &Standing,
    rotation: Rotation<'_>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let rotated = sqlx::query_scalar!(
        r#"WITH rotated AS (
               UPDATE session s
               SET generation = s.generation + 1, rotated_at = $3, idle_expires_at = $4, last_seen_at = $3, last_ip = $5,
                   dpop_jkt = $6
               FROM app_user u, organization o, service c
               WHERE s.id = $1 AND s.generation = $2 AND s.dpop_jkt IS NOT DISTINCT FROM $7
                 AND s.revoked_at IS NULL AND s.idle_expires_at > $3 AND s.expires_at > $3
                 AND u.id = s.user_id AND u.status = 'active' AND o.id = s.organization_id AND o.status = 'active'
                 AND (u.email, u.email_verified, u.name) IS NOT DISTINCT FROM ($8::text, $9::boolean, $10::text)
                 AND c.id = s.service_id AND c.xmin::text || '.' || o.xmin::text = $14
               RETURNING s.id, s.organization_id, s.service_id, s.grant_id, s.user_id),
           noted AS (
               INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, ip,
                   user_agent)
               SELECT $11, $3, $12, organization_id, service_id, grant_id, id, user_id, $5, $13 FROM rotated)
           SELECT EXISTS (SELECT FROM rotated) AS "rotated!""#,
        session.id.0,
        session.generation,
        now,
        now + TimeDelta::from_std(rotation.idle).unwrap_or(TimeDelta::days(30)),
        rotation.caller.ip_net(),
        rotation.jkt,
        session.dpop_jkt,
        person.email,
        person.email_verified,
        person.name,
        rotation.event.0,
        Kind::Refreshed.as_str(),
        rotation.caller.user_agent,
        client_version,
    )
    .fetch_one(conn)
    .await?;
    if rotated {
        Kind::Refreshed.count();
    }
    Ok(rotated)
}

/// A row as it is stored, with what decides on it.
struct Row {
    id: Uuid,
    organization_id: Uuid,
    service_id: Uuid,
    user_id: Uuid,
    grant_id: Uuid,
    scopes: Vec<String>,
    resources: Vec<String>,
    dpop_jkt: Option<String>,
    auth_time: DateTime<Utc>,
    amr: Vec<String>,
    name: String,
    user_agent: Option<String>,
    ip: IpNet,
    #[expect(dead_code, reason = "rows are read whole")]
    last_ip: IpNet,
    #[expect(dead_code, reason = "rows are read whole")]
    created_at: DateTime<Utc>,
    #[expect(dead_code, reason = "rows are read whole")]
    last_seen_at: DateTime<Utc>,
    generation: i32,
    rotated_at: Option<DateTime<Utc>>,
    idle_expires_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_because: Option<String>,
    user_status: String,
    email: Option<String>,
    email_verified: bool,
    person_name: String,
    organization_status: String,
    client_version: String,
}

impl Row {
    fn standing(self, now: DateTime<Utc>) -> Standing {
        let ended_because = match &self.revoked_because {
            Some(because) => Some(because.clone()),
            None if self.revoked_at.is_some() => Some("it was revoked".to_owned()),
            None if self.expires_at <= now => Some("it reached its longest life".to_owned()),
            None if self.idle_expires_at <= now => Some("it was not used for too long".to_owned()),
            None if self.organization_status != "active" => Some("the organization is suspended".to_owned()),
            None if self.user_status != "active" => Some("the account is locked".to_owned()),
            None => None,
        };
        let session = Session {
            id: self.id.into(),
            organization_id: self.organization_id.into(),
            service_id: self.service_id.into(),
            user_id: self.user_id.into(),
            grant_id: self.grant_id.into(),
            scopes: self.scopes,
            resources: self.resources,
            dpop_jkt: self.dpop_jkt,
            auth_time: self.auth_time,
            amr: self.amr,
            name: self.name,
            user_agent: self.user_agent,
            ip: self.ip.addr(),
            generation: self.generation,
            idle_expires_at: self.idle_expires_at,
            expires_at: self.expires_at,
        };
        let person = Profile { email: self.email, email_verified: self.email_verified, name: self.person_name };
        let (rotated_at, client_version) = (self.rotated_at, self.client_version);
        Standing { session, person, rotated_at, ended_because, client_version }
    }
}
