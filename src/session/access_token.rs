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
    pub aud: Audience,
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
    /// The key without which it is worth nothing; `None` for a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// Who should accept a token (RFC 7519 §4.1.3): a text for one, a list for several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The service's `client_id`, or the one resource.
    One(String),
    /// Several resources.
    Several(Vec<String>),
}

impl Audience {
    /// The resources, or the service itself when there are none.
    #[must_use]
    pub fn of(resources: &[String], client_id: &str) -> Self {
        match resources {
            [] => Self::One(client_id.to_owned()),
            [resource] => Self::One(resource.clone()),
            several => Self::Several(several.to_vec()),
        }
    }
}

/// The key to which a token is bound (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Its thumbprint (RFC 9449 §6.1).
    pub jkt: String,
}

impl Claims {
    /// How it is presented (RFC 6749 §7.1): `Bearer`, or `DPoP` when it is bound to a key.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        if self.cnf.is_some() { "DPoP" } else { "Bearer" }
    }

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
