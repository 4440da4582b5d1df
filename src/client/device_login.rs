//! The device authorization grant as the device lives it (RFC 8628 §3.1 to §3.5).

use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use super::answer::{DeviceAuthorization, OAuthError, Poll, Tokens};
use super::error::LoginError;
use super::http::{NoAnswer, Transport};
use super::metadata::Endpoints;
use super::pacing::Pacing;
use super::possession::Possession;
use super::reporter::{Event, Reporter};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// For going to the page and back. The server gives no more.
const TIME_FOR_NUMBER: Duration = Duration::from_mins(10);

/// How the wait for one code ended without an error.
enum Decision {
    Approved(Tokens),
    Expired,
}

/// Asks for a code, waits for its approval, and asks for another one when it expires, as often as allowed.
pub(crate) async fn run<T: Transport, R: Reporter>(
    transport: &T,
    endpoints: &Endpoints,
    possession: &Possession,
    options: &Options,
    reporter: &mut R,
) -> Result<Tokens, LoginError> {
    for codes_left in (0..options.max_codes.get()).rev() {
        let asked_at = Instant::now();
        let authorization = request_code(transport, endpoints, possession, options).await?;
        reporter.report(&Event::Code(&authorization.code))?;
        // Counted from before the request: the screen rather says a second too little than too much.
        let deadline = asked_at + authorization.code.expires_in;
        let wait = Wait { transport, endpoints, possession, options, authorization: &authorization, deadline };
        match wait.for_decision(reporter).await? {
            Decision::Approved(tokens) => return Ok(tokens),
            Decision::Expired if codes_left > 0 => reporter.report(&Event::Expired)?,
            Decision::Expired => {}
        }
    }
    Err(LoginError::Expired)
}

/// The device authorization request (§3.1). A person has just asked for it, so trouble is told instead of waited out.
async fn request_code(
    transport: &impl Transport,
    endpoints: &Endpoints,
    possession: &Possession,
    options: &Options,
) -> Result<DeviceAuthorization, LoginError> {
    let url = &endpoints.device_authorization;
    let mut parameters = vec![("client_id", options.client_id.as_str())];
    let optional = [
        ("scope", &options.scope),
        ("org", &options.organization),
        ("service", &options.service),
        ("device_name", &options.device_name),
    ];
    parameters.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));

    let answer = possession.post_form(transport, url, &parameters, None).await;
    let answer = answer.map_err(|error| LoginError::unreachable(url, error))?;
    if answer.is_unavailable() {
        return Err(LoginError::unavailable(url, &answer));
    }
    let not_understood = |reason| LoginError::NotUnderstood { address: url.to_string(), reason };
    match (answer.status, OAuthError::read(&answer.body)) {
        (_, Some(error)) => Err(refused(error)),
        (200, None) => DeviceAuthorization::read(&answer.body).map_err(not_understood),
        (status, None) => Err(not_understood(format!("HTTP {status} without an OAuth error"))),
    }
}

fn refused(error: OAuthError) -> LoginError {
    LoginError::Refused { error: error.error, description: error.description }
}

/// Asks for the number that the approving page shows until it looks like one: a slip of the finger costs no try. `None`: it
/// was never typed.
async fn ask_for_number<R: Reporter>(reporter: &mut R, tries_left: Option<u8>) -> Result<Option<String>, LoginError> {
    reporter.report(&Event::NumberWanted { tries_left })?;
    loop {
        let Ok(typed) = tokio::time::timeout(TIME_FOR_NUMBER, reporter.number()).await else { return Ok(None) };
        let digits: String = typed?.ok_or(LoginError::NumberWanted)?.split_whitespace().collect();
        if digits.len() == 2 && digits.bytes().all(|sign| sign.is_ascii_digit()) {
            return Ok(Some(digits));
        }
        reporter.report(&Event::NoNumber)?;
    }
}

/// The wait for the decision on one code.
struct Wait<'a, T> {
    transport: &'a T,
    endpoints: &'a Endpoints,
    possession: &'a Possession,
    options: &'a Options,
    authorization: &'a DeviceAuthorization,
    deadline: Instant,
}

impl<T: Transport> Wait<'_, T> {
    /// Polls until the server decides (§3.5). The server's clock counts, not this one: a code approved in its last
    /// second is redeemed by the poll after it, so the end is the first fruitless poll past the deadline.
    async fn for_decision(&self, reporter: &mut impl Reporter) -> Result<Decision, LoginError> {
        let mut pacing = Pacing::new(self.authorization.interval);
        let mut patient = self.endpoints.poll_wait;
        // A server that holds polls is asked at once, and tells the decision when it is made.
        let mut delay = if patient.is_some() { Duration::ZERO } else { pacing.interval() };
        let mut number = None;
        loop {
            self.counting_down(tokio::time::sleep(delay), reporter).await?;
            let asked_at = Instant::now();
            let wait = patient.map(|wait| self.not_far_beyond_the_deadline(wait, pacing.interval()));
            let answer = self.counting_down(self.poll(number.take().as_deref(), wait), reporter).await?;
            let held = asked_at.elapsed();
            let late = Instant::now() >= self.deadline;
            delay = match answer {
                Poll::Approved(tokens) => return Ok(Decision::Approved(tokens)),
                Poll::Denied => return Err(LoginError::Denied),
                Poll::Expired => return Ok(Decision::Expired),
                // Approved already: the code lives long enough for somebody to go and look at the page.
                Poll::NumberWanted { tries_left } => match ask_for_number(reporter, tries_left).await? {
                    Some(typed) => {
                        number = Some(typed);
                        Duration::ZERO
                    }
                    None => return Ok(Decision::Expired),
                },
                // What an expired code becomes once the server has forgotten it.
                Poll::Refused(error) if late && error.error == "invalid_grant" => return Ok(Decision::Expired),
                Poll::Refused(error) => return Err(refused(error)),
                Poll::NotUnderstood(reason) => return Err(self.not_understood(reason)),
                Poll::Unavailable { reason, .. } if late => return Err(self.gone(reason)),
                Poll::Pending | Poll::SlowDown { .. } if late => return Ok(Decision::Expired),
                // The interval lies between the beginnings of polls (§3.5).
                Poll::Pending => pacing.pending().saturating_sub(held),
                Poll::SlowDown { interval } => pacing.slow_down(interval),
                Poll::Unavailable { reason, retry_after } => {
                    // A proxy between may have less patience than the server.
                    patient = None;
                    let after = self.not_far_beyond_the_deadline(pacing.failed(retry_after), pacing.interval());
                    reporter.report(&Event::Retrying { reason: &reason, after })?;
                    after
                }
            };
        }
    }

    /// One device access token request (§3.4). No answer at all is one more kind of trouble.
    async fn poll(&self, number: Option<&str>, wait: Option<Duration>) -> Poll {
        let mut parameters = vec![
            ("grant_type", GRANT_TYPE),
            ("device_code", self.authorization.device_code.expose()),
            ("client_id", self.options.client_id.as_str()),
        ];
        parameters.extend(number.map(|number| ("verification_number", number)));
        match self.possession.post_form(self.transport, &self.endpoints.token, &parameters, wait).await {
            Ok(answer) => Poll::read(&answer, self.possession.key().is_some()),
            Err(NoAnswer { reason, .. }) => Poll::Unavailable { reason, retry_after: None },
        }
    }

    /// Runs `work`, telling the time left at once and every second until it ends.
    async fn counting_down<F: Future>(&self, work: F, reporter: &mut impl Reporter) -> Result<F::Output, LoginError> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return Ok(output),
                now = second.tick() => {
                    reporter.report(&Event::Waiting { left: self.deadline.saturating_duration_since(now) })?;
                }
            }
        }
    }

    /// A long pause must not run past the moment at which the last poll is due.
    fn not_far_beyond_the_deadline(&self, delay: Duration, interval: Duration) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        delay.min(left.max(interval))
    }

    fn not_understood(&self, reason: String) -> LoginError {
        LoginError::NotUnderstood { address: self.endpoints.token.to_string(), reason }
    }

    fn gone(&self, reason: String) -> LoginError {
        LoginError::unreachable(&self.endpoints.token, NoAnswer { reason, sent: true })
    }
}

#[cfg(test)]
#[path = "device_login_tests.rs"]
mod tests;
