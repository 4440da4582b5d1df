//! `POST /auth/token` with a refresh token: a session goes on (RFC 6749 §6, RFC 9700 §4.14; SPEC §2.3).

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
    let used = refresh_token::read(&installation.keyring, token).ok_or_else(unknown)?;
    if service.refresh == Refresh::Never {
        return Err(OAuthError::invalid_grant("Sessions of this service are not refreshed any more: log in again."));
    }
    let now = installation.clock.now();
    let (session, event) = match store::rotate(&mut tx, used, service.id, service.refresh_idle, caller, now).await? {
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
    if let Some(kind) = event {
        append(&mut tx, endpoints, caller, &session, kind).await?;
    }
    let answer = mint(&mut tx, endpoints, &session, &service, &scopes).await?;
    tx.commit().await?;
    Ok(answer)
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

async fn mint(
    conn: &mut PgConnection,
    endpoints: &Endpoints,
    session: &Session,
    service: &Service,
    scopes: &[String],
) -> Result<TokenAnswer, OAuthError> {
    let user = user::by_id(conn, session.user_id).await?.ok_or_else(OAuthError::server_error)?;
    let given = tokens::Grant { session, service, user: &user, scopes, refreshable: true };
    let now = endpoints.installation.clock.now();
    tokens::mint(&endpoints.installation, &endpoints.signing_keys, &given, now).map_err(|error| {
        tracing::error!(%error, session = %session.id, "tokens can't be minted");
        OAuthError::server_error()
    })
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
