//! `POST /auth/revoke`: a client gives its tokens back, and the session ends (RFC 7009).

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::audit;
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::ids::SessionId;
use crate::session::{access_token, refresh_token, store};

use super::Endpoints;
use super::client_auth::Credentials;
use super::openapi::{answers, refusals, requests};

/// Handles a revocation. A token that is unknown or over is as good as revoked (RFC 7009 §2.2).
#[utoipa::path(
    post,
    path = "/auth/revoke",
    operation_id = "revocation",
    tag = "Tokens",
    summary = "A client gives its tokens back, and the session ends (RFC 7009)",
    request_body(content(
        (requests::AboutToken = "application/x-www-form-urlencoded"),
        (requests::AboutToken = "application/json")
    )),
    responses((status = 200, description = "Whatever it was, it is good for nothing now", body = answers::Done), refusals::OfPost),
    security((), ("client" = []))
)]
pub async fn handle(
    State(endpoints): State<Endpoints>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Json<Value>, OAuthError> {
    let installation = &endpoints.installation;
    let token = parameters.required("token")?;
    let credentials = Credentials::read(&headers, &parameters)?;
    // Before there is a connection in hand: keys may have to be read again.
    let session = session_of(&endpoints, token).await;
    let mut tx = installation.pool.begin().await?;
    let service = credentials.authenticate(&mut tx, &installation.keyring).await?;
    endpoints.keep_secret(&credentials, &service);
    let now = installation.clock.now();
    let Some(id) = session else { return Ok(done()) };
    let Some(standing) = store::by_id(&mut tx, id, now).await? else { return Ok(done()) };
    let session = standing.session;
    if session.service_id != service.id {
        return Err(OAuthError::invalid_grant("This token was given to another client, which alone can revoke it."));
    }
    if store::revoke(&mut tx, id, "its tool gave its tokens back", now).await? {
        audit::Event::new(audit::Kind::Revoked, &installation.clock, &installation.random)
            .of(session.organization_id)
            .service(session.service_id)
            .grant(session.grant_id)
            .session(id)
            .user(session.user_id)
            .caller(&caller)
            .detail(json!({ "because": "revoked by the client" }))
            .append(&mut tx)
            .await?;
        tx.commit().await?;
    }
    Ok(done())
}

/// The session of a token of either kind. `token_type_hint` isn't needed: each kind tells itself.
async fn session_of(endpoints: &Endpoints, token: &str) -> Option<SessionId> {
    let installation = &endpoints.installation;
    if let Some((session, _)) = refresh_token::read(&installation.keyring, token) {
        return Some(session);
    }
    let claims = access_token::read_even_if_ended(installation, &endpoints.signing_keys, token).await?;
    Some(claims.session())
}

/// Clients that read every answer as JSON find some.
fn done() -> Json<Value> {
    Json(json!({}))
}
