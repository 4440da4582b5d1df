//! One poll redeems an approved grant: it becomes a session, and the session's first tokens are sent (SPEC §2.3).

use chrono::{DateTime, TimeDelta, Utc};

use crate::audit;
use crate::device::grant::{Answer, Approval, Grant};
use crate::device::store;
use crate::device::verification::Number;
use crate::directory::service::Service;
use crate::directory::user;
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::ids::SessionId;
use crate::postgres::PgConnection;
use crate::session::tokens::{self, TokenAnswer};
use crate::session::{self, Session};

use super::Endpoints;
use super::device_authorization::may_log_in;

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
pub async fn redeem(
    endpoints: &Endpoints,
    approved: Approved<'_>,
    given: Given<'_>,
) -> Result<Result<TokenAnswer, OAuthError>, OAuthError> {
    let installation = &endpoints.installation;
    let Approved { grant, approval, service } = approved;
    let now = installation.clock.now();
    let session = Session { dpop_jkt: given.jkt, ..session(endpoints, approved, given.caller, now) };
    let mut tx = installation.pool.begin().await?;
    if !store::redeem(&mut tx, grant.id, session.id, given.number, now).await? {
        return Ok(Err(why_not(&mut tx, approved, now).await?));
    }
    session::store::insert(&mut tx, &session, now).await?;
    audit::Event::new(audit::Kind::Redeemed, &installation.clock, &installation.random)
        .of(grant.organization_id)
        .service(service.id)
        .grant(grant.id)
        .session(session.id)
        .user(approval.user_id)
        .caller(given.caller)
        .append(&mut tx)
        .await?;
    let user = user::by_id(&mut tx, approval.user_id).await?.ok_or_else(OAuthError::server_error)?;
    // Minted before the commit: a key that can't sign leaves the grant approved, and the device polls on.
    let minted = tokens::Grant {
        session: &session,
        service,
        user: &user,
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
    tx.commit().await?;
    Ok(Ok(answer))
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

/// Why an approved grant could not be redeemed: another poll did, or something changed since the approval. An answer, and
/// no error: that would be the database's.
async fn why_not(
    conn: &mut PgConnection,
    approved: Approved<'_>,
    now: DateTime<Utc>,
) -> Result<OAuthError, OAuthError> {
    let current = store::by_id(conn, approved.grant.id).await?;
    if current.is_none_or(|current| !matches!(current.answer(now), Answer::Approved(_))) {
        return Ok(OAuthError::invalid_grant("The tokens of this code were sent to another poll."));
    }
    Ok(may_log_in(approved.service).err().unwrap_or_else(|| {
        OAuthError::access_denied(
            "The account was locked, or what is asked of it has changed since the approval: start again.",
        )
    }))
}
