//! The public key in a proof's header (RFC 7517), its thumbprint (RFC 7638), and signatures by it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

use crate::secrets::{base64url, from_base64url};

use super::proof::ProofError;
use super::sha256;

/// The signature algorithms of proofs (RFC 7518 §3.1, RFC 8037 §3.1), as the metadata lists them. All are asymmetric.
pub const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

/// The same, as a challenge lists them (RFC 9449 §7.1).
pub const ALGORITHMS_LIST: &str = "ES256 EdDSA RS256 PS256";

/// Members that only private and symmetric keys have (RFC 7518 §6; RFC 8037 §2).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// A signature algorithm of [`ALGORITHMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5.
    Rs256,
    /// RSASSA-PSS.
    Ps256,
}

impl Algorithm {
    /// By its name in a header.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            _ => None,
        }
    }
}

/// A public key. Whether it is a point of its curve is found out when it verifies.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// A point of P-256, uncompressed (SEC 1 §2.3.3).
    P256([u8; 65]),
    /// A key of Ed25519.
    Ed25519([u8; 32]),
    /// An RSA key: modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
}

impl PublicKey {
    /// Reads a JWK. One with a private member is refused, so that the client's author notices what it gives away.
    pub fn read(jwk: &Map<String, Value>) -> Result<Self, ProofError> {
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return Err(ProofError::PrivateKey);
        }
        let text = |member: &str| jwk.get(member).and_then(Value::as_str).ok_or(ProofError::Key);
        let bytes = |member: &str| from_base64url(text(member)?).ok_or(ProofError::Key);
        match (text("kty")?, text("crv")) {
            ("EC", Ok("P-256")) => {
                let coordinates = [bytes("x")?, bytes("y")?];
                if coordinates.iter().any(|coordinate| coordinate.len() != 32) {
                    return Err(ProofError::Key);
                }
                let point = [vec![4], coordinates.concat()].concat();
                point.try_into().map(Self::P256).map_err(|_| ProofError::Key)
            }
            ("OKP", Ok("Ed25519")) => bytes("x")?.try_into().map(Self::Ed25519).map_err(|_| ProofError::Key),
            ("RSA", _) => Ok(Self::Rsa(bytes("n")?, bytes("e")?)),
            _ => Err(ProofError::Key),
        }
    }

    /// The thumbprint by which tokens name the key (RFC 7638 §3, with SHA-256; RFC 9449 §6.1: `jkt`).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // Written from the bytes that were read: one key has one thumbprint, however its JWK was spelled.
        let canonical = match self {
            Self::P256(point) => {
                let (x, y) = point.split_at(1).1.split_at(32);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, base64url(x), base64url(y))
            }
            Self::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(key)),
            Self::Rsa(n, e) => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n)),
        };
        base64url(&sha256(canonical.as_bytes()))
    }

    /// Whether `signature` is this key's over `message`. A key of another kind than the algorithm's has signed nothing.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let plain = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        let rsa = |how: &RsaParameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok()
        };
        match (algorithm, self) {
            (Algorithm::Es256, Self::P256(point)) => plain(&ECDSA_P256_SHA256_FIXED, point),
            (Algorithm::EdDsa, Self::Ed25519(key)) => plain(&ED25519, key),
            (Algorithm::Rs256, Self::Rsa(n, e)) => rsa(&RSA_PKCS1_2048_8192_SHA256, n, e),
            (Algorithm::Ps256, Self::Rsa(n, e)) => rsa(&RSA_PSS_2048_8192_SHA256, n, e),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(jwk: Value) -> Result<PublicKey, ProofError> {
        let Value::Object(jwk) = jwk else { panic!("no object") };
        PublicKey::read(&jwk)
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 7638 §3.1.
        let rsa = serde_json::json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "n":
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
        assert_eq!(read(rsa).unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 §A.3.
        let ed =
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(read(ed).unwrap().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 9449 §6.1, with the key of §4.1.
        let ec = serde_json::json!({"kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"});
        assert_eq!(read(ec).unwrap().thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn private_symmetric_and_misshapen_keys_are_refused() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        for (jwk, error) in [
            (serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x, "d": x}), ProofError::PrivateKey),
            (serde_json::json!({"kty": "oct", "k": x}), ProofError::PrivateKey),
            (serde_json::json!({"kty": "OKP", "crv": "X25519", "x": x}), ProofError::Key),
            (serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}), ProofError::Key),
            (serde_json::json!({"kty": "EC", "crv": "P-256", "x": x}), ProofError::Key),
            (serde_json::json!({"kty": "EC", "crv": "P-256", "x": x, "y": "AAAA"}), ProofError::Key),
            (serde_json::json!({"kty": "EC", "crv": "P-384", "x": x, "y": x}), ProofError::Key),
            (serde_json::json!({"kty": "RSA", "e": "AQAB"}), ProofError::Key),
            (serde_json::json!({"kty": 7}), ProofError::Key),
            (serde_json::json!({}), ProofError::Key),
        ] {
            assert_eq!(read(jwk).unwrap_err(), error);
        }
    }
}
