//! The keys that sign tokens: made at first start, sealed in the database, public halves at the JWKS endpoint.
//!
//! Every node holds all keys in memory and reads them again each minute; [`life`] says when there are new ones.

pub mod life;
mod making;

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{SealError, Sealed};

pub use making::reseal;

/// The algorithms of which the installation has a key: ES256 for access tokens, RS256 for `id_token`s, which every
/// client must know (OpenID Connect Core §15.1), and `EdDSA` for services that prefer it.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA];

/// A key that isn't known is looked for in the database, but not more often than this: anybody can name one.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(10);

/// The installation's keys. Cheap to clone; clones share what is read again.
#[derive(Clone)]
pub struct SigningKeys(Arc<RwLock<Arc<Keys>>>);

struct Keys {
    /// Those that become active last come first.
    newest_first: Vec<SigningKey>,
    public: JwkSet,
    read_at: DateTime<Utc>,
}

struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    active_from: DateTime<Utc>,
    private: EncodingKey,
    public: Jwk,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A key was sealed under a secret that isn't listed any more.
    #[error("signing key {kid}: {error}")]
    Sealed {
        /// Which.
        kid: String,
        /// Why.
        error: SealError,
    },
    /// A key can't be made or read.
    #[error("a signing key can't be used: {0}")]
    Unusable(String),
}

impl SigningKeys {
    /// Reads the installation's keys, making those that are missing. Nodes that start together make them once.
    pub async fn load(installation: &Installation) -> Result<Self, SigningKeysError> {
        life::make_missing(installation).await?;
        Self::look(installation).await
    }

    /// Reads the installation's keys, and makes none.
    pub async fn look(installation: &Installation) -> Result<Self, SigningKeysError> {
        let keys = Keys::read(installation).await?;
        Ok(Self(Arc::new(RwLock::new(Arc::new(keys)))))
    }

    /// Reads the keys again.
    pub async fn reload(&self, installation: &Installation) -> Result<(), SigningKeysError> {
        let keys = Arc::new(Keys::read(installation).await?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The public halves (RFC 7517 §5), of keys that will sign and of those that did as well.
    #[must_use]
    pub fn public(&self) -> JwkSet {
        self.current().public.clone()
    }

    /// The public half of a key, looked for in the database when another node may have made it.
    pub async fn find(&self, installation: &Installation, kid: &str) -> Option<Jwk> {
        let keys = self.current();
        if let Some(known) = keys.public.find(kid) {
            return Some(known.clone());
        }
        if installation.clock.now() - keys.read_at < LOOK_AGAIN {
            return None;
        }
        if let Err(error) = self.reload(installation).await {
            tracing::warn!(%error, "signing keys can't be read again");
        }
        self.current().public.find(kid).cloned()
    }

    /// Signs claims as a JWT of the given type, with the key of an algorithm that is active now.
    pub fn sign<T: Serialize>(
        &self,
        algorithm: Algorithm,
        typ: &str,
        claims: &T,
        now: DateTime<Utc>,
    ) -> Result<String, SigningKeysError> {
        let keys = self.current();
        let key = keys
            .signing(algorithm, now)
            .ok_or_else(|| SigningKeysError::Unusable(format!("none is active for {algorithm:?}")))?;
        let mut header = Header::new(algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.private).map_err(unusable)
    }

    /// Whether a key of every algorithm is active.
    #[must_use]
    pub fn can_sign(&self, now: DateTime<Utc>) -> bool {
        let keys = self.current();
        ALGORITHMS.into_iter().all(|algorithm| keys.signing(algorithm, now).is_some())
    }

    fn current(&self) -> Arc<Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Keys {
    /// The newest key that is active. Where the clock was set back to before all of them, the oldest, which is published longest:
    /// logins go on.
    fn signing(&self, algorithm: Algorithm, now: DateTime<Utc>) -> Option<&SigningKey> {
        let of_algorithm = || self.newest_first.iter().filter(|key| key.algorithm == algorithm);
        of_algorithm().find(|key| key.active_from <= now).or_else(|| of_algorithm().next_back())
    }

    async fn read(installation: &Installation) -> Result<Self, SigningKeysError> {
        let mut conn = installation.pool.acquire().await?;
        let keys = read(&mut conn, installation).await?;
        let public = JwkSet { keys: keys.iter().map(|key| key.public.clone()).collect() };
        Ok(Self { newest_first: keys, public, read_at: installation.clock.now() })
    }
}

async fn read(conn: &mut PgConnection, installation: &Installation) -> Result<Vec<SigningKey>, SigningKeysError> {
    let rows = sqlx::query!(
        "SELECT kid, algorithm, private_sealed, public_jwk, active_from FROM signing_key
         WHERE retired_at IS NULL ORDER BY active_from DESC"
    )
    .fetch_all(conn)
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let der = making::open(installation, &row.kid, &Sealed::from(row.private_sealed))?;
        let algorithm = row.algorithm.parse().map_err(unusable)?;
        keys.push(SigningKey {
            private: making::encoding_key(algorithm, &der)?,
            public: serde_json::from_value(row.public_jwk).map_err(unusable)?,
            kid: row.kid,
            algorithm,
            active_from: row.active_from,
        });
    }
    Ok(keys)
}

fn unusable(error: impl std::fmt::Display) -> SigningKeysError {
    SigningKeysError::Unusable(error.to_string())
}
