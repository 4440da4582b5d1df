//! A refresh token: session and generation as this installation wrote them, letter for letter, and nothing else.

use countersign::ids::{GrantId, SessionId};
use countersign::session::refresh_token::{read, refresh_token as token_of};
use uuid::Uuid;

use crate::{FOREIGN, KEYRING, target};

const WORDS: &[&str] = &["csr_", "csd_", "CSR_", "AAAA", "____", "----", "==", "="];

/// Those that were given out.
fn issued() -> Vec<(SessionId, i32)> {
    let sessions = [0, 0x0190_0000_0000_7000_8000_0000_0000_0007, u128::MAX].map(|id| SessionId(Uuid::from_u128(id)));
    sessions.into_iter().flat_map(|session| [1, 2, i32::MAX].map(|generation| (session, generation))).collect()
}

#[test]
fn refresh_token() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (session, generation) in issued() {
        for keyring in [&KEYRING, &FOREIGN] {
            seeds.push(token_of(keyring, session, generation).expose().into());
        }
    }
    // A device code is a MAC of the same installation, over 16 bytes of the same kind.
    let code = countersign::device::codes::device_code(&KEYRING, GrantId(Uuid::nil()), "acme-cli");
    seeds.push(code.expose().replace("csd_", "csr_").into_bytes());
    target("refresh_token", seeds, WORDS, |bytes| {
        let sent = String::from_utf8_lossy(bytes);
        let genuine = issued().into_iter().find(|(session, n)| token_of(&KEYRING, *session, *n).expose() == sent);
        assert_eq!(read(&KEYRING, &sent), genuine);
    });
}
