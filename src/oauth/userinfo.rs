//! `GET /auth/userinfo`: who the person is (OpenID Connect Core §5.3).
//!
//! A token that is bound to a key comes as `Authorization: DPoP` with a proof (RFC 9449 §7.1); as Bearer, from whom it may
//! have been copied, it is refused. Others come as Bearer (RFC 6750 §2.1).

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use crate::directory::user::User;
use crate::directory::{service, user};
use crate::dpop::{ALGORITHMS_LIST, Target};
use crate::http::oauth_error::OAuthError;
use crate::ids::ServiceId;
use crate::postgres::PgConnection;
use crate::session::access_token::{self, Claims, Confirmation};
use crate::session::store;

use super::Endpoints;
use super::openapi::{answers, refusals};
use super::possession::{self, Possession};

/// An access token as it was sent.
struct Sent<'a> {
    token: &'a str,
    /// Whether as `DPoP`, and not as `Bearer`.
    as_dpop: bool,
}

/// Handles a look at who the person is, with the access token of a session that goes on.
#[utoipa::path(
    method(get, post),
    path = "/auth/userinfo",
    operation_id = "userinfo",
    tag = "Tokens",
    summary = "Who the person is (OpenID Connect Core §5.3)",
    params(("DPoP" = Option<String>, Header, nullable = false, description = "A proof that the sender holds its key (RFC 9449)")),
    responses((status = 200, description = "Who it is", body = answers::Userinfo), refusals::OfUserinfo),
    security(("access_token" = []))
)]
pub async fn handle(
    State(endpoints): State<Endpoints>,
    method: Method,
    headers: HeaderMap,
) -> Result<Json<Value>, OAuthError> {
    let installation = &endpoints.installation;
    let now = installation.clock.now();
    let sent = sent(&headers);
    let as_dpop = sent.as_ref().is_some_and(|sent| sent.as_dpop);
    let over = || {
        let error =
            OAuthError::invalid_token("The access token is missing, malformed, expired, or its session has ended.");
        challenged(error, as_dpop)
    };
    let sent = sent.ok_or_else(over)?;
    let claims = access_token::read(installation, &endpoints.signing_keys, sent.token).await.ok_or_else(over)?;
    let bound_to = binding(&claims, &sent)?;
    if !claims.has_scope("openid") {
        let error = OAuthError::insufficient_scope("The access token was not granted the scope openid.");
        return Err(challenged(error, as_dpop).with_status(403));
    }
    let mut conn = installation.pool.acquire().await?;
    let standing = store::by_id(&mut conn, claims.session(), now).await?;
    let standing = standing.filter(|standing| standing.ended_because.is_none()).ok_or_else(over)?;
    if let Some(key) = bound_to {
        let url = installation.public_url.join("/auth/userinfo");
        let target = Target { method: method.as_str(), url: &url, access_token: Some(sent.token) };
        let possession = Possession::read(installation, &headers, &target);
        prove(&mut conn, &endpoints, &possession, standing.session.service_id, key).await?;
    }
    let user = user::by_id(&mut conn, claims.user()).await?.ok_or_else(over)?;
    Ok(Json(answer(&claims, &user)))
}

/// The key to which a token is bound, if any; an error when it was not sent as such a token is.
fn binding<'a>(claims: &'a Claims, sent: &Sent<'_>) -> Result<Option<&'a Confirmation>, OAuthError> {
    let wrong = match (&claims.cnf, sent.as_dpop) {
        (Some(_), false) => {
            "This access token is bound to a key: send it as Authorization: DPoP, with a proof in the DPoP header."
        }
        (None, true) => "This access token is bound to no key: send it as Authorization: Bearer.",
        (bound_to, _) => return Ok(bound_to.as_ref()),
    };
    Err(challenged(OAuthError::invalid_token(wrong), claims.cnf.is_some()))
}

/// Whether the sender holds the key.
async fn prove(
    conn: &mut PgConnection,
    endpoints: &Endpoints,
    possession: &Possession,
    service: ServiceId,
    key: &Confirmation,
) -> Result<(), OAuthError> {
    let service = service::by_id(conn, service).await?.ok_or_else(OAuthError::server_error)?;
    let proof = possession.proof(&service, true).map_err(|error| challenged(error, true))?;
    let proof = proof.filter(|proof| proof.jkt == key.jkt).ok_or_else(|| {
        challenged(OAuthError::invalid_token("This access token is bound to another key than the proof's."), true)
    })?;
    let spent = possession::spend(conn, &endpoints.installation, proof).await;
    spent.map_err(|error| if error.is_of_the_server() { error } else { challenged(error, true) })
}

/// An error that says how an access token is sent.
fn challenged(error: OAuthError, as_dpop: bool) -> OAuthError {
    if as_dpop { error.with_dpop_challenge(ALGORITHMS_LIST) } else { error.with_bearer_challenge() }
}

/// The token of `Authorization`; in a query it would end in logs.
fn sent(headers: &HeaderMap) -> Option<Sent<'_>> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let as_dpop = scheme.eq_ignore_ascii_case("dpop");
    (as_dpop || scheme.eq_ignore_ascii_case("bearer")).then_some(Sent { token: token.trim(), as_dpop })
}

fn answer(claims: &Claims, user: &User) -> Value {
    // The organization and the service stand in the access token as well; here they are for clients, which must not read it.
    let mut answer = json!({ "sub": user.id, "org": claims.org, "service": claims.service });
    if let Some(members) = answer.as_object_mut() {
        if let Some(email) = user.email.as_deref().filter(|_| claims.has_scope("email")) {
            members.insert("email".into(), email.into());
            members.insert("email_verified".into(), user.email_verified.into());
        }
        if claims.has_scope("profile") && !user.name.is_empty() {
            members.insert("name".into(), user.name.as_str().into());
        }
    }
    answer
}
