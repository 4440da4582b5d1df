//! Who asks: a person, by an access token that the service `admin-cli` of their organization was given.
//!
//! A token says who, and what was granted; what the person may do is what they are at this moment. So the database is asked
//! each time whether the session goes on, and for role and status: whoever is demoted or locked can do nothing more.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use crate::audit::{Event, Kind};
use crate::directory::apply::{ADMIN_SCOPES, OWN_SERVICE};
use crate::directory::organization;
use crate::directory::service::{self, Dpop, Service};
use crate::directory::user::{self, Role};
use crate::dpop::{ALGORITHMS_LIST, Proof, Target, replay};
use crate::http::client_address::Caller;
use crate::ids::{SessionId, UserId};
use crate::installation::Installation;
use crate::postgres::PgConnection;
use crate::session::access_token::{self, Audience, Claims};
use crate::session::store;

use super::Administration;
use super::problem::Problem;
use super::reach::Reach;

/// How many requests a minute one person may make to one server.
const REQUESTS: u32 = 1200;

/// What reading needs, or the other one.
const READ: &str = "admin:read";

/// What changing needs.
const WRITE: &str = "admin:write";

const BEARER: &str = "Bearer realm=\"countersign\", error=\"invalid_token\"";

const OVER: &str =
    "The access token is missing, malformed, expired, not of an administration service, or its session has ended.";

/// Somebody who administers.
pub struct Administrator {
    /// The running installation.
    pub installation: Installation,
    /// The person.
    pub user: UserId,
    /// The device on which they are signed in.
    pub session: SessionId,
    /// How far they reach.
    pub reach: Reach,
    /// Where the request comes from.
    pub caller: Caller,
    /// `If-Match`.
    pub precondition: Option<String>,
}

/// An access token as it was sent.
struct Sent<'a> {
    token: &'a str,
    as_dpop: bool,
}

impl FromRequestParts<Administration> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Administration) -> Result<Self, Problem> {
        let Ok(caller) = Caller::from_request_parts(parts, api).await;
        let over = || Problem::invalid_token(OVER, BEARER);
        let sent = sent(&parts.headers).ok_or_else(over)?;
        let installation = &api.installation;
        let claims = access_token::read(installation, &api.signing_keys, sent.token).await.ok_or_else(over)?;
        let mut conn = installation.pool.acquire().await?;
        let standing = store::by_id(&mut conn, claims.session(), installation.clock.now()).await?;
        let session = standing.filter(|standing| standing.ended_because.is_none()).ok_or_else(over)?.session;
        let service = service::by_id(&mut conn, session.service_id).await?.ok_or_else(over)?;
        // One that was made for an API of the organization's own is not for this one (RFC 9068 §4).
        if !administers(&service) || claims.aud != Audience::One(service.client_id.clone()) {
            return Err(over());
        }
        prove(&mut conn, installation, parts, &claims, &sent, &service).await?;
        let needed = if parts.method == Method::GET || parts.method == Method::HEAD { READ } else { WRITE };
        if !claims.has_scope(needed) && !claims.has_scope(WRITE) {
            return Err(Problem::insufficient_scope(needed));
        }
        let person = user::by_id(&mut conn, session.user_id).await?.ok_or_else(over)?;
        let home = organization::by_id(&mut conn, person.organization_id).await?.ok_or_else(over)?;
        let limit = if installation.dev_mode { 0 } else { REQUESTS };
        api.requests
            .take(person.id, limit, installation.clock.now())
            .map_err(|wait| Problem::too_many_requests(wait.as_secs() + 1))?;
        if person.role == Role::Member {
            return Err(Problem::forbidden("Members administer nothing: an owner can make you an admin."));
        }
        let precondition = parts.headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        Ok(Self {
            installation: installation.clone(),
            user: person.id,
            session: session.id,
            reach: Reach::of(home, person.role),
            caller,
            precondition: precondition.map(str::to_owned),
        })
    }
}

/// Whether people are asked for this service's scopes in the words that say what they are worth here. A service that had the
/// name before organizations got their own may ask for less, and be given it by an owner who read no more.
fn administers(service: &Service) -> bool {
    let words = service.scopes.iter().map(|scope| (&*scope.name, &*scope.text));
    service.slug == OWN_SERVICE && words.eq(ADMIN_SCOPES)
}

/// Whether the sender holds the key to which the token is bound (RFC 9449 §7.1).
async fn prove(
    conn: &mut PgConnection,
    installation: &Installation,
    parts: &Parts,
    claims: &Claims,
    sent: &Sent<'_>,
    service: &Service,
) -> Result<(), Problem> {
    let refused = |error: &str, detail: String| {
        let challenge = format!("DPoP realm=\"countersign\", error=\"{error}\", algs=\"{ALGORITHMS_LIST}\"");
        Problem::invalid_token(detail, &challenge)
    };
    let key = match (&claims.cnf, sent.as_dpop) {
        (None, false) => return Ok(()),
        (None, true) => {
            return Err(Problem::invalid_token("This access token is bound to no key: send it as Bearer.", BEARER));
        }
        (Some(_), false) => {
            return Err(refused(
                "invalid_token",
                "This access token is bound to a key: send it as DPoP, with a proof.".into(),
            ));
        }
        (Some(key), true) => key,
    };
    let url = installation.public_url.join(parts.uri.path());
    let target = Target { method: parts.method.as_str(), url: &url, access_token: Some(sent.token) };
    let now = installation.clock.now();
    let proof = Proof::of(&parts.headers, &target, &installation.keyring, now)
        .map_err(|error| refused("invalid_dpop_proof", error.to_string()))?;
    let proof = proof.filter(|proof| proof.jkt == key.jkt);
    let proof = proof.ok_or_else(|| refused("invalid_token", "A proof by the token's key is missing.".into()))?;
    if service.dpop == Dpop::Required && !proof.has_nonce {
        return Err(refused("use_dpop_nonce", "The proof must carry the nonce that DPoP-Nonce gives.".into()));
    }
    if replay::spend(conn, &proof, now).await? {
        Ok(())
    } else {
        Err(refused("invalid_dpop_proof", "This proof was used before.".into()))
    }
}

/// The token of `Authorization`; in a query it would end in logs.
fn sent(headers: &HeaderMap) -> Option<Sent<'_>> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let as_dpop = scheme.eq_ignore_ascii_case("dpop");
    (as_dpop || scheme.eq_ignore_ascii_case("bearer")).then_some(Sent { token: token.trim(), as_dpop })
}

impl Administrator {
    /// An event that this request causes.
    pub fn event(&self, kind: Kind) -> Event {
        Event::new(kind, &self.installation.clock, &self.installation.random).caller(&self.caller)
    }

    /// Who did it, for an event's detail: its user is whom it is about.
    pub fn by(&self) -> Value {
        json!({ "user": self.user, "session": self.session, "at": "api" })
    }
}
