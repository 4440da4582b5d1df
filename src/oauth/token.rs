//! `POST /auth/token`: a device polls, and one poll redeems the grant (RFC 8628 §3.4, §3.5; SPEC §2.3).
//!
//! A poll never fails for our reasons: a device that is told "server error" gives up, and the person approves into the
//! void. While the database is away, a genuine code that may be alive is pending.
//!
//! A poll of a grant that this node holds in memory ([`waiting`](crate::device::waiting)) is answered from there, a plain one
//! before it comes here ([`super::short_way`]). One of a grant that it doesn't is looked up; if that is still open, it is held from then on. A proof of a key is spent in the
//! database, with each poll.
//!
//! A grant that its request bound to a key is redeemed with a proof of that key only (RFC 9449 §5). One that was bound to
//! none is redeemed with or without: with a proof, its tokens are bound to that key from then on.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::audit;
use crate::device::codes;
use crate::device::grant::{self, Answer, Grant};
use crate::device::lookup::PATIENCE;
use crate::device::waiting::{Glimpse, Open, Place};
use crate::directory::service::{Dpop, Service};
use crate::dpop::{Proof, replay};
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::http::preference;
use crate::ids::GrantId;
use crate::postgres::Away;
use crate::session;
use crate::session::tokens::TokenAnswer;
use crate::telemetry::metrics;

use super::client_auth::Credentials;
use super::device_authorization::may_log_in;
use super::doubts::{OUTAGE_SETTLES, OUTAGE_UNNOTICED};
use super::openapi::{refusals, requests};
use super::possession::{self, Possession};
use super::redemption::{self, Approved, Given};
use super::verification::{self, Verified};
use super::{DEVICE_CODE_GRANT, Endpoints, LONGEST};
use super::{refresh, resources};

/// The longest that a poll may ask to be held.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Seconds between looks while nothing is known of the grant.
const USUAL_INTERVAL: i16 = 5;

/// Handles a token request.
#[utoipa::path(
    post,
    path = "/auth/token",
    operation_id = "token",
    tag = "Device login",
    summary = "A device polls for its tokens (RFC 8628 §3.4), or refreshes them (RFC 6749 §6)",
    params(
        ("DPoP" = Option<String>, Header, nullable = false, description = "A proof that the sender holds its key (RFC 9449)"),
        ("Prefer" = Option<String>, Header, nullable = false, description = "`wait=N`: hold the poll for N seconds, at most 30 (RFC 7240)")
    ),
    request_body(content(
        (requests::TokenRequest = "application/x-www-form-urlencoded"),
        (requests::TokenRequest = "application/json")
    )),
    responses((status = 200, description = "The tokens", body = TokenAnswer), refusals::OfPost),
    security((), ("client" = []))
)]
pub async fn handle(
    State(endpoints): State<Endpoints>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, OAuthError> {
    match parameters.required("grant_type")? {
        DEVICE_CODE_GRANT => {
            let wait = preference::wait(&headers, LONGEST_WAIT);
            let poll = Poll::read(&endpoints, &caller, &headers, &parameters);
            let poll = poll.inspect_err(|error| metrics::poll(error.error()))?;
            let answer = poll.answer(wait).await;
            metrics::poll(answer.as_ref().err().map_or(metrics::TOKENS, OAuthError::error));
            let told_to_slow_down = answer.as_ref().is_err_and(OAuthError::is_slow_down);
            let mut response = answer.map(Json).into_response();
            if let Some(wait) = wait.filter(|_| !told_to_slow_down) {
                let applied = format!("wait={}", wait.as_secs()).parse().map_err(|_| OAuthError::server_error())?;
                response.headers_mut().insert("preference-applied", applied);
            }
            Ok(response)
        }
        "refresh_token" => {
            let answer = refresh::handle(&endpoints, &caller, &headers, &parameters);
            let answer = endpoints.database.within(LONGEST, Box::pin(answer)).await;
            let answer = answer.unwrap_or_else(|Away| Err(OAuthError::temporarily_unavailable()))?;
            Ok(Json(answer).into_response())
        }
        _ => Err(OAuthError::unsupported_grant_type(
            "This endpoint takes the grant types urn:ietf:params:oauth:grant-type:device_code and refresh_token.",
        )),
    }
}

/// One poll.
struct Poll<'a> {
    endpoints: &'a Endpoints,
    caller: &'a Caller,
    parameters: &'a Parameters,
    credentials: Credentials,
    possession: Possession,
    /// The grant of the device code; `None`: the code is not genuine, or not this client's.
    grant: Option<GrantId>,
    at: DateTime<Utc>,
    /// Whether it took its place in the pace.
    counted: bool,
    /// Whether its proof was tried to be used up.
    tried: bool,
    /// Whether its proof is used up.
    spent: bool,
}

/// What a look at the database said.
enum Look {
    Decided(Box<Result<TokenAnswer, OAuthError>>),
    Undecided(Box<Grant>),
}

impl<'a> Poll<'a> {
    fn read(
        endpoints: &'a Endpoints,
        caller: &'a Caller,
        headers: &HeaderMap,
        parameters: &'a Parameters,
    ) -> Result<Self, OAuthError> {
        let code = parameters.required("device_code")?;
        let credentials = Credentials::read(headers, parameters)?;
        let installation = &endpoints.installation;
        let grant = credentials.client_ids().find_map(|id| codes::read_device_code(&installation.keyring, code, id));
        let possession = Possession::of_post(installation, headers, "/auth/token");
        let at = installation.clock.now();
        let (counted, tried, spent) = (false, false, false);
        Ok(Self { endpoints, caller, parameters, credentials, possession, grant, at, counted, tried, spent })
    }

    async fn answer(mut self, wait: Option<Duration>) -> Result<TokenAnswer, OAuthError> {
        let until = Instant::now() + wait.unwrap_or_default();
        let Endpoints { waiting, database, .. } = self.endpoints;
        let place = wait.and(self.grant).map(|grant| waiting.take_place(grant));
        loop {
            // From here on no decision is missed: it either is known where this looks, or wakes this place.
            let decision = place.as_ref().map(Place::decision);
            let (undecided, look_again) = match self.remembered() {
                Some(undecided) => (undecided, None),
                None => match database.unless_lost(self.look()).await {
                    Ok(Ok(Look::Decided(answer))) => return *answer,
                    Ok(Ok(Look::Undecided(grant))) => {
                        let held = waiting.open(grant.id).is_some();
                        (not_yet(grant.poll_interval), (!held).then_some(grant.poll_interval))
                    }
                    Ok(Err(_)) | Err(Away) => (self.while_away(), Some(USUAL_INTERVAL)),
                },
            };
            let left = until.saturating_duration_since(Instant::now());
            let waits = !left.is_zero() && undecided.is_pending() && !waiting.is_closed();
            let Some(decision) = decision.filter(|_| waits) else { return Err(undecided) };
            // What isn't held here is looked at again after an interval, even if nobody calls.
            let seconds = look_again.map(|seconds| Duration::from_secs(u64::from(seconds.unsigned_abs())));
            let _either = tokio::time::timeout(seconds.map_or(left, |interval| left.min(interval)), decision).await;
        }
    }

    /// The answer to a poll of a grant that is open for all that is known here, and whose client is known; `None`: the
    /// database has to say.
    fn remembered(&mut self) -> Option<OAuthError> {
        let grant = self.grant?;
        let narrows = ["resource", "audience"].into_iter().any(|name| self.parameters.all(name).next().is_some());
        if narrows || !self.possession.is_absent() {
            return None;
        }
        let known = self.endpoints.services.now();
        let service = self.credentials.among(&known, &self.endpoints.installation.keyring)?;
        let open = open_in_memory(self.endpoints, grant, service)?;
        let flood = self.is_flood(grant, open.interval, open.expires_at);
        Some(if flood { slow_down(open.interval) } else { not_yet(open.interval) })
    }

    /// Whether this poll comes too fast. It counts once, however often it looks.
    fn is_flood(&mut self, grant: GrantId, interval: i16, expires_at: DateTime<Utc>) -> bool {
        let style = self.credentials.style;
        !std::mem::replace(&mut self.counted, true)
            && !self.endpoints.pacing.take(grant, style, interval, expires_at, self.at)
    }

    /// The proof of this poll as it counts for the grant. Whoever has the code but not the key learns nothing of the
    /// grant and uses nothing up.
    fn prove(&self, grant: &Grant, service: &Service) -> Result<Option<Proof>, OAuthError> {
        let bound_to = grant.dpop_jkt.as_deref();
        let proof = self.possession.proof(service, bound_to.is_some())?;
        if let (Some(jkt), Some(proof)) = (bound_to, proof)
            && jkt != proof.jkt
        {
            return Err(OAuthError::invalid_grant("This device code is bound to another key than the proof's."));
        }
        Ok(proof.cloned())
    }

    /// Uses the proof up, once for all looks of this poll; `false` when it had been used before.
    async fn spend(&mut self, proof: Option<&Proof>) -> Result<bool, sqlx::Error> {
        if let Some(proof) = proof.filter(|_| !self.spent) {
            let mut conn = self.endpoints.installation.pool.acquire().await?;
            // After a try that failed nobody knows whether it was written: what stands there is then taken for ours.
            let unsure = std::mem::replace(&mut self.tried, true);
            self.spent = replay::spend(&mut conn, proof, self.at).await? || unsure;
            return Ok(self.spent);
        }
        Ok(true)
    }

    /// The answer while the database is away.
    fn while_away(&self) -> OAuthError {
        match self.grant {
            Some(grant) if grant::may_be_alive(grant, self.at) => OAuthError::authorization_pending(
                "Not approved yet, as far as is known at this moment: keep polling at the same interval.",
            ),
            Some(_) => OAuthError::expired_token("The code has expired: ask for a new one."),
            // Told without the database, as always.
            None => unknown_code(),
        }
    }

    /// Looks at the client and the grant. An error is the database's, or the refusal of a client without a genuine code.
    async fn look(&mut self) -> Result<Look, OAuthError> {
        let since = self.grant.map(|grant| self.endpoints.waiting.glimpse(grant));
        // Reading can be given up at any moment; a redemption that was begun is seen through.
        let found = tokio::time::timeout(PATIENCE, self.find()).await;
        let (service, grant) = match found.map_err(|_| OAuthError::temporarily_unavailable())? {
            Ok(found) => found,
            Err(error) if error.is_of_the_server() => return Err(error),
            Err(refusal) => return Ok(Look::decided(Err(refusal))),
        };
        let now = self.endpoints.installation.clock.now();
        let proof = match self.prove(&grant, &service) {
            Ok(proof) => proof,
            Err(refusal) => return Ok(Look::decided(Err(refusal))),
        };
        let wanted = resources::narrowed(self.parameters, &grant.resources);
        let refusal = match (grant.answer(now), wanted) {
            (Answer::Pending | Answer::Approved(_), Err(refusal)) => refusal,
            (Answer::Pending, Ok(_)) => match may_log_in(&service) {
                Ok(()) if self.is_flood(grant.id, grant.poll_interval, grant.expires_at) => {
                    slow_down(grant.poll_interval)
                }
                Ok(()) if self.spend(proof.as_ref()).await? => {
                    self.hold(&grant, since);
                    return Ok(Look::Undecided(Box::new(grant)));
                }
                Ok(()) => possession::used_before(),
                Err(refusal) => refusal,
            },
            (Answer::Approved(approval), Ok(resources)) => {
                if self.spend(proof.as_ref()).await? {
                    let mut conn = self.endpoints.installation.pool.acquire().await?;
                    let (caller, installation) = (self.caller, &self.endpoints.installation);
                    let decided = (&grant, approval);
                    match verification::check(&mut conn, installation, decided, self.parameters, caller).await? {
                        Verified::Yes(number) => {
                            let jkt = proof.map(|proof| proof.jkt);
                            let given = Given { caller, resources: &resources, jkt, number };
                            let approved = Approved { grant: &grant, approval, service: &service };
                            let answer = redemption::redeem(&mut conn, self.endpoints, approved, given).await;
                            return answer.map(Look::decided);
                        }
                        Verified::Missing(_) if self.is_flood(grant.id, grant.poll_interval, grant.expires_at) => {
                            slow_down(grant.poll_interval)
                        }
                        Verified::Missing(refusal) | Verified::No(refusal) => refusal,
                    }
                } else {
                    possession::used_before()
                }
            }
            (Answer::Denied, _) => may_log_in(&service).err().unwrap_or_else(denied),
            (Answer::Expired, _) => expired(),
            (Answer::Forgotten, _) => unknown_code(),
            (Answer::Redeemed(session) | Answer::Replayed(session), _)
                if self.endpoints.doubts.hold(session) || self.may_be_in_doubt(&grant, now) =>
            {
                redemption::in_doubt()
            }
            (Answer::Redeemed(_), _) => OAuthError::invalid_grant("The tokens of this code were sent a moment ago."),
            (Answer::Replayed(_), _) => {
                self.replayed(grant.id, &service).await?;
                OAuthError::invalid_grant(
                    "This code was redeemed before. Because it was used again, its session has been ended.",
                )
            }
        };
        Ok(Look::decided(Err(refusal)))
    }

    /// Whether the grant was redeemed when the database was about to be lost, and this may still be taken back.
    fn may_be_in_doubt(&self, grant: &Grant, now: DateTime<Utc>) -> bool {
        let lost = self.endpoints.database.lost_ago(OUTAGE_SETTLES).and_then(|ago| TimeDelta::from_std(ago).ok());
        let ago = grant.redeemed_at().map(|at| now - at);
        lost.zip(ago).is_some_and(|(lost, redeemed)| redeemed <= lost + OUTAGE_UNNOTICED)
    }

    /// Holds an open grant in memory, as it was looked up.
    fn hold(&self, grant: &Grant, since: Option<Glimpse>) {
        let open = Open::from(grant);
        if let Some(since) = since {
            self.endpoints.waiting.remember(grant.id, since, open);
        }
    }

    /// The client and its grant.
    async fn find(&self) -> Result<(Arc<Service>, Grant), OAuthError> {
        let service = self.endpoints.client(&self.credentials).await?;
        let id = self.grant.ok_or_else(unknown_code)?;
        match self.endpoints.lookups.find(id).await.map_err(super::undone)? {
            Some(grant) if grant.service_id == service.id => Ok((service, grant)),
            Some(_) => Err(unknown_code()),
            // The login was deleted long ago; the session that came of it may go on.
            None => {
                self.replayed(id, &service).await?;
                Err(unknown_code())
            }
        }
    }

    /// A code that was redeemed and comes again is in two hands: the session that came of it ends.
    async fn replayed(&self, grant: GrantId, service: &Service) -> Result<(), OAuthError> {
        let installation = &self.endpoints.installation;
        let now = installation.clock.now();
        let mut tx = installation.pool.begin().await?;
        let ended = session::store::revoke_of_grant(&mut tx, grant, "its device code was used again", now).await?;
        let Some(ended) = ended else { return Ok(()) };
        let session = session::store::by_id(&mut tx, ended, now).await?.map(|standing| standing.session);
        let Some(session) = session.filter(|session| session.service_id == service.id) else { return Ok(()) };
        audit::Event::new(audit::Kind::Replayed, &installation.clock, &installation.random)
            .of(session.organization_id)
            .service(session.service_id)
            .grant(grant)
            .session(session.id)
            .user(session.user_id)
            .caller(self.caller)
            .append(&mut tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

impl Look {
    fn decided(answer: Result<TokenAnswer, OAuthError>) -> Self {
        Self::Decided(Box::new(answer))
    }
}

/// What is held of a grant that is open for all that is known here, if that is all that a poll by this client needs: one without
/// a proof.
pub(super) fn open_in_memory(endpoints: &Endpoints, grant: GrantId, service: &Service) -> Option<Open> {
    let Endpoints { installation, waiting, .. } = endpoints;
    let open = waiting.open(grant).filter(|open| !open.bound && installation.clock.now() < open.expires_at)?;
    let is_enough = open.service == service.id && service.dpop != Dpop::Required && may_log_in(service).is_ok();
    is_enough.then_some(open)
}

fn unknown_code() -> OAuthError {
    OAuthError::invalid_grant("This device code is not known here, or was given to another client. Ask for a new one.")
}

pub(super) fn denied() -> OAuthError {
    OAuthError::access_denied("The request was denied, or its approval was taken back.")
}

pub(super) fn expired() -> OAuthError {
    OAuthError::expired_token("The code expired before it was approved: ask for a new one.")
}

pub(super) fn not_yet(interval: i16) -> OAuthError {
    OAuthError::authorization_pending(format!("Not approved yet: poll again in {interval} s."))
}

pub(super) fn slow_down(interval: i16) -> OAuthError {
    OAuthError::slow_down(format!("Polls come too fast: one every {interval} s is enough."))
}
