//! A device code: what this installation gave out, letter for letter, and nothing else.

use countersign::device::codes::{device_code as code_of, read_device_code};
use countersign::ids::GrantId;
use uuid::Uuid;

use crate::{FOREIGN, KEYRING, target};

const CLIENT: &str = "acme-cli";
const WORDS: &[&str] = &["csd_", "csr_", "CSD_", "AAAA", "____", "----", "==", "=", "/", "\u{3c9}"];

/// Those that were given out.
fn grants() -> [GrantId; 3] {
    [0, 0x0190_0000_0000_7000_8000_0000_0000_0007, u128::MAX].map(|id| GrantId(Uuid::from_u128(id)))
}

#[test]
fn device_code() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for grant in grants() {
        for (keyring, client) in [(&KEYRING, CLIENT), (&KEYRING, "other"), (&FOREIGN, CLIENT)] {
            seeds.push(code_of(keyring, grant, client).expose().into());
        }
    }
    target("device_code", seeds, WORDS, |bytes| {
        let sent = String::from_utf8_lossy(bytes);
        let genuine = grants().into_iter().find(|grant| code_of(&KEYRING, *grant, CLIENT).expose() == sent);
        assert_eq!(read_device_code(&KEYRING, &sent, CLIENT), genuine);
        for client in ["", "other", "acme-cli\0", "ACME-CLI"] {
            let read = read_device_code(&KEYRING, &sent, client);
            let genuine = grants().into_iter().find(|grant| code_of(&KEYRING, *grant, client).expose() == sent);
            assert_eq!(read, genuine, "{client}");
        }
    });
}
