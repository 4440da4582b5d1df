//! Which key the sender of a request holds (RFC 9449), and whether it must hold one.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::directory::service::{Dpop, Service};
use crate::dpop::{Proof, ProofError, Target, nonce, replay};
use crate::http::oauth_error::OAuthError;
use crate::installation::Installation;
use crate::postgres::PgConnection;

/// The header in which proofs come (RFC 9449 §4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header in which nonces are given (RFC 9449 §8).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What a request says of a key, checked but for whether it was said before.
pub struct Possession(Result<Option<Proof>, ProofError>);

impl Possession {
    /// Reads the proof of a POST to the endpoint at this path.
    pub fn of_post(installation: &Installation, headers: &HeaderMap, path: &str) -> Self {
        let url = installation.public_url.join(path);
        Self::read(installation, headers, &Target { method: "POST", url: &url, access_token: None })
    }

    /// Reads the proof of any request.
    pub fn read(installation: &Installation, headers: &HeaderMap, target: &Target<'_>) -> Self {
        Self(Proof::of(headers, target, &installation.keyring, installation.clock.now()))
    }

    /// Whether nothing is said of a key.
    pub fn is_absent(&self) -> bool {
        matches!(self.0, Ok(None))
    }

    /// The proof that came with a device authorization request, to bind the login at once. None needs to come, even where
    /// tokens are always bound: clients prove their key where RFC 9449 §5 names it, at the token endpoint.
    pub fn early_proof(&self, service: &Service) -> Result<Option<&Proof>, OAuthError> {
        if self.is_absent() { Ok(None) } else { self.proof(service, false) }
    }

    /// The proof as it counts for this service; `None` when none came and none is needed, or the service ignores them.
    /// `bound`: whether the login is bound to a key, and must prove one whatever the service says now.
    pub fn proof(&self, service: &Service, bound: bool) -> Result<Option<&Proof>, OAuthError> {
        if service.dpop == Dpop::Off && !bound {
            return Ok(None);
        }
        match &self.0 {
            Err(error) => Err(OAuthError::invalid_dpop_proof(error.to_string())),
            Ok(None) if bound => Err(OAuthError::invalid_dpop_proof(
                "This login is bound to a key of its device: send a proof by that key in the DPoP header (RFC 9449).",
            )),
            Ok(None) if service.dpop == Dpop::Required => Err(OAuthError::invalid_dpop_proof(
                "This service binds its tokens to a key of the device: send a proof in the DPoP header (RFC 9449).",
            )),
            Ok(Some(proof)) if service.dpop == Dpop::Required && !proof.has_nonce => Err(OAuthError::use_dpop_nonce(
                "The DPoP proof must carry the nonce that the DPoP-Nonce header of this answer gives: ask again with it.",
            )),
            Ok(proof) => Ok(proof.as_ref()),
        }
    }
}

/// Uses a proof up. One that was used before is refused.
pub async fn spend(conn: &mut PgConnection, installation: &Installation, proof: &Proof) -> Result<(), OAuthError> {
    if replay::spend(conn, proof, installation.clock.now()).await? { Ok(()) } else { Err(used_before()) }
}

/// The refusal of a proof that was used before.
pub fn used_before() -> OAuthError {
    OAuthError::invalid_dpop_proof(
        "This DPoP proof was used before: make a new one, with a jti of its own, for each request.",
    )
}

/// Middleware: whoever sends a proof is given the nonce for the next one.
pub async fn give_nonce(State(installation): State<Installation>, request: Request, next: Next) -> Response {
    let sends_proofs = request.headers().contains_key(DPOP);
    let mut response = next.run(request).await;
    if sends_proofs
        && let Ok(nonce) = HeaderValue::try_from(nonce::current(&installation.keyring, installation.clock.now()))
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}
