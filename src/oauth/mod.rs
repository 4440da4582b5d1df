//! The endpoints that devices and services call (SPEC §2).

pub mod client_auth;
mod device_authorization;
mod device_verify;
mod doubts;
mod introspect;
mod limits;
mod metadata;
pub mod openapi;
mod possession;
mod redemption;
mod refresh;
mod resources;
mod revoke;
pub mod short_way;
mod token;
mod userinfo;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::clock::Clock;
use crate::device::intake::Intake;
use crate::device::live::LiveCodes;
use crate::device::lookup::Lookups;
use crate::device::pacing::Pacing;
use crate::device::waiting::Waiting;
use crate::directory::kept_secret::Renewals;
use crate::directory::known::KnownServices;
use crate::directory::service::Service;
use crate::grouping::Undone;
use crate::http::fields::BODY_TIME;
use crate::http::oauth_error::{self, OAuthError};
use crate::installation::Installation;
use crate::postgres::{Availability, Away};
use crate::session::signing_keys::SigningKeys;
use crate::telemetry::metrics;

use client_auth::Credentials;

pub use doubts::Doubts;
pub use limits::Requests;

/// What the endpoints need. Cheap to clone.
#[derive(Clone)]
pub struct Endpoints {
    /// The running installation.
    pub installation: Installation,
    /// What signs tokens.
    pub signing_keys: SigningKeys,
    /// The services that this node has looked up.
    pub services: KnownServices,
    /// What keeps clients' secrets under the installation's current one.
    pub renewals: Renewals,
    /// Open grants, and polls that wait.
    pub waiting: Waiting,
    /// How fast polls may come.
    pub pacing: Pacing,
    /// How fast requests for codes may come.
    pub requests: Requests,
    /// How many codes are open.
    pub live: LiveCodes,
    /// Where new grants are written.
    pub intake: Intake,
    /// Where grants are looked up.
    pub lookups: Lookups,
    /// Redemptions of which nobody knows whether they were committed.
    pub doubts: Doubts,
    /// Whether the database answers.
    pub database: Availability,
}

impl Endpoints {
    /// The client with these credentials.
    async fn client(&self, credentials: &Credentials) -> Result<Arc<Service>, OAuthError> {
        let mut known = false;
        for (client_id, secret) in credentials.candidates() {
            let Some(service) = self.services.find(client_id).await.map_err(undone)? else { continue };
            if client_auth::is_proven(&service, secret, &self.installation.keyring) {
                return Ok(service);
            }
            // Whoever refuses a client ends its logins: not on account of a secret that may have been changed meanwhile.
            let Some(service) = self.afresh(client_id).await? else { continue };
            if client_auth::is_proven(&service, secret, &self.installation.keyring) {
                return Ok(service);
            }
            known = true;
        }
        Err(credentials.refuse(known))
    }

    /// Has the secret that a client just proved kept under the installation's current secret, so that an older one can be taken away.
    /// Nobody waits for it. It changes the service, and a redemption is of the version that was looked at: so polls don't ask for it.
    fn keep_secret(&self, credentials: &Credentials, service: &Service) {
        if let Some(renewal) = credentials.renewal(service, &self.installation.keyring) {
            self.renewals.begin(renewal);
        }
    }

    /// The service with this `client_id`, as the database has it.
    async fn afresh(&self, client_id: &str) -> Result<Option<Arc<Service>>, OAuthError> {
        self.services.find_afresh(client_id).await.map_err(undone)
    }
}

/// The answer when what was to be done together with others wasn't done.
fn undone(why: Undone<Arc<sqlx::Error>>) -> OAuthError {
    match why {
        Undone::Failed(error) => OAuthError::from(&*error),
        Undone::TooLong | Undone::TooMany => {
            tracing::error!(%why, "the database did not answer a request");
            OAuthError::temporarily_unavailable()
        }
        Undone::Lost => OAuthError::server_error(),
    }
}

/// The device grant's name (RFC 8628 §3.4).
pub const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The endpoints, with answers in OAuth's form whatever happens, and open to every web origin without credentials.
pub fn router(endpoints: Endpoints) -> Router {
    let installation = endpoints.installation.clone();
    let clock = installation.clock.clone();
    Router::new()
        .route("/auth/device/code", post(device_authorization::handle))
        .route("/auth/device/verify", post(device_verify::handle))
        .route("/auth/revoke", post(revoke::handle))
        .route("/auth/introspect", post(introspect::handle))
        .route("/auth/userinfo", get(userinfo::handle).post(userinfo::handle))
        .route_layer(from_fn_with_state(endpoints.database.clone(), with_database))
        // Polls are answered without it, and look for themselves.
        .route("/auth/token", post(token::handle))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/.well-known/openid-configuration", get(metadata::metadata))
        .route("/.well-known/jwks.json", get(metadata::jwks))
        .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED.into_response() })
        .layer(CatchPanicLayer::custom(|_| {
            metrics::panicked();
            OAuthError::server_error().into_response()
        }))
        .layer(from_fn_with_state(clock, oauth_error::shape))
        .layer(from_fn_with_state(installation, possession::give_nonce))
        .layer(cors())
        .with_state(endpoints)
}

/// How long a request may take in which nobody but the database is waited for, once its body is read: [`BODY_TIME`] is the
/// client's.
const LONGEST: Duration = Duration::from_secs(5);

/// Middleware: says at once that the database is away, and ends what waits for it.
async fn with_database(State(database): State<Availability>, request: Request, next: Next) -> Response {
    let answer = database.within(BODY_TIME + LONGEST, next.run(request)).await;
    answer.unwrap_or_else(|Away| OAuthError::temporarily_unavailable().into_response())
}

/// The metadata where RFC 8414 §3.1 looks for that of an issuer with a path: before the path, not behind it.
pub fn metadata_before(path: &str, endpoints: Endpoints) -> Router {
    Router::new()
        .route(&format!("/.well-known/oauth-authorization-server{path}"), get(metadata::metadata))
        .route(&format!("/.well-known/openid-configuration{path}"), get(metadata::metadata))
        .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED.into_response() })
        .layer(from_fn_with_state(endpoints.installation.clock.clone(), oauth_error::shape))
        .layer(cors())
        .with_state(endpoints)
}

/// The answer for addresses at which programs look for endpoints that are not there.
#[must_use]
pub fn not_found(clock: &Clock) -> Response {
    let error = OAuthError::invalid_request("There is no such endpoint here; the metadata lists those that are.");
    oauth_error::answer(&error.with_status(404), clock)
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            possession::DPOP,
            HeaderName::from_static("prefer"),
        ])
        .expose_headers([
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            possession::DPOP_NONCE,
            HeaderName::from_static("preference-applied"),
        ])
}

/// What [`cors`] adds to an answer.
const OF_CORS: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "www-authenticate,retry-after,dpop-nonce,preference-applied"),
];
