//! A new access token for a refresh token (RFC 6749 §6).
//!
//! The server changes the refresh token with each use. Should its answer get lost, it gives the same answer to the same
//! request for half a minute more; a refresh token that comes back later looks stolen, and ends the login. So an answer that
//! is lost is asked for again at once, and never later than [`TO_THE_LAST_ATTEMPT`] after the first time.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::answer::{Poll, Tokens};
use super::error::LoginError;
use super::http::{NoAnswer, Transport};
use super::metadata::Endpoints;
use super::possession::Possession;
use super::secret::Secret;

/// One attempt; a little more than a connection may take, so that an attempt cut off here had one.
const ATTEMPT: Duration = Duration::from_secs(11);
/// From the first attempt's start to the last one's: with it the whole stays under 30 s.
const TO_THE_LAST_ATTEMPT: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(300);

/// How a refresh ends without tokens.
#[derive(Debug)]
pub(crate) enum RefreshError {
    /// `invalid_grant`: the login has ended, and this is what the server says of it.
    Ended(Option<String>),
    /// Anything else.
    Server(LoginError),
}

/// What one attempt says.
enum Attempt {
    Tokens(Tokens),
    Ended(Option<String>),
    /// The server may have handed out a new token, and nobody knows.
    Lost(LoginError),
    /// Nothing has happened.
    Failed(LoginError),
}

pub(crate) async fn refresh(
    transport: &impl Transport,
    endpoints: &Endpoints,
    possession: &Possession,
    client_id: &str,
    refresh_token: &Secret,
) -> Result<Tokens, RefreshError> {
    let start = Instant::now();
    let mut pause = PAUSE;
    let mut attempts = 1;
    loop {
        match attempt(transport, endpoints, possession, client_id, refresh_token).await {
            Attempt::Tokens(tokens) => return Ok(tokens),
            Attempt::Ended(because) => return Err(RefreshError::Ended(because)),
            Attempt::Failed(error) => return Err(RefreshError::Server(error)),
            Attempt::Lost(error) if attempts == ATTEMPTS || start.elapsed() + pause > TO_THE_LAST_ATTEMPT => {
                return Err(RefreshError::Server(error));
            }
            Attempt::Lost(_) => {}
        }
        sleep(pause).await;
        pause *= 2;
        attempts += 1;
    }
}

async fn attempt(
    transport: &impl Transport,
    endpoints: &Endpoints,
    possession: &Possession,
    client_id: &str,
    refresh_token: &Secret,
) -> Attempt {
    let parameters =
        [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose()), ("client_id", client_id)];
    let address = &endpoints.token;
    let answer = match timeout(ATTEMPT, possession.post_form(transport, address, &parameters, None)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if !error.sent => return Attempt::Failed(LoginError::unreachable(address, error)),
        Ok(Err(error)) => return Attempt::Lost(LoginError::unreachable(address, error)),
        Err(_) => {
            let reason = format!("no answer within {} s", ATTEMPT.as_secs());
            return Attempt::Lost(LoginError::unreachable(address, NoAnswer { reason, sent: true }));
        }
    };
    let bound = possession.key().is_some();
    match Poll::read(&answer, bound) {
        // RFC 9449 §5: what was bound to the key of this machine must not turn into what anybody could use.
        Poll::Approved(tokens) if bound && !tokens.is_bound() => {
            not_understood(endpoints, "its token is not bound to this login's key any more".to_owned())
        }
        Poll::Approved(tokens) => Attempt::Tokens(tokens),
        Poll::Refused(error) if error.error == "invalid_grant" => Attempt::Ended(error.description),
        Poll::Refused(error) => {
            Attempt::Failed(LoginError::Refused { error: error.error, description: error.description })
        }
        // Too many requests: it was counted, not answered. Behind 5xx there may be an answer that got lost on its way.
        Poll::Unavailable { .. } if answer.status == 429 => Attempt::Failed(LoginError::unavailable(address, &answer)),
        Poll::Unavailable { .. } => Attempt::Lost(LoginError::unavailable(address, &answer)),
        Poll::NotUnderstood(reason) => not_understood(endpoints, reason),
        Poll::Denied => refused("access_denied"),
        Poll::Expired => refused("expired_token"),
        Poll::Pending | Poll::NumberWanted { .. } | Poll::SlowDown { .. } => {
            not_understood(endpoints, "it belongs to a device login".to_owned())
        }
    }
}

fn refused(error: &str) -> Attempt {
    Attempt::Failed(LoginError::Refused { error: error.to_owned(), description: None })
}

fn not_understood(endpoints: &Endpoints, reason: String) -> Attempt {
    Attempt::Failed(LoginError::NotUnderstood { address: endpoints.token.to_string(), reason })
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
