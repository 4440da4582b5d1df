//! A DPoP proof (RFC 9449 §4.3), mutated after it was signed and before.
//!
//! An input of one line is a JWT. One of two lines is header and claims, which are signed here: `$EC` and `$ED` stand for
//! the keys, and the one that is named signs; `$NONCE` for a nonce of this server, `$ATH` for the access token's hash.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, Utc};
use countersign::dpop::proof::{Proof, Target};
use countersign::dpop::{access_token_hash, nonce};
use countersign::secrets::base64url;
use serde_json::Value;
use url::Url;

use crate::{KEYRING, corpus, target};

const URL: &str = "https://auth.acme.example/login/auth/token";
const NOW: i64 = 1_800_000_000;
const TOKEN: &str = "an access token";

const WORDS: &[&str] = &[
    "\"typ\":\"dpop+jwt\"",
    "\"alg\":\"ES256\"",
    "\"alg\":\"none\"",
    "\"alg\":\"HS256\"",
    "\"jwk\":",
    "$EC",
    "$ED",
    "\"crit\":[\"exp\"]",
    "\"kty\":\"oct\",\"k\":\"AA\"",
    "\"d\":\"AA\"",
    "\"jti\":\"1\"",
    "\"htm\":\"POST\"",
    "\"htu\":\"https://auth.acme.example/login/auth/token\"",
    "\"iat\":1800000000",
    "\"nonce\":\"$NONCE\"",
    "\"ath\":\"$ATH\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    ".",
    "..",
    "1e300",
    "-0.0",
    "1799999701",
    "1800000060.5",
    "null",
    "https://",
    "@",
    "/../",
    "%2e",
    "eyJ",
    "e30",
    "\\u0000",
    "//",
];

struct Keys {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    ed: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
});

impl Keys {
    /// The members of the public keys that are hashed to their thumbprints (RFC 7638 §3.2), in that order.
    fn jwk(&self, ec: bool) -> String {
        if ec {
            let point = self.ec.public_key().as_ref();
            let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
        } else {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(self.ed.public_key().as_ref()))
        }
    }

    fn thumbprint(&self, ec: bool) -> String {
        base64url(digest(&SHA256, self.jwk(ec).as_bytes()).as_ref())
    }

    fn sign(&self, ec: bool, message: &[u8]) -> String {
        if ec {
            base64url(self.ec.sign(&SystemRandom::new(), message).unwrap().as_ref())
        } else {
            base64url(self.ed.sign(message).as_ref())
        }
    }
}

/// Header and claims with everything in them that only this run knows.
fn filled(text: &str) -> (String, String) {
    let fresh = nonce::current(&KEYRING, now());
    let text = text.replace("$EC", &KEYS.jwk(true)).replace("$ED", &KEYS.jwk(false)).replace("$NONCE", &fresh);
    let text = text.replace("$ATH", &access_token_hash(TOKEN));
    let (header, claims) = text.split_once('\n').unwrap();
    (header.to_owned(), claims.to_owned())
}

fn signed(text: &str) -> String {
    let (header, claims) = filled(text);
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = KEYS.sign(text.contains("$EC"), message.as_bytes());
    format!("{message}.{signature}")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

/// The proofs that the keys' holders made.
static GENUINE: LazyLock<Vec<String>> = LazyLock::new(|| {
    let texts = corpus("dpop").into_iter().filter_map(|bytes| String::from_utf8(bytes).ok());
    texts.filter(|text| text.contains('\n')).map(|text| signed(&text)).collect()
});

#[test]
fn dpop() {
    let seeds: Vec<Vec<u8>> = GENUINE.iter().map(|jwt| jwt.clone().into_bytes()).collect();
    let accepted = GENUINE.iter().filter(|jwt| read(jwt, None).is_some()).count();
    assert!(accepted >= 4, "the corpus has only {accepted} good proofs");
    target("dpop", seeds, WORDS, |bytes| {
        if let Ok(value) = HeaderValue::from_bytes(bytes) {
            let mut headers = HeaderMap::new();
            headers.append("dpop", value.clone());
            let one = Proof::of(&headers, &of(None), &KEYRING, now());
            headers.append("dpop", value);
            assert!(Proof::of(&headers, &of(None), &KEYRING, now()).is_err(), "two proofs are read");
            assert!(one.is_err() || std::str::from_utf8(bytes).is_ok());
        }
        let text = String::from_utf8_lossy(bytes);
        for token in [None, Some(TOKEN)] {
            if text.contains('\n') {
                if let Some(proof) = read(&signed(&text), token) {
                    is_one(&proof, &text, token);
                }
            } else if read(&text, token).is_some() {
                let message = |jwt: &str| jwt.rsplit_once('.').map(|(message, _)| message.to_owned());
                assert!(GENUINE.iter().any(|jwt| message(jwt) == message(&text)), "nobody signed that");
            }
        }
    });
}

fn of(access_token: Option<&str>) -> Target<'_> {
    Target { method: "POST", url: URL, access_token }
}

fn read(jwt: &str, access_token: Option<&str>) -> Option<Proof> {
    Proof::read(jwt, &of(access_token), &KEYRING, now()).ok()
}

/// What must be true of an accepted proof, read once more by other means.
fn is_one(proof: &Proof, text: &str, token: Option<&str>) {
    let ec = text.contains("$EC");
    let (header, claims) = filled(text);
    let [header, claims] = [header, claims].map(|part| serde_json::from_str::<Value>(&part).expect("JSON"));
    assert_eq!(header["typ"], "dpop+jwt");
    assert_eq!(header["alg"], if ec { "ES256" } else { "EdDSA" });
    assert_eq!(header.get("crit").filter(|crit| !crit.is_null()), None);
    let jwk = header["jwk"].as_object().unwrap();
    for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
        assert!(!jwk.contains_key(private), "{private}");
    }
    assert_eq!(proof.jkt, KEYS.thumbprint(ec));
    assert_eq!(claims["htm"], "POST");
    let htu = Url::parse(claims["htu"].as_str().unwrap()).unwrap();
    let own = Url::parse(URL).unwrap();
    assert_eq!((htu.origin(), htu.path().trim_end_matches('/')), (own.origin(), own.path()));
    assert_eq!((htu.username(), htu.password()), ("", None));
    let jti = claims["jti"].as_str().unwrap();
    assert!((1..=128).contains(&jti.chars().count()));
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
    let age = NOW as f64 - claims["iat"].as_f64().unwrap();
    let fresh = claims["nonce"].as_str() == Some(nonce::current(&KEYRING, now()).as_str());
    assert_eq!(proof.has_nonce, fresh);
    assert!(age >= -60.0 && (fresh || age <= 300.0), "{age}");
    if let Some(token) = token {
        assert_eq!(claims["ath"], access_token_hash(token));
    }
}
