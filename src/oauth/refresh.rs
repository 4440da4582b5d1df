//! `POST /auth/token` with a refresh token: a session goes on (RFC 6749 §6, RFC 9700 §4.14; SPEC §2.3).
//!
//! A session that is bound to a key goes on with a proof only (RFC 9449 §5): of the same key where the client is public,
//! of any where it proves a secret besides. A public client's session that was bound to none is bound to the first key
//! that is proven for it.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use crate::audit;
use crate::directory::known::Compared;
use crate::directory::service::{Refresh, Service};
use crate::directory::user::Profile;
use crate::dpop::Proof;
use crate::http::client_address::Caller;
use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;
use crate::ids::{EventId, SessionId};
use crate::postgres::PgConnection;
use crate::session::store::{self, Rotation, Standing, Use};
use crate::session::tokens::{self, TokenAnswer};
use crate::session::{Session, refresh_token};

use super::Endpoints;
use super::client_auth::Credentials;
use super::possession::{self, Possession};
use super::resources;

/// How often a session is looked at that others change meanwhile: a second refresh, or whoever changes account or service.
const LOOKS: usize = 5;

/// Handles a refresh.
///
/// Everything is checked and the tokens are minted before anything is written, so that a request which asks too much or can't
/// prove its key leaves the token current. What is written is written if the session is still as it was looked at; if it
/// isn't, it is looked at again.
pub async fn handle(
    endpoints: &Endpoints,
    caller: &Caller,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<TokenAnswer, OAuthError> {
    let installation = &endpoints.installation;
    let token = parameters.required("refresh_token")?;
    let credentials = Credentials::read(headers, parameters)?;
    let possession = Possession::of_post(installation, headers, "/auth/token");
    for _ in 0..LOOKS {
        let service = endpoints.client(&credentials).await?;
        let presented = refresh_token::read(&installation.keyring, token).ok_or_else(unknown)?;
        let mut conn = installation.pool.acquire().await?;
        let request = Request { endpoints, caller, parameters, service: &service, possession: &possession };
        if let Some(answer) = request.look(&mut conn, presented).await? {
            endpoints.keep_secret(&credentials, &service);
            return Ok(answer);
        }
    }
    Err(OAuthError::temporarily_unavailable())
}

/// A refresh whose client is known.
struct Request<'a> {
    endpoints: &'a Endpoints,
    caller: &'a Caller,
    parameters: &'a Parameters,
    service: &'a Service,
    possession: &'a Possession,
}

impl Request<'_> {
    /// Looks at the session and answers for it; `None`: it was changed meanwhile.
    async fn look(
        &self,
        conn: &mut PgConnection,
        (id, generation): (SessionId, i32),
    ) -> Result<Option<TokenAnswer>, OAuthError> {
        let now = self.endpoints.installation.clock.now();
        let standing = store::by_id(conn, id, now).await?;
        let Some(standing) = standing.filter(|standing| standing.session.service_id == self.service.id) else {
            // The client_id may be another service's by now. No request waits for others with a connection in hand.
            return match self.endpoints.services.compare(conn, self.service).await? {
                Compared::Same => Err(unknown()),
                Compared::Changed => Ok(None),
            };
        };
        if !standing.is_of(self.service) {
            // This node has not heard of it yet.
            self.endpoints.services.forget_if(self.service);
            return Ok(None);
        }
        if self.service.refresh == Refresh::Never {
            return Err(OAuthError::invalid_grant(
                "Sessions of this service are not refreshed any more: log in again.",
            ));
        }
        let used = standing.use_of(generation, now);
        match used {
            Use::Ended(because) => {
                Err(OAuthError::invalid_grant(format!("This device was signed out: {because}. Log in again.")))
            }
            Use::Unknown => Err(unknown()),
            Use::Reused => self.end(conn, &standing.session, now).await,
            Use::Current => {
                let proof = self.prove(&standing.session)?;
                let next = Session { generation: generation.saturating_add(1), ..standing.session.clone() };
                let answer = self.mint(&next, &standing.person, proof, now)?;
                let rotated = self.rotate(conn, &standing, proof, now).await?;
                Ok(rotated.then_some(answer))
            }
            Use::Repeated => {
                let proof = self.prove(&standing.session)?;
                let answer = self.mint(&standing.session, &standing.person, proof, now)?;
                let Some(proof) = proof else { return Ok(Some(answer)) };
                let mut tx = conn.begin().await?;
                if let Some(jkt) = self.binds_to(&standing.session, Some(proof))
                    && !store::bind(&mut tx, id, jkt).await?
                {
                    return Ok(None);
                }
                possession::spend(&mut tx, &self.endpoints.installation, proof).await?;
                tx.commit().await?;
                Ok(Some(answer))
            }
        }
    }

    /// The proof by the key that the session needs, or that the new access token is bound to; `None` for a bearer token.
    fn prove(&self, session: &Session) -> Result<Option<&Proof>, OAuthError> {
        let bound_to = session.dpop_jkt.as_deref();
        let Some(proof) = self.possession.proof(self.service, bound_to.is_some())? else { return Ok(None) };
        if !self.service.is_confidential() && bound_to.is_some_and(|jkt| jkt != proof.jkt) {
            return Err(OAuthError::invalid_grant("This login is bound to another key than the proof's."));
        }
        Ok(Some(proof))
    }

    /// The key to which the session is bound by this request.
    fn binds_to<'p>(&self, session: &Session, proof: Option<&'p Proof>) -> Option<&'p str> {
        let binds = session.dpop_jkt.is_none() && !self.service.is_confidential();
        proof.filter(|_| binds).map(|proof| &*proof.jkt)
    }

    /// Without a proof, one statement. A proof is used up if the rotation is made, and only then.
    async fn rotate(
        &self,
        conn: &mut PgConnection,
        standing: &Standing,
        proof: Option<&Proof>,
        now: DateTime<Utc>,
    ) -> Result<bool, OAuthError> {
        let installation = &self.endpoints.installation;
        let jkt = self.binds_to(&standing.session, proof).or(standing.session.dpop_jkt.as_deref());
        let event = EventId::new(now, &installation.random.bytes());
        let rotation = Rotation { idle: self.service.refresh_idle, jkt, caller: self.caller, event };
        let Some(proof) = proof else { return Ok(store::rotate(conn, standing, rotation, now).await?) };
        let mut tx = conn.begin().await?;
        let rotated = store::rotate(&mut tx, standing, rotation, now).await?;
        if rotated {
            possession::spend(&mut tx, installation, proof).await?;
            tx.commit().await?;
        }
        Ok(rotated)
    }

    /// Ends a session whose token is in two hands. Without the key nothing happens, not even to that.
    async fn end(
        &self,
        conn: &mut PgConnection,
        session: &Session,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenAnswer>, OAuthError> {
        let proof = self.prove(session)?;
        let installation = &self.endpoints.installation;
        let mut tx = conn.begin().await?;
        let because = "an old refresh token of it was used: somebody may have copied it";
        if !store::revoke(&mut tx, session.id, because, now).await? {
            return Ok(None);
        }
        if let Some(proof) = proof {
            possession::spend(&mut tx, installation, proof).await?;
        }
        audit::Event::new(audit::Kind::ReuseDetected, &installation.clock, &installation.random)
            .of(session.organization_id)
            .service(session.service_id)
            .grant(session.grant_id)
            .session(session.id)
            .user(session.user_id)
            .caller(self.caller)
            .append(&mut tx)
            .await?;
        tx.commit().await?;
        Err(OAuthError::invalid_grant(
            "This refresh token was replaced before. Because it was used again, its session has been ended: log in again.",
        ))
    }

    fn mint(
        &self,
        session: &Session,
        person: &Profile,
        proof: Option<&Proof>,
        now: DateTime<Utc>,
    ) -> Result<TokenAnswer, OAuthError> {
        let scopes = narrowed(session, self.parameters.get("scope"))?;
        let resources = resources::narrowed(self.parameters, &session.resources)?;
        let given = tokens::Grant {
            session,
            service: self.service,
            person,
            scopes: &scopes,
            resources: &resources,
            jkt: proof.map(|proof| &*proof.jkt),
            refreshable: true,
        };
        tokens::mint(&self.endpoints.installation, &self.endpoints.signing_keys, &given, now).map_err(|error| {
            tracing::error!(%error, session = %session.id, "tokens can't be minted");
            OAuthError::server_error()
        })
    }
}

fn unknown() -> OAuthError {
    OAuthError::invalid_grant("This refresh token is not known here, or was given to another client.")
}

/// The scopes of the new access token: the session's, or fewer when fewer are asked (RFC 6749 §6).
fn narrowed(session: &Session, asked: Option<&str>) -> Result<Vec<String>, OAuthError> {
    let asked: Vec<&str> = asked.unwrap_or_default().split_ascii_whitespace().collect();
    if asked.is_empty() {
        return Ok(session.scopes.clone());
    }
    if asked.iter().all(|scope| session.scopes.iter().any(|granted| granted == scope)) {
        let kept = session.scopes.iter().filter(|scope| asked.contains(&scope.as_str()));
        Ok(kept.cloned().collect())
    } else {
        Err(OAuthError::invalid_scope("A refresh can't ask for more than was granted at the login."))
    }
}
