//! The keys that sign tokens: made at first start, sealed in the database, public halves at the JWKS endpoint.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::secrets::{SealError, Sealed};

/// What a sealed private key is bound to.
const TABLE: &[u8] = b"signing_key.private";

/// The algorithms of which the installation has a key: ES256 for access tokens, RS256 for `id_token`s, which every client
/// must know (OpenID Connect Core §15.1).
const ALGORITHMS: [Algorithm; 2] = [Algorithm::ES256, Algorithm::RS256];

/// The installation's keys. Cheap to clone.
#[derive(Clone)]
pub struct SigningKeys(Arc<Keys>);

struct Keys {
    /// Newest first.
    keys: Vec<SigningKey>,
    public: JwkSet,
}

struct SigningKey {
    kid: String,
    algorithm: Algorithm,
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
        let mut tx = installation.pool.begin().await?;
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('countersign signing keys'))").execute(&mut *tx).await?;
        let mut keys = read(&mut tx, installation).await?;
        for algorithm in ALGORITHMS {
            if !keys.iter().any(|key| key.algorithm == algorithm) {
                keys.insert(0, make(&mut tx, installation, algorithm).await?);
            }
        }
        tx.commit().await?;
        let public = JwkSet { keys: keys.iter().map(|key| key.public.clone()).collect() };
        Ok(Self(Arc::new(Keys { keys, public })))
    }

    /// The public halves (RFC 7517 §5).
    #[must_use]
    pub fn public(&self) -> &JwkSet {
        &self.0.public
    }

    /// Signs claims as a JWT of the given type with the newest key of an algorithm.
    pub fn sign<T: Serialize>(&self, algorithm: Algorithm, typ: &str, claims: &T) -> Result<String, SigningKeysError> {
        let key = self.0.keys.iter().find(|key| key.algorithm == algorithm);
        let key = key.ok_or_else(|| SigningKeysError::Unusable(format!("there is none for {algorithm:?}")))?;
        let mut header = Header::new(algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.private).map_err(unusable)
    }
}

fn unusable(error: impl std::fmt::Display) -> SigningKeysError {
    SigningKeysError::Unusable(error.to_string())
}

async fn read(conn: &mut PgConnection, installation: &Installation) -> Result<Vec<SigningKey>, SigningKeysError> {
    let rows =
        sqlx::query!("SELECT kid, algorithm, private_sealed, public_jwk FROM signing_key ORDER BY created_at DESC")
            .fetch_all(conn)
            .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let sealed = Sealed::from(row.private_sealed);
        let der = installation.keyring.open(&[TABLE, row.kid.as_bytes()], &sealed);
        let der = der.map_err(|error| SigningKeysError::Sealed { kid: row.kid.clone(), error })?;
        let algorithm = row.algorithm.parse().map_err(unusable)?;
        let public = serde_json::from_value(row.public_jwk).map_err(unusable)?;
        keys.push(SigningKey { kid: row.kid, algorithm, private: encoding_key(algorithm, &der)?, public });
    }
    Ok(keys)
}

/// Makes a key, named by its thumbprint (RFC 7638), and stores it.
async fn make(
    conn: &mut PgConnection,
    installation: &Installation,
    algorithm: Algorithm,
) -> Result<SigningKey, SigningKeysError> {
    // A second of arithmetic for RSA: not on the threads that answer.
    let der = tokio::task::spawn_blocking(move || generate(algorithm)).await.map_err(unusable)??;
    let private = encoding_key(algorithm, &der)?;
    let mut public = Jwk::from_encoding_key(&private, algorithm).map_err(unusable)?;
    let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
    public.common.key_id = Some(kid.clone());
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    let sealed = installation
        .keyring
        .seal(&[TABLE, kid.as_bytes()], &der)
        .map_err(|error| SigningKeysError::Sealed { kid: kid.clone(), error })?;
    sqlx::query!(
        "INSERT INTO signing_key (kid, algorithm, private_sealed, public_jwk, created_at) VALUES ($1, $2, $3, $4, $5)",
        kid,
        format!("{algorithm:?}"),
        sealed.as_bytes(),
        serde_json::to_value(&public).map_err(unusable)?,
        installation.clock.now(),
    )
    .execute(conn)
    .await?;
    tracing::info!(%kid, ?algorithm, "made a signing key");
    Ok(SigningKey { kid, algorithm, private, public })
}

/// A private key in PKCS#8.
fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, SigningKeysError> {
    let der = match algorithm {
        Algorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(unusable)?;
            pair.as_der().map_err(unusable)?.as_ref().to_vec()
        }
        Algorithm::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(unusable)?
            .as_ref()
            .to_vec(),
        other => return Err(SigningKeysError::Unusable(format!("{other:?} is not offered"))),
    };
    Ok(Zeroizing::new(der))
}

fn encoding_key(algorithm: Algorithm, pkcs8: &[u8]) -> Result<EncodingKey, SigningKeysError> {
    // The library takes an RSA key in PKCS#8 only as PEM.
    let pem =
        Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8)));
    match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        _ => EncodingKey::from_ec_pem(pem.as_bytes()),
    }
    .map_err(unusable)
}
