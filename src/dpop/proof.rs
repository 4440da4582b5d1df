//! A proof, read and checked as RFC 9449 §4.3 lists it, all but whether it was used before ([`super::replay`]).

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::secrets::{Keyring, from_base64url};

use super::key::{Algorithm, PublicKey};
use super::{access_token_hash, nonce, sha256};

/// The type of proofs (RFC 9449 §4.2): a JWT made for anything else proves nothing here.
const TYP: &str = "dpop+jwt";

/// How old a proof may be, in seconds: devices are not all on time, and some networks are slow.
const OLDEST: f64 = 300.0;

/// How far ahead of ours a device's clock may be, in seconds.
const FARTHEST_AHEAD: f64 = 60.0;

/// The longest proof, in bytes. One with an RSA key of 8192 bits has 4 KiB.
const LONGEST: usize = 8 * 1024;

/// The longest `jti`, in characters.
const LONGEST_ID: usize = 128;

/// What a proof must have been made for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The address of the endpoint as clients know it: under the issuer, never what a request says of its host.
    pub url: &'a str,
    /// The access token that comes with it, where one does.
    pub access_token: Option<&'a str>,
}

/// A genuine proof for this request.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The thumbprint of the key that the sender holds (RFC 9449 §6.1).
    pub jkt: String,
    /// Key and `jti`, as one hash: what must not come again.
    pub id: [u8; 32],
    /// Whether it carries a fresh nonce of this server.
    pub has_nonce: bool,
}

/// What is wrong with a proof, as a sentence for the author of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Several headers.
    #[error("There must be exactly one DPoP header (RFC 9449 §4.3).")]
    Several,
    /// Not a JWT with the members of a proof.
    #[error("The DPoP proof is no JWT with typ, alg, jwk, jti, htm, htu and iat (RFC 9449 §4.2).")]
    Malformed,
    /// Another `typ`.
    #[error("The DPoP proof must have the typ dpop+jwt.")]
    Type,
    /// `none`, a symmetric algorithm, or one that isn't known here.
    #[error("The alg of the DPoP proof must be ES256, EdDSA, RS256 or PS256.")]
    Algorithm,
    /// An extension that must be understood and isn't (RFC 7515 §4.1.11).
    #[error("The DPoP proof has a crit header, of which nothing is understood here.")]
    Critical,
    /// No public key that can be used.
    #[error("The jwk of the DPoP proof is no public key of P-256, Ed25519 or RSA.")]
    Key,
    /// The private key, sent along.
    #[error("The jwk of the DPoP proof contains the private key: make a new one and send only its public members.")]
    PrivateKey,
    /// Not signed with the private half of its `jwk`.
    #[error(
        "The signature of the DPoP proof is wrong, or its key is of another kind than alg says, or RSA below 2048 bits."
    )]
    Signature,
    /// Made for another method.
    #[error("The htm of the DPoP proof is not the method of this request.")]
    Method,
    /// Made for another address.
    #[error("The htu of the DPoP proof is not the address of this endpoint, as the metadata gives it.")]
    Address,
    /// Too old, or of the future.
    #[error(
        "The iat of the DPoP proof is more than 300 s ago or 60 s ahead: make a proof for each request, set the clock, or send the nonce of the DPoP-Nonce header."
    )]
    Time,
    /// No `jti`, or too long a one.
    #[error("The jti of the DPoP proof must have 1 to 128 characters.")]
    Id,
    /// For another access token, or for none.
    #[error("The ath of the DPoP proof is not the hash of the access token (RFC 9449 §4.2).")]
    AccessToken,
}

#[derive(Deserialize)]
struct Header {
    typ: Option<String>,
    alg: String,
    jwk: Option<Map<String, Value>>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    /// Unix seconds, perhaps with a fraction (RFC 7519 §2).
    iat: f64,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Proof {
    /// Reads and checks the `DPoP` header of a request; `None` without one.
    pub fn of(
        headers: &HeaderMap,
        target: &Target<'_>,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, ProofError> {
        let mut values = headers.get_all("dpop").iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(ProofError::Several);
        }
        let jwt = value.to_str().map_err(|_| ProofError::Malformed)?;
        Self::read(jwt, target, keyring, now).map(Some)
    }

    /// Reads and checks a proof.
    pub fn read(jwt: &str, target: &Target<'_>, keyring: &Keyring, now: DateTime<Utc>) -> Result<Self, ProofError> {
        let (key, claims) = open(jwt)?;
        if claims.jti.is_empty() || claims.jti.chars().count() > LONGEST_ID {
            return Err(ProofError::Id);
        }
        if claims.htm != target.method {
            return Err(ProofError::Method);
        }
        if !same_address(&claims.htu, target.url) {
            return Err(ProofError::Address);
        }
        let has_nonce = claims.nonce.is_some_and(|nonce| nonce::is_fresh(keyring, &nonce, now));
        let age = (now - DateTime::UNIX_EPOCH).as_seconds_f64() - claims.iat;
        // A fresh nonce says when the proof was made, also in a device whose clock is behind (RFC 9449 §4.3, 11). Never
        // in one whose clock is ahead: such a proof could come again when its time has come.
        let oldest = if has_nonce { f64::INFINITY } else { OLDEST };
        if !(-FARTHEST_AHEAD..=oldest).contains(&age) {
            return Err(ProofError::Time);
        }
        if let Some(token) = target.access_token
            && claims.ath != Some(access_token_hash(token))
        {
            return Err(ProofError::AccessToken);
        }
        let jkt = key.thumbprint();
        let id = sha256(format!("{jkt}.{}", claims.jti).as_bytes());
        Ok(Self { jkt, id, has_nonce })
    }
}

/// The key and the claims of a JWT that is of the right type and signed by that key.
fn open(jwt: &str) -> Result<(PublicKey, Claims), ProofError> {
    if jwt.len() > LONGEST {
        return Err(ProofError::Malformed);
    }
    let (message, signature) = jwt.rsplit_once('.').ok_or(ProofError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(ProofError::Malformed)?;
    let header: Header = json(header)?;
    if header.typ.as_deref() != Some(TYP) {
        return Err(ProofError::Type);
    }
    let algorithm = Algorithm::named(&header.alg).ok_or(ProofError::Algorithm)?;
    if header.crit.is_some() {
        return Err(ProofError::Critical);
    }
    let key = PublicKey::read(&header.jwk.ok_or(ProofError::Key)?)?;
    let signature = from_base64url(signature).ok_or(ProofError::Malformed)?;
    if !key.verifies(algorithm, message.as_bytes(), &signature) {
        return Err(ProofError::Signature);
    }
    Ok((key, json(claims)?))
}

fn json<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, ProofError> {
    let bytes = from_base64url(part).ok_or(ProofError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| ProofError::Malformed)
}

/// Whether two addresses are the same in scheme, host, port and path, normalized as URLs are (RFC 3986 §6.2.2, §6.2.3).
/// Query and fragment don't count (RFC 9449 §4.3, 9), nor does a trailing slash, as nowhere here.
fn same_address(htu: &str, own: &str) -> bool {
    let normalized = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(url)
    };
    normalized(htu).is_some_and(|htu| normalized(own) == Some(htu))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{InstallationSecret, Random, base64url};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;
    use serde_json::json;

    const URL: &str = "https://auth.acme.example/login/auth/token";

    #[test]
    fn addresses_are_compared_as_what_they_mean() {
        for same in [
            URL,
            "HTTPS://AUTH.acme.example:443/login/auth/token",
            "https://auth.acme.example/login/./x/../auth/token/",
            "https://auth.acme.example/login/auth/token?a=b#c",
        ] {
            assert!(same_address(same, URL), "{same}");
        }
        for other in [
            "",
            "/login/auth/token",
            "http://auth.acme.example/login/auth/token",
            "https://auth.acme.example/auth/token",
            "https://auth.acme.example:8443/login/auth/token",
            "https://auth.acme.example.evil.example/login/auth/token",
            "https://a@auth.acme.example/login/auth/token",
            "https://auth.acme.example/login/auth/TOKEN",
        ] {
            assert!(!same_address(other, URL), "{other}");
        }
    }

    /// Values that a parser stumbles over, at the places where a proof has its members.
    fn member() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|float| serde_json::Number::from_f64(float).map_or(Value::Null, Value::Number)),
            any::<String>().prop_map(Value::from),
            "(dpop\\+jwt|ES256|EdDSA|RS256|PS256|none|EC|OKP|RSA|P-256|Ed25519|AQAB|[A-Za-z0-9_-]{43})"
                .prop_map(Value::from),
            prop::collection::vec("[a-z]{0,3}", 0..3).prop_map(Value::from),
        ]
    }

    fn object(names: &'static [&'static str]) -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::vec((prop::sample::select(names), member()), 0..8)
            .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn nearly_a_proof() -> impl Strategy<Value = String> {
        let jwk = object(&["kty", "crv", "x", "y", "n", "e", "d", "k"]);
        let header = (object(&["typ", "alg", "jwk", "crit", "kid"]), jwk, any::<bool>());
        let claims = object(&["jti", "htm", "htu", "iat", "ath", "nonce"]);
        (header, claims, prop::collection::vec(any::<u8>(), 0..80)).prop_map(
            |((mut header, jwk, whole), claims, signature)| {
                if whole {
                    header.insert("typ".into(), TYP.into());
                    header.insert("jwk".into(), jwk.into());
                }
                let part = |object: Map<String, Value>| base64url(Value::Object(object).to_string().as_bytes());
                format!("{}.{}.{}", part(header), part(claims), base64url(&signature))
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_comes_is_refused_without_a_panic(
            jwt in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}", nearly_a_proof()]
        ) {
            let keyring = Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap();
            let target = Target { method: "POST", url: URL, access_token: Some("token") };
            let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
            prop_assert!(Proof::read(&jwt, &target, &keyring, now).is_err());
        }

        #[test]
        fn whatever_a_key_has_signed_is_judged_without_a_panic(
            claims in object(&["jti", "htm", "htu", "iat", "ath", "nonce"]), whole in any::<bool>(), iat in any::<f64>()
        ) {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
            let x = base64url(pair.public_key().as_ref());
            let header = json!({"typ": TYP, "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}});
            let usual = json!({"jti": "1", "htm": "POST", "htu": URL, "iat": iat});
            let claims = if whole { usual } else { Value::Object(claims) };
            let message = [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
            let jwt = format!("{message}.{}", base64url(pair.sign(message.as_bytes()).as_ref()));
            let keyring = Keyring::new(&[InstallationSecret::generate(&Random::system())]).unwrap();
            let target = Target { method: "POST", url: URL, access_token: None };
            let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
            let judged = Proof::read(&jwt, &target, &keyring, now);
            prop_assert!(!matches!(judged, Ok(_) | Err(ProofError::Signature)), "{judged:?}");
        }

        #[test]
        fn any_address_can_be_compared(htu in any::<String>()) {
            prop_assert!(!same_address(&htu, URL));
        }
    }
}
