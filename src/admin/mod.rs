//! The administration API, `/api/v1` (SPEC §2): what an organization's owners and admins change, by programs.
//!
//! A request takes five steps, and each has a file:
//!
//! 1. [`administrator`]: whose token this is, whether its session goes on, what its scopes allow and what the person is *now*.
//! 2. [`reach`]: which organizations there are for them. All others don't exist.
//! 3. [`body`], [`page`], [`tag`]: what is asked, read strictly; `If-Match` says which version was looked at.
//! 4. A resource does it, in one transaction with its audit event: one file for each, and one writes at a time ([`writing`]). What `apply` can write is written by
//!    `apply`, by way of [`changes`]; [`apply`] takes whole files.
//! 5. [`problem`]: what is wrong is told in one form, whoever noticed it.
//!
//! [`document`] collects what the handlers say of themselves; a route is made of the same words, so there is none without them.

mod administrator;
mod answer;
mod apply;
mod body;
mod changes;
pub mod document;
mod events;
mod grants;
mod invitation;
mod keys;
mod organizations;
mod page;
mod problem;
mod provider_body;
mod providers;
mod reach;
mod refusals;
mod service_body;
mod services;
mod sessions;
mod statistics;
mod tag;
mod user_deeds;
mod users;
mod webhooks;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::device::rates::Rates;
use crate::directory::known::KnownServices;
use crate::dpop::nonce;
use crate::http::fields::BODY_TIME;
use crate::ids::UserId;
use crate::installation::Installation;
use crate::notice::Notices;
use crate::postgres::{Availability, Away};
use crate::session::signing_keys::SigningKeys;
use crate::telemetry::metrics;

use problem::Problem;

/// What the API needs. Cheap to clone.
#[derive(Clone)]
pub struct Administration {
    /// The running installation.
    pub installation: Installation,
    /// What signs tokens.
    pub signing_keys: SigningKeys,
    /// Whether the database answers.
    pub database: Availability,
    /// The services that this node remembers.
    services: KnownServices,
    /// What tells people and webhooks.
    notices: Notices,
    /// Turns to write the directory.
    writers: Arc<Semaphore>,
    /// How fast each person asks.
    requests: Rates<UserId>,
    /// How fast each person has webhooks tried.
    trials: Rates<UserId>,
    /// How fast each person applies files.
    files: Rates<UserId>,
}

impl Administration {
    /// Of this installation.
    #[must_use]
    pub fn new(
        installation: Installation,
        signing_keys: SigningKeys,
        database: Availability,
        services: KnownServices,
        notices: Notices,
    ) -> Self {
        let (requests, trials, files) = (Rates::default(), Rates::default(), Rates::default());
        let writers = Arc::new(Semaphore::new(writing::AT_ONCE));
        Self { installation, signing_keys, database, services, notices, writers, requests, trials, files }
    }
}

/// How long a request may take once its body is read.
const LONGEST: Duration = Duration::from_secs(10);

/// Every resource with what it says of itself.
fn resources() -> OpenApiRouter<Administration> {
    OpenApiRouter::with_openapi(document::frame())
        .merge(organizations::routes())
        .merge(services::routes())
        .merge(providers::routes())
        .merge(webhooks::routes())
        .merge(invitation::routes())
        .merge(users::routes())
        .merge(user_deeds::routes())
        .merge(sessions::routes())
        .merge(grants::routes())
        .merge(events::routes())
        .merge(statistics::routes())
        .merge(keys::routes())
        .merge(apply::routes())
}

/// The API, its document and its page, with answers in one form whatever happens.
pub fn router(api: Administration) -> Router {
    let (resources, document) = resources().split_for_parts();
    resources
        .route_layer(from_fn_with_state(api.clone(), with_database))
        .merge(document::router(document, &api.installation))
        .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED.into_response() })
        .layer(CatchPanicLayer::custom(|_| {
            metrics::panicked();
            Problem::fault().into_response()
        }))
        .layer(from_fn_with_state(api.clone(), finish))
        .with_state(api)
}

/// The answer for addresses of the API at which nothing is.
#[must_use]
pub fn not_found(installation: &Installation) -> Response {
    problem::written(&Problem::not_found(), &installation.public_url)
}

/// Middleware: says at once that the database is away, and ends what waits for it. Whoever is told that something was changed finds it
/// so at this node, which would hear of it a moment later.
async fn with_database(State(api): State<Administration>, request: Request, next: Next) -> Response {
    let looks = request.method().is_safe();
    let answer = api.database.within(BODY_TIME + LONGEST, next.run(request)).await;
    let answer = answer.unwrap_or_else(|Away| Problem::unavailable().into_response());
    if !looks && answer.status().is_success() {
        api.services.forget();
    }
    answer
}

/// Middleware: writes problems out, those of the router too, forbids to store any answer, and gives whoever sends a proof
/// the nonce for the next one (RFC 9449 §8).
async fn finish(State(api): State<Administration>, request: Request, next: Next) -> Response {
    let proves = request.headers().contains_key("dpop");
    let mut response = problem::shape(next.run(request).await, &api.installation.public_url);
    let installation = &api.installation;
    if proves && let Ok(nonce) = HeaderValue::try_from(nonce::current(&installation.keyring, installation.clock.now()))
    {
        response.headers_mut().insert("dpop-nonce", nonce);
    }
    response
}
