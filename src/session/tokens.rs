//! The tokens of a session, minted when they are sent and stored nowhere.

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use serde::Serialize;

use crate::directory::service::Service;
use crate::directory::user::Profile;
use crate::installation::Installation;

use super::access_token::{Audience, Claims, Confirmation};
use super::signing_keys::{SigningKeys, SigningKeysError};
use super::{Session, access_token, refresh_token};

/// The answer of the token endpoint (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenAnswer {
    /// A JWT (RFC 9068).
    access_token: String,
    /// `Bearer`, or `DPoP` for one that is bound to a key.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// What the person granted, separated by spaces.
    scope: String,
    /// Good for one refresh.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// With the scope `openid`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
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
    org: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// What a session is given.
pub struct Grant<'a> {
    /// The session.
    pub session: &'a Session,
    /// What acts.
    pub service: &'a Service,
    /// As whom.
    pub person: &'a Profile,
    /// What these tokens may be used for: the session's scopes or fewer.
    pub scopes: &'a [String],
    /// For which APIs they are: the session's resources or fewer.
    pub resources: &'a [String],
    /// The thumbprint of the key to which the access token is bound (RFC 9449 §6.1); `None` for a bearer token.
    pub jkt: Option<&'a str>,
    /// Whether a refresh token goes along.
    pub refreshable: bool,
}

/// Mints the tokens of a grant.
pub fn mint(
    installation: &Installation,
    keys: &SigningKeys,
    grant: &Grant<'_>,
    now: DateTime<Utc>,
) -> Result<TokenAnswer, SigningKeysError> {
    let Grant { session, service, person, .. } = grant;
    let granted = |scope: &str| grant.scopes.iter().any(|granted| granted == scope);
    let email = person.email.as_deref().filter(|_| granted("email"));
    let lifetime = service.access_token_lifetime.as_secs();
    let expires_at = now.timestamp() + i64::try_from(lifetime).unwrap_or(i64::from(i32::MAX));
    let scope = grant.scopes.join(" ");
    let issuer = installation.public_url.issuer();
    let claims = Claims {
        iss: issuer.to_owned(),
        sub: session.user_id.0,
        aud: Audience::of(grant.resources, &service.client_id),
        client_id: service.client_id.clone(),
        iat: now.timestamp(),
        exp: expires_at,
        jti: crate::ids::uuid_v7(now, &installation.random.bytes()),
        scope: scope.clone(),
        sid: session.id.0,
        auth_time: session.auth_time.timestamp(),
        amr: session.amr.clone(),
        org: service.organization_slug.clone(),
        service: service.slug.clone(),
        email: email.map(str::to_owned),
        cnf: grant.jkt.map(|jkt| Confirmation { jkt: jkt.to_owned() }),
    };
    let access_token = keys.sign(Algorithm::ES256, access_token::TYP, &claims, now)?;
    let id_token = if granted("openid") {
        let algorithm = id_token_algorithm(service);
        let claims = IdTokenClaims {
            iss: issuer,
            sub: session.user_id.to_string(),
            aud: &service.client_id,
            iat: now.timestamp(),
            exp: expires_at,
            sid: session.id.to_string(),
            auth_time: session.auth_time.timestamp(),
            amr: &session.amr,
            at_hash: at_hash(&access_token, algorithm),
            org: &service.organization_slug,
            service: &service.slug,
            email,
            email_verified: email.map(|_| person.email_verified),
            name: Some(person.name.as_str()).filter(|name| !name.is_empty() && granted("profile")),
        };
        Some(keys.sign(algorithm, "JWT", &claims, now)?)
    } else {
        None
    };
    let refresh_token = grant.refreshable.then(|| {
        refresh_token::refresh_token(&installation.keyring, session.id, session.generation).expose().to_owned()
    });
    let token_type = claims.token_type();
    Ok(TokenAnswer { access_token, token_type, expires_in: lifetime, scope, refresh_token, id_token })
}

fn id_token_algorithm(service: &Service) -> Algorithm {
    service.id_token_algorithm.parse().unwrap_or(Algorithm::RS256)
}

/// The left half of the access token's digest, by the hash of the ID token's own algorithm (OpenID Connect Core §3.1.3.6):
/// of RS256 and ES256 that is SHA-256, of `EdDSA`, whose name says none, the SHA-512 inside Ed25519.
fn at_hash(access_token: &str, algorithm: Algorithm) -> String {
    let hash = if algorithm == Algorithm::EdDSA { &digest::SHA512 } else { &digest::SHA256 };
    let digest = digest::digest(hash, access_token.as_bytes());
    let (left, _right) = digest.as_ref().split_at(hash.output_len() / 2);
    crate::secrets::base64url(left)
}
