//! The account pages, where a person sees the devices that act as them and looks after their factors (SPEC §2, §3).
//!
//! Everything is below `/account/{organization}`: a browser can be signed in to several. [`visit`] says what has to come
//! before a page is shown, signing in and a second factor, and only it. What would help a thief to stay, a new
//! authenticator, new recovery codes or a new password, also asks for a second factor that is not older than five
//! minutes.

mod devices;
mod end;
mod factors;
mod mfa;
pub mod pages;
mod password;
pub mod password_reset;
mod sign_in;
mod start;
mod upstream_sign_in;
mod visit;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::pages::answer::PageError;
use crate::pages::message::Trouble;
use crate::pages::{self as shared, Pages};

pub use upstream_sign_in::finish as finish_sign_in;

/// The pages, with headers that keep them to themselves.
pub fn router(pages: Pages) -> Router {
    let account = Router::new()
        .route("/account", get(start::show))
        .route("/account/{organization}", get(devices::list))
        .route("/account/{organization}/sign-in", get(sign_in::show).post(sign_in::submit))
        .route("/account/{organization}/sign-in/{provider}", get(upstream_sign_in::start).head(upstream_sign_in::look))
        .route("/account/{organization}/sign-out", post(sign_in::sign_out))
        .route("/account/{organization}/mfa", get(mfa::show).post(mfa::submit))
        .route("/account/{organization}/devices/{device}", get(devices::show).post(devices::rename))
        .route("/account/{organization}/devices/{device}/end", get(end::show).post(end::submit))
        .route("/account/{organization}/end-others", get(end::show_others).post(end::submit_others))
        .route("/account/{organization}/security", get(factors::show))
        .route("/account/{organization}/authenticator", get(factors::authenticator).post(factors::set_up))
        .route("/account/{organization}/recovery-codes", get(factors::recovery_codes).post(factors::renew))
        .route("/account/{organization}/password", get(password::show).post(password::submit))
        .method_not_allowed_fallback(|| async {
            PageError::Trouble(StatusCode::METHOD_NOT_ALLOWED, Trouble::NotFound)
        });
    shared::served(pages, account)
}
