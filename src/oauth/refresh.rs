//! `POST /auth/token` with a refresh token: a session goes on (RFC 6749 §6, RFC 9700 §4.14; SPEC §2.3).
//!
//! A session that is bound to a key goes on with a proof only (RFC 9449 §5): of the same key where the client is public,
//! of any where it proves a secret besides. A public client's session that was bound to none is bound to the first key
//! that is proven for it.

use axum::http::HeaderMap;

use crate::audit;
use crate::directory::service::{Refresh, Service};
use crate::directory::user;
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::postgres::PgConnection;
use crate::session::store::{self, Rotation};
use crate::session::tokens::{self, TokenAnswer};
use crate::session::{Session, refresh_token};

use super::Endpoints;
use super::client_auth::Credentials;
use super::possession::{self, Possession};
use super::resources;

/// Handles a refresh.
pub async fn handle(
    endpoints: &Endpoints,
    caller: &Caller,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<TokenAnswer, OAuthError> {
    let installation = &endpoints.installation;
    let token = parameters.required("refresh_token")?;
    let credentials = Credentials::read(headers, parameters)?;
    let mut tx = installation.pool.begin().await?;
    let service = credentials.authenticate(&mut tx, &installation.keyring).await?;
    let unknown = || OAuthError::invalid_grant("This refresh token is not known here, or was given to another client.");
    let presented = refresh_token::read(&installation.keyring, token).ok_or_else(unknown)?;
    if service.refresh == Refresh::Never {
        return Err(OAuthError::invalid_grant("Sessions of this service are not refreshed any more: log in again."));
    }
    let now = installation.clock.now();
    let rotation = store::rotate(&mut tx, presented, service.id, service.refresh_idle, caller, now).await?;
    // Without the key nothing happens, not even to a token that was used before: the rotation is rolled back.
    let possession = Possession::of_post(installation, headers, "/auth/token");
    let jkt = match &rotation {
        Rotation::Rotated(session) | Rotation::Repeated(session) | Rotation::Reused(session) => {
            prove(&mut tx, endpoints, &possession, &service, session).await?
        }
        Rotation::Ended(_) | Rotation::Unknown => None,
    };
    let (session, event) = match rotation {
        Rotation::Rotated(session) => (session, Some(audit::Kind::Refreshed)),
        Rotation::Repeated(session) => (session, None),
        Rotation::Reused(session) => {
            append(&mut tx, endpoints, caller, &session, audit::Kind::ReuseDetected).await?;
            tx.commit().await?;
            return Err(OAuthError::invalid_grant(
                "This refresh token was replaced before. Because it was used again, its session has been ended: log in again.",
            ));
        }
        Rotation::Ended(because) => {
            return Err(OAuthError::invalid_grant(format!("This device was signed out: {because}. Log in again.")));
        }
        Rotation::Unknown => return Err(unknown()),
    };
    // Asked too much: the rotation is rolled back, and the token is still the current one.
    let scopes = narrowed(&session, parameters.get("scope"))?;
    let resources = resources::narrowed(parameters, &session.resources)?;
    if let Some(kind) = event {
        append(&mut tx, endpoints, caller, &session, kind).await?;
    }
    let user = user::by_id(&mut tx, session.user_id).await?.ok_or_else(OAuthError::server_error)?;
    let given = tokens::Grant {
        session: &session,
        service: &service,
        user: &user,
        scopes: &scopes,
        resources: &resources,
        jkt,
        refreshable: true,
    };
    let answer = tokens::mint(installation, &endpoints.signing_keys, &given, now).map_err(|error| {
        tracing::error!(%error, session = %session.id, "tokens can't be minted");
        OAuthError::server_error()
    })?;
    tx.commit().await?;
    Ok(answer)
}

/// The thumbprint of the key that the sender proved to hold, for the new access token; `None` for a bearer token.
async fn prove<'a>(
    conn: &mut PgConnection,
    endpoints: &Endpoints,
    possession: &'a Possession,
    service: &Service,
    session: &Session,
) -> Result<Option<&'a str>, OAuthError> {
    let bound_to = session.dpop_jkt.as_deref();
    let Some(proof) = possession.proof(service, bound_to.is_some())? else { return Ok(None) };
    if !service.is_confidential() {
        match bound_to {
            Some(jkt) if jkt == proof.jkt => {}
            Some(_) => return Err(OAuthError::invalid_grant("This login is bound to another key than the proof's.")),
            None => store::bind(conn, session.id, &proof.jkt).await?,
        }
    }
    possession::spend(conn, &endpoints.installation, proof).await?;
    Ok(Some(&proof.jkt))
}

/// The scopes of the new access token: the session's, or fewer when fewer are asked (RFC 6749 §6).
fn narrowed(session: &Session, asked: Option<&str>) -> Result<Vec<String>, OAuthError> {
    let Some(asked) = asked else { return Ok(session.scopes.clone()) };
    let asked: Vec<&str> = asked.split_ascii_whitespace().collect();
    if asked.iter().all(|scope| session.scopes.iter().any(|granted| granted == scope)) {
        let kept = session.scopes.iter().filter(|scope| asked.contains(&scope.as_str()));
        Ok(kept.cloned().collect())
    } else {
        Err(OAuthError::invalid_scope("A refresh can't ask for more than was granted at the login."))
    }
}

async fn append(
    conn: &mut PgConnection,
    endpoints: &Endpoints,
    caller: &Caller,
    session: &Session,
    kind: audit::Kind,
) -> Result<(), OAuthError> {
    let installation = &endpoints.installation;
    let event = audit::Event::new(kind, &installation.clock, &installation.random)
        .of(session.organization_id)
        .service(session.service_id)
        .grant(session.grant_id)
        .session(session.id)
        .user(session.user_id)
        .caller(caller);
    Ok(event.append(conn).await?)
}
