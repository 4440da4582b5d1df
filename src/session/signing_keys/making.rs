//! Making a signing key, sealing it and opening it.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use sqlx::Connection as _;
use zeroize::Zeroizing;

use crate::installation::Installation;
use crate::postgres::{self, PgConnection};
use crate::secrets::resealing::{self, Resealed};
use crate::secrets::{Keyring, Sealed};

use super::{SigningKeysError, unusable};

/// What a sealed private key is bound to, beside its name.
const TABLE: &[u8] = b"signing_key.private";

/// Makes a key, named by its thumbprint (RFC 7638), and stores it sealed.
pub async fn make(
    conn: &mut PgConnection,
    installation: &Installation,
    algorithm: Algorithm,
    active_from: DateTime<Utc>,
) -> Result<String, SigningKeysError> {
    // A second of arithmetic for RSA, and more on a busy machine: not on the threads that answer.
    postgres::compute(conn).await?;
    let der = tokio::task::spawn_blocking(move || generate(algorithm)).await.map_err(unusable)??;
    postgres::computed(conn).await?;
    let mut public = Jwk::from_encoding_key(&encoding_key(algorithm, &der)?, algorithm).map_err(unusable)?;
    let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
    public.common.key_id = Some(kid.clone());
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    let sealed = installation
        .keyring
        .seal(&[TABLE, kid.as_bytes()], &der)
        .map_err(|error| SigningKeysError::Sealed { kid: kid.clone(), error })?;
    sqlx::query!(
        "INSERT INTO signing_key (kid, algorithm, private_sealed, public_jwk, created_at, active_from)
         VALUES ($1, $2, $3, $4, $5, $6)",
        kid,
        format!("{algorithm:?}"),
        sealed.as_bytes(),
        serde_json::to_value(&public).map_err(unusable)?,
        installation.clock.now(),
        active_from,
    )
    .execute(conn)
    .await?;
    tracing::info!(%kid, ?algorithm, %active_from, "made a signing key");
    Ok(kid)
}

/// The private key in PKCS#8.
pub fn open(installation: &Installation, kid: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SigningKeysError> {
    let opened = installation.keyring.open(&[TABLE, kid.as_bytes()], sealed);
    opened.map_err(|error| SigningKeysError::Sealed { kid: kid.to_owned(), error })
}

/// Seals again, under the current secret, the private keys that an older one sealed.
pub async fn reseal(conn: &mut PgConnection, keyring: &Keyring) -> Result<Resealed, sqlx::Error> {
    let (mut done, mut after) = (Resealed::default(), String::new());
    loop {
        let mut tx = conn.begin().await?;
        let rows = sqlx::query!(
            "SELECT kid, private_sealed AS \"sealed!\" FROM signing_key
             WHERE kid > $1 AND substring(private_sealed FROM 2 FOR 4) <> $2 ORDER BY kid LIMIT $3 FOR UPDATE",
            after,
            keyring.current_id(),
            resealing::BATCH,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = last.kid.clone();
        let rows = rows.into_iter().map(|row| (row.kid, row.sealed));
        let (ids, sealed) = done.seal(keyring, TABLE, rows);
        sqlx::query!(
            "UPDATE signing_key SET private_sealed = new.sealed
             FROM unnest($1::text[], $2::bytea[]) AS new (id, sealed) WHERE signing_key.kid = new.id",
            &ids,
            &sealed,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
}

/// The key as the JWT library takes it.
pub fn encoding_key(algorithm: Algorithm, pkcs8: &[u8]) -> Result<EncodingKey, SigningKeysError> {
    // RSA in PKCS#8 is taken as PEM only.
    let pem =
        Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8)));
    match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
        _ => EncodingKey::from_ec_pem(pem.as_bytes()),
    }
    .map_err(unusable)
}

/// A private key in PKCS#8.
fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, SigningKeysError> {
    let random = SystemRandom::new();
    let der = match algorithm {
        Algorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(unusable)?;
            pair.as_der().map_err(unusable)?.as_ref().to_vec()
        }
        Algorithm::ES256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
            document.map_err(unusable)?.as_ref().to_vec()
        }
        Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8v1(&random).map_err(unusable)?.as_ref().to_vec(),
        other => return Err(SigningKeysError::Unusable(format!("{other:?} is not offered"))),
    };
    Ok(Zeroizing::new(der))
}
