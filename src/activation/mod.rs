//! The activation page, where a person approves a device login (SPEC §3).
//!
//! Five steps, in this order and no other: the code, signing in, a second factor, the decision, the end. [`walk`] says
//! which one is next, and only it; every page asks it first and leads to the missing step if it isn't its own turn.

mod code;
mod confirm;
mod done;
mod mfa;
pub mod pages;
mod sign_in;
mod upstream_sign_in;
mod walk;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::http::oauth_error::{self, OAuthError};
use crate::pages::answer::PageError;
use crate::pages::message::Trouble;
use crate::pages::{self as shared, Pages};

/// The pages, with headers that keep them to themselves.
pub fn router(pages: Pages) -> Router {
    let walk = Router::new()
        .route("/activate", get(code::show).post(code::submit))
        .route("/activate/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/activate/sign-out", post(sign_in::sign_out))
        .route("/activate/mfa", get(mfa::show).post(mfa::submit))
        .route("/activate/confirm", get(confirm::show).post(confirm::submit))
        .route("/activate/done", get(done::show))
        .method_not_allowed_fallback(|| async { PageError::Trouble(StatusCode::METHOD_NOT_ALLOWED, Trouble::NotFound) })
        .merge(providers());
    shared::served(pages, walk)
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
