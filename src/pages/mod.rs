//! What the doors for people have in common: how a page is answered, what surrounds it, signing in and second factors.
//!
//! Structs hold what a page shows and are rendered by templates. They hold plain text and know nothing of grants, users
//! or providers: a handler decides, a page says. Templates escape everything except [`factor::Enrol::qr_svg`].
//!
//! The pages keep to a policy without inline script or style and need only
//! `default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`.

pub mod answer;
pub mod factor;
pub mod frame;
pub mod message;
pub mod password;
pub mod refusal;
pub mod second_factor;
pub mod sign_in;
pub mod signed_in;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::Phishing;
use crate::device::live::LiveCodes;
use crate::device::waiting::Waiting;
use crate::directory::known::KnownServices;
use crate::geo::Places;
use crate::http::page_headers;
use crate::installation::Installation;
use crate::notice::Notices;
use crate::postgres::Availability;
use crate::telemetry::metrics;
use crate::upstream::Upstream;

pub use crate::words;

use answer::PageError;
use frame::{ICON, STYLESHEET};
use message::Trouble;

/// What the pages need. Cheap to clone.
#[derive(Clone)]
pub struct Pages {
    /// The running installation.
    pub installation: Installation,
    /// The way to upstream providers.
    pub upstream: Upstream,
    /// Where addresses are.
    pub places: Places,
    /// What looks like phishing.
    pub phishing: Phishing,
    /// The services that this node has looked up.
    pub services: KnownServices,
    /// What a guess of a user code costs.
    pub live: LiveCodes,
    /// The polls that wait for a decision.
    pub waiting: Waiting,
    /// Everything that tells people and programs what happened.
    pub notices: Notices,
    /// Whether the database answers.
    pub database: Availability,
}

/// A door's pages, with headers that keep them to themselves and with a page for every error.
pub fn served(pages: Pages, door: Router<Pages>) -> Router {
    let panicked = CatchPanicLayer::custom(|_| {
        metrics::panicked();
        PageError::Fault("a handler panicked".into()).into_response()
    });
    door.layer(panicked)
        .layer(from_fn_with_state(pages.clone(), answer::with_database))
        .layer(from_fn_with_state(pages.clone(), answer::say_what_is_wrong))
        .layer(from_fn(page_headers::protect))
        .with_state(pages)
}

/// The page for addresses that are none.
#[must_use]
pub fn not_found() -> Response {
    PageError::Trouble(StatusCode::NOT_FOUND, Trouble::NotFound).into_response()
}

/// Middleware for [`not_found`].
pub fn with_pages_for_errors(pages: Pages, router: Router) -> Router {
    router.layer(from_fn_with_state(pages, answer::say_what_is_wrong)).layer(from_fn(page_headers::protect))
}

/// The stylesheet and the mark. Their addresses change with their contents, so they are kept for ever.
pub fn assets() -> Router {
    let asset = |content_type: &'static str, content: &'static str| {
        let kept = [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        get(move || async move { (kept, content) })
    };
    Router::new()
        .route("/static/countersign.css", asset("text/css; charset=utf-8", STYLESHEET))
        .route("/static/countersign.svg", asset("image/svg+xml", ICON))
}
