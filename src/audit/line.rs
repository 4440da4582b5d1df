//! An event as it is hashed, sealed and exported: one line of JSON.
//!
//! 1. Its **body** is an object: the place in the chain, then the event. Members stand in the order of [`Event::body`],
//!    without white space between them; what isn't known is left out. A column that comes later comes last, and
//!    only where it holds something, so that the bodies of older events stay as they are.
//! 2. Its **hash** is SHA-256 over the body. The body says the hash of the position before, zeros at the first one:
//!    so each hash stands for everything up to it.
//! 3. Its **seal** is a MAC of the hash under the installation's secret, which is not in the database: whoever rewrites
//!    the database can make hashes, but no seals.
//! 4. The **line** is the body with two members more, `hash` and `seal`. So whoever has a line cuts it before
//!    `,"hash":`, closes the brace, and hashes what was hashed here, byte for byte (docs/audit.md).
//!
//! Whatever could be written in two ways is written in one: times in UTC with six digits after the second, addresses and
//! `detail` as PostgreSQL writes them, UUIDs and hashes in small letters.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::secrets::{Keyring, Purpose};

/// SHA-256.
pub type Hash = [u8; 32];

/// What is said to be before the first position.
pub const BEGINNING: Hash = [0; 32];

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct Event {
    pub(super) id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) kind: String,
    pub(super) organization_id: Option<Uuid>,
    pub(super) service_id: Option<Uuid>,
    pub(super) grant_id: Option<Uuid>,
    pub(super) session_id: Option<Uuid>,
    pub(super) user_id: Option<Uuid>,
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<String>,
    /// JSON, as PostgreSQL writes it.
    pub(super) detail: String,
}

impl Event {
    /// The chain that it belongs to: its organization's, or that of the nil UUID.
    pub(super) fn chain(&self) -> Uuid {
        self.organization_id.unwrap_or_default()
    }

    /// What is hashed of it at this place. Part of what is stored: never change it for an event that is there.
    pub(super) fn body(&self, position: i64, previous_hash: &Hash) -> String {
        let id = |id: Option<Uuid>| id.map(|id| id.to_string());
        let mut body = Members::default();
        body.text("organization_id", id(self.organization_id));
        body.json("position", &position.to_string());
        body.text("previous_hash", Some(hex(previous_hash)));
        body.text("id", id(Some(self.id)));
        body.text("at", Some(self.at.to_rfc3339_opts(SecondsFormat::Micros, true)));
        body.text("kind", Some(self.kind.clone()));
        body.text("service_id", id(self.service_id));
        body.text("grant_id", id(self.grant_id));
        body.text("session_id", id(self.session_id));
        body.text("user_id", id(self.user_id));
        body.text("ip", self.ip.clone());
        body.text("user_agent", self.user_agent.clone());
        body.json("detail", &self.detail);
        body.0 + "}"
    }
}

/// The members of an object, as far as they are written.
#[derive(Default)]
struct Members(String);

impl Members {
    fn json(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        // Writing to a string can't fail.
        let _ = write!(self.0, "\"{name}\":{value}");
    }

    fn text(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.json(name, &serde_json::Value::from(value).to_string());
        }
    }
}

/// The hash of a body.
pub(super) fn hash(body: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, body.as_bytes()).as_ref());
    hash
}

/// The seal of a hash.
pub(super) fn seal(keyring: &Keyring, hash: &Hash) -> Hash {
    keyring.mac(Purpose::AuditSeal, &[hash])
}

/// Whether a seal is that of a hash, under any of the installation's secrets.
pub(super) fn is_sealed(keyring: &Keyring, hash: &Hash, seal: &[u8]) -> bool {
    keyring.verify(Purpose::AuditSeal, &[hash], seal)
}

/// The line that is exported.
pub(super) fn line(body: &str, hash: &Hash, seal: &Hash) -> String {
    format!("{},\"hash\":\"{}\",\"seal\":\"{}\"}}", body.strip_suffix('}').unwrap_or(body), hex(hash), hex(seal))
}

/// Two small letters or digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash that [`hex`] wrote.
#[must_use]
pub fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: Uuid::from_u128(7),
            at: DateTime::from_timestamp_micros(1_800_000_000_000_120).unwrap(),
            kind: "approved".into(),
            organization_id: Some(Uuid::from_u128(1)),
            service_id: None,
            grant_id: Some(Uuid::from_u128(2)),
            session_id: None,
            user_id: None,
            ip: Some("2001:db8::1".into()),
            user_agent: Some("a \"quoted\" näme\n,\"hash\":\"".into()),
            detail: r#"{"people": 5}"#.into(),
        }
    }

    #[test]
    fn a_body_never_changes() {
        let body = event().body(3, &BEGINNING);
        let zeros = "0".repeat(64);
        assert_eq!(
            body,
            format!(
                "{{\"organization_id\":\"00000000-0000-0000-0000-000000000001\",\"position\":3,\
                 \"previous_hash\":\"{zeros}\",\"id\":\"00000000-0000-0000-0000-000000000007\",\
                 \"at\":\"2027-01-15T08:00:00.000120Z\",\"kind\":\"approved\",\
                 \"grant_id\":\"00000000-0000-0000-0000-000000000002\",\"ip\":\"2001:db8::1\",\
                 \"user_agent\":\"a \\\"quoted\\\" näme\\n,\\\"hash\\\":\\\"\",\"detail\":{{\"people\": 5}}}}"
            )
        );
        assert_eq!(hex(&hash(&body)), "8a6ccbd994903d4cd0a32194c4173c7d7f52e88eb468817013f004971e2c01a1");
    }

    #[test]
    fn a_line_is_cut_where_its_hash_begins() {
        let body = event().body(3, &BEGINNING);
        let line = line(&body, &hash(&body), &[1; 32]);
        let (cut, _) = line.rsplit_once(",\"hash\":").unwrap();
        assert_eq!(format!("{cut}}}"), body);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(from_hex(read["hash"].as_str().unwrap()), Some(hash(&body)));
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        assert_eq!(from_hex(&hex(&hash("x"))), Some(hash("x")));
        for wrong in ["", "00", &"g".repeat(64), &"ä".repeat(32), &"0".repeat(65)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
