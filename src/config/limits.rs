//! Limits on requests for codes.

use serde::Deserialize;

/// How many codes may be asked for, and be open at once. 0: as many as they like.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a minute from one address, or one /64 of IPv6, that one server takes.
    pub requests_per_address: u32,
    /// Requests a minute of one client that one server takes.
    pub requests_per_client: u32,
    /// Codes that were asked for from one address, or one /64 of IPv6, and are not decided yet.
    pub live_codes_per_address: u32,
    /// Codes of one client that are not decided yet.
    pub live_codes_per_client: u32,
}

impl Limits {
    /// None at all.
    #[must_use]
    pub const fn none() -> Self {
        Self { requests_per_address: 0, requests_per_client: 0, live_codes_per_address: 0, live_codes_per_client: 0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_address: 300,
            requests_per_client: 10_000,
            live_codes_per_address: 500,
            live_codes_per_client: 100_000,
        }
    }
}
