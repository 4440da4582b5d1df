//! One poll redeems an approved grant: it becomes a session, and the session's first tokens are sent (SPEC §2.3).

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;

use crate::audit;
use crate::device::grant::{Answer, Approval, Grant};
use crate::device::store;
use crate::device::verification::Number;
use crate::directory::known::Compared;
use crate::directory::service::Service;
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::ids::{EventId, SessionId};
use crate::postgres::PgConnection;
use crate::session::Session;
use crate::session::tokens::{self, TokenAnswer};
use crate::telemetry::metrics;

use super::Endpoints;
use super::device_authorization::may_log_in;
use super::token;

/// What a look at the database found to be approved.
#[derive(Clone, Copy)]
pub struct Approved<'a> {
    /// The login.
    pub grant: &'a Grant,
    /// What the person approved.
    pub approval: &'a Approval,
    /// What asked.
    pub service: &'a Service,
}

/// What a poll that redeems came with.
pub struct Given<'a> {
    /// Who sent it.
    pub caller: &'a Caller,
    /// The APIs that the first access token is for.
    pub resources: &'a [String],
    /// The thumbprint of the key that the session is bound to.
    pub jkt: Option<String>,
    /// The number that the page showed.
    pub number: Option<Number>,
}

/// Makes a session of an approved grant, once, and mints its tokens. An error is the database's, or a fault of ours.
///
/// The tokens are minted first: a key that can't sign leaves the grant approved, and the device polls on. Whoever doesn't get
/// to redeem it throws them away; nobody has seen them, and there is no session that they would be good for. If it can't be known
/// whether it was redeemed, it is taken back ([`Doubts`](super::Doubts)).
pub async fn redeem(
    conn: &mut PgConnection,
    endpoints: &Endpoints,
    approved: Approved<'_>,
    given: Given<'_>,
) -> Result<Result<TokenAnswer, OAuthError>, OAuthError> {
    let installation = &endpoints.installation;
    let Approved { grant, approval, service } = approved;
    let now = installation.clock.now();
    let session = Session { dpop_jkt: given.jkt, ..session(endpoints, approved, given.caller, now) };
    let minted = tokens::Grant {
        session: &session,
        service,
        person: &approval.person,
        scopes: &session.scopes,
        resources: given.resources,
        jkt: session.dpop_jkt.as_deref(),
        refreshable: service.gives_refresh_token(&session.scopes),
    };
    let minted = tokens::mint(installation, &endpoints.signing_keys, &minted, now);
    let answer = minted.map_err(|error| {
        tracing::error!(%error, grant = %grant.id, "tokens can't be minted");
        OAuthError::server_error()
    })?;
    let event = EventId::new(now, &installation.random.bytes());
    let redeeming = endpoints.doubts.about(grant.id, session.id, now);
    let redeemed = write(conn, &session, approved, given.number, event, now).await?;
    redeeming.settled();
    if redeemed {
        return Ok(Ok(answer));
    }
    let current = store::by_id(conn, grant.id).await?;
    if endpoints.services.compare(conn, service).await? == Compared::Changed {
        return Ok(Err(changed()));
    }
    Ok(Err(why_not(endpoints, current.as_ref(), approved, now)))
}

/// `approved → redeemed`, the session and the event, in one statement: if organization, service, user and what was proven
/// when it was decided still are as the approval needs them, the number is the one that the page showed, if it showed one,
/// the person is called what the tokens say, and the client is the version that was looked at: services are remembered, and a change
/// is heard of a moment later. Exactly one of any number of callers is told `true`.
///
/// `u.id = g.user_id` would say the same of the person, and let PostgreSQL read the whole index of decided grants instead of the one
/// row: while its statistics have none of them, that looks as cheap.
async fn write(
    conn: &mut PgConnection,
    session: &Session,
    Approved { approval: Approval { person, .. }, service, .. }: Approved<'_>,
    number: Option<Number>,
    event: EventId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let approved_at: Option<DateTime<Utc>> = sqlx::query_scalar!(
        r#"WITH redeemed AS (
               UPDATE device_grant g SET state = 'redeemed', redeemed_at = $3, session_id = $2
               FROM service s, organization o, app_user u
               WHERE g.id = $1 AND g.state = 'approved' AND g.expires_at > $3
                 AND s.id = g.service_id AND s.device_login
                 AND o.id = g.organization_id AND o.status = 'active'
                 AND u.id = $18 AND g.user_id IS NOT DISTINCT FROM u.id AND u.status = 'active'
                 AND (u.email, u.email_verified, u.name) IS NOT DISTINCT FROM ($5::text, $6::boolean, $7::text)
                 AND s.xmin::text || '.' || o.xmin::text = $17
                 AND (g.verification_number IS NULL OR g.verification_number = $4)
                 AND proven_as_asked(g, s, o.mfa, u.id, g.proven_at, g.proven_for, g.decided_at)
               RETURNING g.*),
           made AS (
               INSERT INTO session (id, organization_id, service_id, user_id, grant_id, scopes, resources, dpop_jkt,
                   auth_time, amr, name, user_agent, ip, last_ip, created_at, last_seen_at, generation,
                   idle_expires_at, expires_at)
               SELECT session_id, organization_id, service_id, user_id, id, granted_scopes, resources, $8,
                   auth_time, amr, $9, $10, $11, $11, $3, $3, $12, $13, $14 FROM redeemed),
           noted AS (
               INSERT INTO audit_event (id, at, kind, organization_id, service_id, grant_id, session_id, user_id, ip,
                   user_agent)
               SELECT $15, $3, $16, organization_id, service_id, id, session_id, user_id, $11, $10 FROM redeemed)
           SELECT (SELECT decided_at FROM redeemed) AS "approved_at?""#,
        session.grant_id.0,
        session.id.0,
        now,
        number.map(Number::get),
        person.email,
        person.email_verified,
        person.name,
        session.dpop_jkt,
        session.name,
        session.user_agent,
        IpNet::from(session.ip),
        session.generation,
        session.idle_expires_at,
        session.expires_at,
        event.0,
        audit::Kind::Redeemed.as_str(),
        service.version,
        session.user_id.0,
    )
    .fetch_one(conn)
    .await?;
    if let Some(approved_at) = approved_at {
        audit::Kind::Redeemed.count();
        // Two servers' clocks may have told the two times.
        metrics::tokens_after_approval((now - approved_at).to_std().unwrap_or_default());
    }
    Ok(approved_at.is_some())
}

fn session(
    endpoints: &Endpoints,
    Approved { grant, approval, service }: Approved<'_>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Session {
    let after = |life| now + TimeDelta::from_std(life).unwrap_or(TimeDelta::days(90));
    Session {
        id: SessionId::new(now, &endpoints.installation.random.bytes()),
        organization_id: grant.organization_id,
        service_id: grant.service_id,
        user_id: approval.user_id,
        grant_id: grant.id,
        scopes: approval.scopes.clone(),
        resources: grant.resources.clone(),
        dpop_jkt: grant.dpop_jkt.clone(),
        auth_time: approval.auth_time,
        amr: approval.amr.clone(),
        name: grant.device.name.clone().unwrap_or_else(|| service.name.clone()),
        user_agent: caller.user_agent.clone(),
        ip: caller.ip,
        generation: 0,
        idle_expires_at: after(service.refresh_idle),
        expires_at: after(service.refresh_absolute),
    }
}

/// Why an approved grant could not be redeemed: another poll did, or something changed since the look.
fn why_not(endpoints: &Endpoints, current: Option<&Grant>, approved: Approved<'_>, now: DateTime<Utc>) -> OAuthError {
    match current.map(|current| current.answer(now)) {
        Some(Answer::Approved(current)) if current.person != approved.approval.person => changed(),
        Some(Answer::Approved(_)) => may_log_in(approved.service).err().unwrap_or_else(|| {
            OAuthError::access_denied(
                "The account was locked, or what is asked of it has changed since the approval: start again.",
            )
        }),
        // Its poll was given up by whoever waited for it, and it was done all the same.
        Some(Answer::Redeemed(other) | Answer::Replayed(other)) if endpoints.doubts.hold(other) => in_doubt(),
        Some(Answer::Denied) => token::denied(),
        Some(Answer::Expired) => token::expired(),
        _ => OAuthError::invalid_grant("The tokens of this code were sent to another poll."),
    }
}

/// The answer when what was looked at isn't so any more.
fn changed() -> OAuthError {
    OAuthError::authorization_pending("The account or the service was changed at this moment: poll again.")
}

/// The answer while it isn't known whether the tokens were sent.
pub fn in_doubt() -> OAuthError {
    OAuthError::authorization_pending(
        "The tokens of this code were lost on their way, and are made anew: keep polling at the same interval.",
    )
}
