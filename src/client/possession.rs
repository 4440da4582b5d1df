//! Proof of possession (RFC 9449): tokens that are worth nothing without a key that never leaves this machine.
//!
//! 1. A login at a server that offers it makes a P-256 key of its own.
//! 2. Each request for codes or tokens carries a *proof*: a JWT signed with that key, for this method and address, now, once.
//! 3. The server writes the key's thumbprint into the tokens (`token_type` `DPoP`). The key is kept beside them.
//! 4. A server that wants fresh proofs hands out *nonces*: the newest is put into the next proof, and a request that was
//!    refused for want of one is sent once more (§8).
//!
//! A server whose service doesn't bind tokens answers `Bearer` all the same: that login goes on without a key.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;

use super::answer::OAuthError;
use super::http::{Answer, NoAnswer, Transport};
use super::secret::Secret;
use crate::clock::Clock;

/// A key could not be made or read. There is nothing to say about why: it is a fault of the system's or the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The key of this login can't be used.")]
pub struct UnusableKey;

/// The key of one login.
pub struct Key {
    pair: EcdsaKeyPair,
    kept: Secret,
    jwk: Value,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A new key.
    pub(crate) fn generate() -> Result<Self, UnusableKey> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| UnusableKey)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| UnusableKey)?;
        Self::read(&URL_SAFE_NO_PAD.encode(pkcs8.as_ref()).into())
    }

    /// A key that was kept.
    pub(crate) fn read(kept: &Secret) -> Result<Self, UnusableKey> {
        let pkcs8 = URL_SAFE_NO_PAD.decode(kept.expose()).map(zeroize::Zeroizing::new).map_err(|_| UnusableKey)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(|_| UnusableKey)?;
        // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
        let (x, y) = match pair.public_key().as_ref() {
            [4, point @ ..] if point.len() == 64 => point.split_at(32),
            _ => return Err(UnusableKey),
        };
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
        Ok(Self { pair, kept: kept.clone(), jwk })
    }

    /// The key as it is kept: PKCS #8 in base64url.
    pub(crate) const fn kept(&self) -> &Secret {
        &self.kept
    }

    /// A proof (§4.2) for one request, of now. `None`: the system has no random numbers, or the key doesn't sign.
    fn proof(&self, made_for: &MadeFor<'_>, clock: &Clock) -> Option<String> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).ok()?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk });
        let mut claims = json!({
            "jti": URL_SAFE_NO_PAD.encode(id),
            "htm": made_for.method,
            "htu": without_query(made_for.url),
            "iat": clock.now().timestamp(),
        });
        let members = claims.as_object_mut()?;
        if let Some(nonce) = made_for.nonce {
            members.insert("nonce".into(), nonce.into());
        }
        if let Some(token) = made_for.access_token {
            let hash = digest(&SHA256, token.expose().as_bytes());
            members.insert("ath".into(), URL_SAFE_NO_PAD.encode(hash).into());
        }
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The request that a proof is made for.
struct MadeFor<'a> {
    method: &'a str,
    url: &'a Url,
    access_token: Option<&'a Secret>,
    nonce: Option<&'a str>,
}

/// `htu`: the address without query and fragment.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What a process can prove to one server: that it holds a key, or nothing.
#[derive(Debug)]
pub(crate) struct Possession {
    key: Option<Key>,
    /// The server's newest nonce.
    nonce: Mutex<Option<String>>,
    clock: Clock,
}

impl Possession {
    /// Of this key; without one, of nothing.
    pub(crate) const fn of(key: Option<Key>, clock: Clock) -> Self {
        Self { key, nonce: Mutex::new(None), clock }
    }

    /// The key.
    pub(crate) const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Sends a form with a proof, twice if the server wants its nonce in it. The answer may be waited for as long as said.
    pub(crate) async fn post_form(
        &self,
        transport: &impl Transport,
        url: &Url,
        parameters: &[(&str, &str)],
        wait: Option<Duration>,
    ) -> Result<Answer, NoAnswer> {
        let send = async || {
            let proof = self.proof("POST", url, None)?;
            transport.post_form(url, parameters, proof.as_deref(), wait).await
        };
        let answer = send().await?;
        if self.is_asked_for_a_nonce(&answer) { send().await } else { Ok(answer) }
    }

    /// Asks with an access token, bound to the key or not, as the server gave it.
    pub(crate) async fn get(
        &self,
        transport: &impl Transport,
        url: &Url,
        access_token: &Secret,
    ) -> Result<Answer, NoAnswer> {
        let send = async || {
            let proof = self.proof("GET", url, Some(access_token))?;
            transport.get(url, Some(access_token), proof.as_deref()).await
        };
        let answer = send().await?;
        if self.is_asked_for_a_nonce(&answer) { send().await } else { Ok(answer) }
    }

    /// The headers with which an API takes the token: `Authorization`, and `DPoP` when it is bound (§7.1).
    pub(crate) fn headers(
        &self,
        method: &str,
        url: &Url,
        access_token: &Secret,
        nonce: Option<&str>,
    ) -> Result<Vec<(&'static str, Secret)>, UnusableKey> {
        let token = access_token.expose();
        let Some(key) = &self.key else {
            return Ok(vec![("Authorization", format!("Bearer {token}").into())]);
        };
        let made_for = MadeFor { method, url, access_token: Some(access_token), nonce };
        let proof = key.proof(&made_for, &self.clock).ok_or(UnusableKey)?;
        Ok(vec![("Authorization", format!("DPoP {token}").into()), ("DPoP", proof.into())])
    }

    fn proof(&self, method: &str, url: &Url, access_token: Option<&Secret>) -> Result<Option<String>, NoAnswer> {
        let Some(key) = &self.key else { return Ok(None) };
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let made_for = MadeFor { method, url, access_token, nonce: nonce.as_deref() };
        let proof = key.proof(&made_for, &self.clock);
        proof.map(Some).ok_or_else(|| NoAnswer { reason: UnusableKey.to_string(), sent: false })
    }

    /// Keeps the nonce of an answer (§8.2), and says whether it was refused for want of it: in the body of a token
    /// endpoint (§8), in `WWW-Authenticate` of an API (§9). A proof that was too old is too, in a way: a fresh nonce makes up
    /// for a clock that is behind.
    fn is_asked_for_a_nonce(&self, answer: &Answer) -> bool {
        let (Some(nonce), Some(_)) = (&answer.dpop_nonce, &self.key) else { return false };
        let before = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).replace(nonce.clone());
        let error = OAuthError::read(&answer.body).map(|error| error.error);
        match error.as_deref() {
            _ if answer.status == 200 => false,
            Some("invalid_dpop_proof") => before.as_ref() != Some(nonce),
            error => answer.asks_for_nonce || error == Some("use_dpop_nonce"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn part(proof: &str, at: usize) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(proof.split('.').nth(at).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_proof_is_signed_by_the_key_that_it_names_and_made_for_one_request() {
        let key = Key::generate().unwrap();
        let key = Key::read(key.kept()).unwrap();
        let url = Url::parse("https://api.acme.example/things?page=2#top").unwrap();
        let token = Secret::from("at-1".to_owned());
        let made_for = MadeFor { method: "GET", url: &url, access_token: Some(&token), nonce: Some("n-1") };
        let clock = Clock::manual(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let proof = key.proof(&made_for, &clock).unwrap();
        let (message, signature) = proof.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
        public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let (header, claims) = (part(&proof, 0), part(&proof, 1));
        assert_eq!(
            (&header["typ"], &header["alg"], header["jwk"].get("d")),
            (&"dpop+jwt".into(), &"ES256".into(), None)
        );
        assert_eq!((&claims["htm"], &claims["htu"]), (&"GET".into(), &"https://api.acme.example/things".into()));
        assert_eq!((&claims["nonce"], &claims["iat"]), (&"n-1".into(), &1_800_000_000.into()));
        // printf at-1 | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(claims["ath"], URL_SAFE_NO_PAD.encode(digest(&SHA256, b"at-1")));
        assert_ne!(part(&key.proof(&made_for, &clock).unwrap(), 1)["jti"], claims["jti"]);
        assert!(!format!("{key:?}").contains(key.kept().expose()));
    }

    #[test]
    fn what_is_no_key_is_told() {
        assert_eq!(Key::read(&Secret::from("AAAA".to_owned())).unwrap_err(), UnusableKey);
        assert_eq!(Key::read(&Secret::from("!".to_owned())).unwrap_err(), UnusableKey);
    }
}
