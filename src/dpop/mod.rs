//! Proof of possession (RFC 9449): a token that was copied off a machine is worth nothing without the machine's key.
//!
//! 1. A device makes a key pair and signs a *proof* for each request: a JWT with its public key in the header, which says
//!    method, address, time and an id of its own ([`proof`]).
//! 2. The proof of a device request binds the login to that key, by its thumbprint ([`key`]); polls and refreshes then
//!    need a proof of the same key, and the tokens say it in `cnf.jkt`.
//! 3. A proof is good once, on whatever node ([`replay`]), and for five minutes; or, in a device whose clock is behind,
//!    for as long as the nonce in it is fresh ([`nonce`]).

pub mod key;
pub mod nonce;
pub mod proof;
pub mod replay;

pub use key::{ALGORITHMS, ALGORITHMS_LIST};
pub use proof::{Proof, ProofError, Target};

/// SHA-256.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    hash
}

/// The hash under which a proof names an access token (RFC 9449 §4.2: `ath`).
#[must_use]
pub fn access_token_hash(access_token: &str) -> String {
    crate::secrets::base64url(&sha256(access_token.as_bytes()))
}
