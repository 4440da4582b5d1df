//! Limits on requests for codes and on guesses of them, as devices and programs are told (RFC 6585 §4).
//!
//! RFC 6749 has no error for it. `slow_down` belongs to polls, and `invalid_request` says that the request is at fault; it is
//! `temporarily_unavailable` (RFC 6749 §4.1.2.1), with status 429 and the time to wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use crate::budget::{Exhausted, Purpose};
use crate::config::Limits;
use crate::device::codes::Length;
use crate::device::live::Full;
use crate::device::rates::Rates;
use crate::http::client_address::{Caller, subscriber};
use crate::http::oauth_error::OAuthError;
use crate::ids::ServiceId;

use super::Endpoints;

/// Codes stay for minutes, and some are decided every moment.
const UNTIL_SOME_ARE_DECIDED: u32 = 60;

/// How fast requests for codes may come to this server. Cheap to clone.
#[derive(Clone)]
pub struct Requests {
    limits: Limits,
    addresses: Rates<(IpNet, bool)>,
    clients: Rates<ServiceId>,
}

impl Requests {
    /// Within these limits.
    #[must_use]
    pub fn within(limits: Limits) -> Self {
        Self { limits, addresses: Rates::default(), clients: Rates::default() }
    }

    /// Counts one request from an address. Those that pages of other sites have its browsers make are counted apart.
    pub(super) fn by_address(&self, caller: &Caller, now: DateTime<Utc>) -> Result<(), OAuthError> {
        let limit = self.limits.requests_per_address;
        let whose = (subscriber(caller.ip), caller.of_another_site);
        self.addresses.take(whose, limit, now).map_err(|wait| too_many_requests("address", limit, wait))
    }

    /// Counts one request of a client.
    pub(super) fn by_client(&self, client: ServiceId, now: DateTime<Utc>) -> Result<(), OAuthError> {
        let limit = self.limits.requests_per_client;
        self.clients.take(client, limit, now).map_err(|wait| too_many_requests("client", limit, wait))
    }
}

fn too_many_requests(whose: &str, limit: u32, wait: Duration) -> OAuthError {
    let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
    let description = format!(
        "Too many codes were asked for by this {whose}: {limit} a minute are allowed. Try again in {seconds} s."
    );
    OAuthError::too_many_requests(description, seconds)
}

/// Counts a request of a client from an address, and says how long its code has to be, or that there is none for it now.
pub(super) async fn admit(
    endpoints: &Endpoints,
    client: ServiceId,
    address: IpNet,
    now: DateTime<Utc>,
) -> Result<Length, OAuthError> {
    endpoints.requests.by_client(client, now)?;
    if endpoints.live.is_unknown(now) {
        let mut conn = endpoints.installation.pool.acquire().await?;
        endpoints.live.look(&mut conn, now).await?;
    }
    match endpoints.live.full(client, address) {
        Some(full) => Err(too_many_codes(full)),
        None => Ok(endpoints.live.length()),
    }
}

/// The answer to a request for one code more than may be open.
fn too_many_codes(full: Full) -> OAuthError {
    let description = match full {
        Full::Address => {
            "Too many codes that this address asked for are still open. Enter or let expire some of them first."
        }
        Full::Client => "Too many codes of this client are still open. Try again in a minute.",
    };
    OAuthError::too_many_requests(description, UNTIL_SOME_ARE_DECIDED)
}

/// The answer to a code that isn't looked up, because too many were wrong.
pub(super) fn no_more_guesses(exhausted: Exhausted) -> OAuthError {
    let seconds = u32::try_from(exhausted.wait.num_seconds().max(0) + 1).unwrap_or(u32::MAX);
    let description = match exhausted.purpose {
        Purpose::Installation => {
            "Too many wrong codes were tried by anybody, so none of this length is looked up now. \
             Ask the device for a new code, which may be longer, or try again later."
        }
        _ => "Too many wrong codes were tried from this address, so none is looked up now. Try again later.",
    };
    OAuthError::too_many_requests(description, seconds)
}
