//! `POST /auth/introspect`: an API asks what a token is worth (RFC 7662).
//!
//! Only confidential clients that are marked as resource servers may ask, and only about tokens of their organization;
//! of all others they learn nothing, not even that they exist.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::directory::service::{self, Service};
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::postgres::PgConnection;
use crate::session::access_token::{self, Claims};
use crate::session::{refresh_token, store};

use super::Endpoints;
use super::client_auth::Credentials;
use super::openapi::{answers, refusals, requests};

/// Handles an introspection.
#[utoipa::path(
    post,
    path = "/auth/introspect",
    operation_id = "introspection",
    tag = "Tokens",
    summary = "An API asks what a token is worth (RFC 7662)",
    request_body(content(
        (requests::AboutToken = "application/x-www-form-urlencoded"),
        (requests::AboutToken = "application/json")
    )),
    responses((status = 200, description = "What it is worth", body = answers::Introspection), refusals::OfPost),
    security((), ("client" = []))
)]
pub async fn handle(
    State(endpoints): State<Endpoints>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Json<Value>, OAuthError> {
    let installation = &endpoints.installation;
    let token = parameters.required("token")?;
    let credentials = Credentials::read(&headers, &parameters)?;
    // Before there is a connection in hand: keys may have to be read again.
    let claims = access_token::read(&endpoints.installation, &endpoints.signing_keys, token).await;
    let mut conn = installation.pool.acquire().await?;
    let asker = credentials.authenticate(&mut conn, &installation.keyring).await?;
    endpoints.keep_secret(&credentials, &asker);
    if !asker.is_confidential() || !asker.resource_server {
        return Err(OAuthError::unauthorized_client(
            "Only confidential clients may introspect tokens, and only with resource_server = true.",
        ));
    }
    let now = installation.clock.now();
    let of_access_token = match claims {
        Some(claims) => access_token(&mut conn, &asker, claims, now).await?,
        None => None,
    };
    let answer = match of_access_token {
        Some(answer) => Some(answer),
        None => refresh_token(&endpoints, &mut conn, &asker, token, now).await?,
    };
    Ok(Json(answer.unwrap_or_else(|| json!({ "active": false }))))
}

async fn access_token(
    conn: &mut PgConnection,
    asker: &Service,
    claims: Claims,
    now: DateTime<Utc>,
) -> Result<Option<Value>, OAuthError> {
    let standing = store::by_id(conn, claims.session(), now).await?;
    let good = standing.is_some_and(|standing| {
        standing.ended_because.is_none() && standing.session.organization_id == asker.organization_id
    });
    if !good {
        return Ok(None);
    }
    let mut answer = json!(claims);
    if let Some(members) = answer.as_object_mut() {
        members.insert("active".into(), true.into());
        members.insert("token_type".into(), claims.token_type().into());
        if let Some(email) = &claims.email {
            members.insert("username".into(), email.as_str().into());
        }
    }
    Ok(Some(answer))
}

async fn refresh_token(
    endpoints: &Endpoints,
    conn: &mut PgConnection,
    asker: &Service,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<Value>, OAuthError> {
    let read = refresh_token::read(&endpoints.installation.keyring, token);
    let Some((id, generation)) = read else { return Ok(None) };
    let Some(standing) = store::by_id(conn, id, now).await? else { return Ok(None) };
    let session = &standing.session;
    if standing.ended_because.is_some()
        || session.generation != generation
        || session.organization_id != asker.organization_id
    {
        return Ok(None);
    }
    let Some(service) = service::by_id(conn, session.service_id).await? else { return Ok(None) };
    // A confidential client's refresh token is bound to its secret, and not to a key (RFC 9449 §5).
    let bound_to = session.dpop_jkt.as_deref().filter(|_| !service.is_confidential());
    let mut answer = json!({
        "active": true,
        "iss": endpoints.installation.public_url.issuer(),
        "sub": session.user_id,
        "client_id": service.client_id,
        "scope": session.scopes.join(" "),
        "sid": session.id,
        "exp": session.idle_expires_at.min(session.expires_at).timestamp(),
        "org": service.organization_slug,
        "service": service.slug,
    });
    if let (Some(members), Some(jkt)) = (answer.as_object_mut(), bound_to) {
        members.insert("cnf".into(), json!({ "jkt": jkt }));
    }
    Ok(Some(answer))
}
