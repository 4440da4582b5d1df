//! Discovery (RFC 8414, OpenID Connect Discovery) and the public keys (RFC 7517 §5).

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::directory::service::COMMON_SCOPES;
use crate::dpop;

use super::openapi::{answers, refusals};
use super::token::LONGEST_WAIT;
use super::{DEVICE_CODE_GRANT, Endpoints};

/// How long a client may keep these answers. Short beside the life of a key, which is published before it signs.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The same document at both well-known addresses. Strict clients fail without some members that are of no use here.
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    operation_id = "authorization_server_metadata",
    tag = "Discovery",
    summary = "The metadata (RFC 8414, OpenID Connect Discovery)",
    responses((status = 200, description = "The metadata", body = answers::Metadata), refusals::OfDiscovery)
)]
pub async fn metadata(State(endpoints): State<Endpoints>) -> Response {
    let url = &endpoints.installation.public_url;
    let document = json!({
        "issuer": url.issuer(),
        // There is no authorization code flow here; the page at which people approve is the nearest thing.
        "authorization_endpoint": url.join("/activate"),
        "device_authorization_endpoint": url.join("/auth/device/code"),
        "token_endpoint": url.join("/auth/token"),
        "revocation_endpoint": url.join("/auth/revoke"),
        "introspection_endpoint": url.join("/auth/introspect"),
        "jwks_uri": url.join("/.well-known/jwks.json"),
        "userinfo_endpoint": url.join("/auth/userinfo"),
        "grant_types_supported": [DEVICE_CODE_GRANT, "refresh_token"],
        "response_types_supported": ["none"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "scopes_supported": COMMON_SCOPES.map(|(name, _)| name),
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "dpop_signing_alg_values_supported": dpop::ALGORITHMS,
        "device_verification_methods_supported": ["number"],
        "device_poll_wait_max": LONGEST_WAIT.as_secs(),
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "amr", "sid", "org", "service", "email", "email_verified", "name"],
    });
    cached(document)
}

/// The public keys that verify tokens.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "jwks",
    tag = "Discovery",
    summary = "The public keys (RFC 7517 §5)",
    responses((status = 200, description = "The keys", body = answers::JwkSet), refusals::OfDiscovery)
)]
pub async fn jwks(State(endpoints): State<Endpoints>) -> Response {
    cached(json!(endpoints.signing_keys.public()))
}

fn cached(document: Value) -> Response {
    ([(header::CACHE_CONTROL, CACHE)], Json(document)).into_response()
}
