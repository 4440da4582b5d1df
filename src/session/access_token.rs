//! Access tokens: JWTs of the profile RFC 9068, made and read here.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{SessionId, UserId};
use crate::installation::Installation;

use super::signing_keys::SigningKeys;

/// The type of access tokens (RFC 9068 §2.1): an `id_token` is no access token.
pub const TYP: &str = "at+jwt";

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The installation.
    pub iss: String,
    /// The person.
    pub sub: Uuid,
    /// Who should accept it: the service itself, unless the request named resources.
    pub aud: String,
    /// What acts as the person.
    pub client_id: String,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// When it ends, Unix seconds.
    pub exp: i64,
    /// Its own id.
    pub jti: Uuid,
    /// What it may be used for, separated by spaces.
    pub scope: String,
    /// The session.
    pub sid: Uuid,
    /// When the person signed in, Unix seconds.
    pub auth_time: i64,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// The organization's slug.
    pub org: String,
    /// The service's slug.
    pub service: String,
    /// The person's address, with the scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Claims {
    /// Whether a scope was granted.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }

    /// The session it belongs to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.sid)
    }

    /// As whom it acts.
    #[must_use]
    pub fn user(&self) -> UserId {
        UserId(self.sub)
    }
}

/// Reads an access token of this installation that has not ended: signature, type, issuer and time are checked. Whether
/// its session goes on is for the database to say.
pub async fn read(installation: &Installation, keys: &SigningKeys, token: &str) -> Option<Claims> {
    let now = installation.clock.now().timestamp();
    read_even_if_ended(installation, keys, token).await.filter(|claims| claims.exp > now)
}

/// The same for one that may have ended: enough to say which session is to be revoked.
pub async fn read_even_if_ended(installation: &Installation, keys: &SigningKeys, token: &str) -> Option<Claims> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    if header.typ.as_deref() != Some(TYP) || header.alg != Algorithm::ES256 {
        return None;
    }
    let key = keys.find(installation, header.kid.as_deref()?).await?;
    let key = DecodingKey::from_jwk(&key).ok()?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[installation.public_url.issuer()]);
    // The audience is whoever it was made for; the time is the installation's and not the machine's.
    validation.validate_aud = false;
    validation.validate_exp = false;
    jsonwebtoken::decode::<Claims>(token, &key, &validation).ok().map(|token| token.claims)
}
