//! The activation page, where a person approves a device login (SPEC §3).
//!
//! Five steps, in this order and no other: the code, signing in, a second factor, the decision, the end. [`walk`] says
//! which one is next, and only it; every page asks it first and leads to the missing step if it isn't its own turn.

mod circumstances;
mod code;
mod confirm;
mod done;
mod guess;
mod mfa;
pub mod pages;
mod proof;
mod report;
mod sign_in;
mod upstream_sign_in;
mod walk;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};

use crate::http::client_address::Caller;
use crate::http::oauth_error::{self, OAuthError};
use crate::pages::answer::PageError;
use crate::pages::message::Trouble;
use crate::pages::sign_in::Return;
use crate::pages::{self as shared, Pages};
use crate::upstream::Callback;

/// The pages, with headers that keep them to themselves.
///
/// All providers send browsers back to one address, which is here. Who comes back from a sign-in without a device login
/// is received by `elsewhere`; it answers `None` to any other.
pub fn router<F>(pages: Pages, elsewhere: fn(Pages, Return) -> F) -> Router
where
    F: Future<Output = Result<Option<Response>, PageError>> + Send + 'static,
{
    let walk = Router::new()
        .route("/activate", get(code::show).post(code::submit))
        .route("/activate/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/activate/sign-out", post(sign_in::sign_out))
        .route("/activate/mfa", get(mfa::show).post(mfa::submit))
        .route("/activate/confirm", get(confirm::show).post(confirm::submit))
        .route("/activate/done", get(done::show))
        .route("/activate/report", get(report::show).post(report::submit))
        .method_not_allowed_fallback(|| async { PageError::Trouble(StatusCode::METHOD_NOT_ALLOWED, Trouble::NotFound) })
        .merge(providers(elsewhere));
    shared::served(pages, walk)
}

/// Where sign-ins at providers begin and end. Who comes with another method is a program and is told so as one.
fn providers<F>(elsewhere: fn(Pages, Return) -> F) -> Router<Pages>
where
    F: Future<Output = Result<Option<Response>, PageError>> + Send + 'static,
{
    let finish = async move |State(pages): State<Pages>,
                             caller: Caller,
                             headers: HeaderMap,
                             Path(provider): Path<String>,
                             callback: Result<Query<Callback>, QueryRejection>| {
        let Query(callback) = callback.map_err(upstream_sign_in::not_understood)?;
        let back = Return { caller, headers, provider, callback };
        match elsewhere(pages.clone(), back.clone()).await? {
            Some(answer) => Ok(answer),
            None => Box::pin(upstream_sign_in::finish(pages, back)).await,
        }
    };
    Router::new()
        .route("/auth/{provider}", get(upstream_sign_in::start).head(upstream_sign_in::look))
        .route("/auth/admin/{provider}", get(upstream_sign_in::start_for_platform).head(upstream_sign_in::look))
        .route("/auth/{provider}/callback", get(finish))
        .method_not_allowed_fallback(|State(pages): State<Pages>| async move {
            let error = OAuthError::invalid_request("There is no such endpoint; the metadata lists those that are.");
            oauth_error::answer(&error.with_status(405), &pages.installation.clock)
        })
}
