//! A device's key and the proofs it makes (RFC 9449 §4.2), written apart from the code that reads them.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::App;

/// A key that signs proofs with one algorithm.
pub struct DeviceKey {
    algorithm: Algorithm,
    private: EncodingKey,
    pub jwk: Value,
}

impl DeviceKey {
    /// A new key of the usual kind.
    pub fn new() -> Self {
        Self::of(Algorithm::ES256)
    }

    /// A new key for this algorithm.
    pub fn of(algorithm: Algorithm) -> Self {
        let (pkcs8, jwk) = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let point = pair.public_key().as_ref();
                let jwk =
                    json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..])});
                (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), jwk)
            }
            Algorithm::EdDSA => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())});
                (pkcs8.as_ref().to_vec(), jwk)
            }
            _ => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let public = pair.public_key();
                let n = base64url(public.modulus().big_endian_without_leading_zero());
                let e = base64url(public.exponent().big_endian_without_leading_zero());
                (pair.as_der().unwrap().as_ref().to_vec(), json!({"kty": "RSA", "n": n, "e": e}))
            }
        };
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8));
        let private = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        Self { algorithm, private: private.unwrap(), jwk }
    }

    /// The thumbprint of the key.
    pub fn thumbprint(&self) -> String {
        let jwk: Jwk = serde_json::from_value(self.jwk.clone()).unwrap();
        jwk.thumbprint(ThumbprintHash::SHA256).unwrap()
    }

    /// A proof for a POST to a path of the installation, now.
    pub fn proof(&self, app: &App, path: &str) -> String {
        self.proof_with(app, path, json!({}), json!({}))
    }

    /// The same with other members in the header and among the claims; `null` takes one away.
    #[expect(clippy::needless_pass_by_value, reason = "written on the spot")]
    pub fn proof_with(&self, app: &App, path: &str, header: Value, claims: Value) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let url = app.installation.public_url.join(path);
        let usual_header = json!({"typ": "dpop+jwt", "alg": format!("{:?}", self.algorithm), "jwk": self.jwk});
        let usual_claims = json!({
            "jti": format!("proof-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            "htm": "POST",
            "htu": url,
            "iat": app.installation.clock.now().timestamp(),
        });
        self.sign(&merged(usual_header, &header), &merged(usual_claims, &claims))
    }

    /// A JWT of any header and claims, signed with this key whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// The hash of an access token in a proof.
pub fn ath(access_token: &str) -> String {
    base64url(digest::digest(&digest::SHA256, access_token.as_bytes()).as_ref())
}

/// A request with a proof.
pub fn with_proof(mut request: Request<Body>, proof: &str) -> Request<Body> {
    request.headers_mut().append("DPoP", proof.parse().unwrap());
    request
}

/// The claims of a JWT, unchecked.
pub fn claims(jwt: &str) -> Value {
    let part = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn merged(mut usual: Value, other: &Value) -> Value {
    for (name, value) in other.as_object().unwrap() {
        usual[name] = value.clone();
    }
    usual.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    usual
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
