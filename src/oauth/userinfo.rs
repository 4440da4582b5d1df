//! `GET /auth/userinfo`: who the person is (OpenID Connect Core §5.3).

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::directory::user;
use crate::http::oauth_error::OAuthError;
use crate::session::{access_token, store};

use super::Endpoints;

/// Handles a look at who the person is, with the access token of a session that goes on.
pub async fn handle(State(endpoints): State<Endpoints>, headers: HeaderMap) -> Result<Json<Value>, OAuthError> {
    let installation = &endpoints.installation;
    let now = installation.clock.now();
    let over = || {
        OAuthError::invalid_token("The access token is missing, malformed, expired, or its session has ended.")
            .with_bearer_challenge()
    };
    let token = bearer(&headers).ok_or_else(over)?;
    let claims = access_token::read(installation, &endpoints.signing_keys, token).await.ok_or_else(over)?;
    if !claims.has_scope("openid") {
        return Err(OAuthError::insufficient_scope("The access token was not granted the scope openid.")
            .with_bearer_challenge()
            .with_status(403));
    }
    let mut conn = installation.pool.acquire().await?;
    let standing = store::by_id(&mut conn, claims.session(), now).await?;
    standing.filter(|standing| standing.ended_because.is_none()).ok_or_else(over)?;
    let user = user::by_id(&mut conn, claims.user()).await?.ok_or_else(over)?;
    let mut answer = json!({ "sub": user.id });
    if let Some(members) = answer.as_object_mut() {
        if let Some(email) = user.email.as_deref().filter(|_| claims.has_scope("email")) {
            members.insert("email".into(), email.into());
            members.insert("email_verified".into(), user.email_verified.into());
        }
        if claims.has_scope("profile") && !user.name.is_empty() {
            members.insert("name".into(), user.name.into());
        }
    }
    Ok(Json(answer))
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1); in a query it would end in logs.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
