//! The tokens of a session, minted when they are sent and stored nowhere.

use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use serde::Serialize;

use crate::directory::service::Service;
use crate::directory::user::User;
use crate::installation::Installation;

use super::signing_keys::{SigningKeys, SigningKeysError};
use super::{Session, refresh_token};

/// The answer of the token endpoint (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Serialize)]
pub struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Serialize)]
struct AccessTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    /// The service itself, unless the request named resources.
    aud: &'a str,
    client_id: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    scope: &'a str,
    sid: String,
    auth_time: i64,
    amr: &'a [String],
    org: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

/// The claims of an `id_token` (OpenID Connect Core §2, §5.1).
#[derive(Serialize)]
struct IdTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    iat: i64,
    exp: i64,
    sid: String,
    auth_time: i64,
    amr: &'a [String],
    at_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Mints what a session may have.
pub fn mint(
    installation: &Installation,
    keys: &SigningKeys,
    session: &Session,
    service: &Service,
    user: &User,
    now: DateTime<Utc>,
) -> Result<TokenAnswer, SigningKeysError> {
    let granted = |scope: &str| session.scopes.iter().any(|granted| granted == scope);
    let email = user.email.as_deref().filter(|_| granted("email"));
    let lifetime = service.access_token_lifetime.as_secs();
    let expires_at = now.timestamp() + i64::try_from(lifetime).unwrap_or(i64::from(i32::MAX));
    let scope = session.scopes.join(" ");
    let access_token = keys.sign(
        Algorithm::ES256,
        "at+jwt",
        &AccessTokenClaims {
            iss: installation.public_url.issuer(),
            sub: user.id.to_string(),
            aud: &service.client_id,
            client_id: &service.client_id,
            iat: now.timestamp(),
            exp: expires_at,
            jti: crate::ids::uuid_v7(now, &installation.random.bytes()).to_string(),
            scope: &scope,
            sid: session.id.to_string(),
            auth_time: session.auth_time.timestamp(),
            amr: &session.amr,
            org: &service.organization_slug,
            service: &service.slug,
            email,
        },
    )?;
    let id_token = if granted("openid") {
        let claims = IdTokenClaims {
            iss: installation.public_url.issuer(),
            sub: user.id.to_string(),
            aud: &service.client_id,
            iat: now.timestamp(),
            exp: expires_at,
            sid: session.id.to_string(),
            auth_time: session.auth_time.timestamp(),
            amr: &session.amr,
            at_hash: at_hash(&access_token),
            email,
            email_verified: email.map(|_| user.email_verified),
            name: Some(user.name.as_str()).filter(|name| !name.is_empty() && granted("profile")),
        };
        Some(keys.sign(id_token_algorithm(service), "JWT", &claims)?)
    } else {
        None
    };
    let refresh_token = service.gives_refresh_token(&session.scopes).then(|| {
        refresh_token::refresh_token(&installation.keyring, session.id, session.generation).expose().to_owned()
    });
    Ok(TokenAnswer { access_token, token_type: "Bearer", expires_in: lifetime, scope, refresh_token, id_token })
}

fn id_token_algorithm(service: &Service) -> Algorithm {
    if service.id_token_algorithm == "ES256" { Algorithm::ES256 } else { Algorithm::RS256 }
}

/// The left half of the access token's SHA-256 (OpenID Connect Core §3.1.3.6).
fn at_hash(access_token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
    crate::secrets::base64url(digest.as_ref().split_at(16).0)
}
