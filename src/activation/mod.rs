//! The activation page, where a person approves a device login (SPEC §3).
//!
//! Five steps, in this order and no other: the code, signing in, a second factor, the decision, the end. [`walk`] says
//! which one is next, and only it; every page asks it first and leads to the missing step if it isn't its own turn.

mod answer;
mod code;
mod confirm;
mod done;
mod mfa;
pub mod pages;
mod sign_in;
mod upstream_sign_in;
mod walk;
mod words;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::oauth_error::{self, OAuthError};
use crate::http::page_headers;
use crate::installation::Installation;
use crate::upstream::Upstream;

use answer::PageError;
use pages::{ICON, STYLESHEET, Trouble};

/// What the pages need. Cheap to clone.
#[derive(Clone)]
pub struct Pages {
    /// The running installation.
    pub installation: Installation,
    /// The way to upstream providers.
    pub upstream: Upstream,
}

/// The pages, with headers that keep them to themselves.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/activate", get(code::show).post(code::submit))
        .route("/activate/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/activate/sign-out", post(sign_in::sign_out))
        .route("/activate/mfa", get(mfa::show).post(mfa::submit))
        .route("/activate/confirm", get(confirm::show).post(confirm::submit))
        .route("/activate/done", get(done::show))
        .method_not_allowed_fallback(|| async { PageError::Trouble(StatusCode::METHOD_NOT_ALLOWED, Trouble::NotFound) })
        .merge(providers())
        .layer(CatchPanicLayer::custom(|_| PageError::Fault("a handler panicked".into()).into_response()))
        .layer(from_fn_with_state(pages.clone(), answer::say_what_is_wrong))
        .layer(from_fn(page_headers::protect))
        .with_state(pages)
        .merge(assets())
}

/// Where sign-ins at providers begin and end. Who comes with another method is a program and is told so as one.
fn providers() -> Router<Pages> {
    Router::new()
        .route("/auth/{provider}", get(upstream_sign_in::start))
        .route("/auth/admin/{provider}", get(upstream_sign_in::start_for_platform))
        .route("/auth/{provider}/callback", get(upstream_sign_in::finish))
        .method_not_allowed_fallback(|State(pages): State<Pages>| async move {
            let error = OAuthError::invalid_request("There is no such endpoint; the metadata lists those that are.");
            oauth_error::answer(&error.with_status(405), &pages.installation.clock)
        })
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
fn assets() -> Router {
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
