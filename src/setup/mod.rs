//! The first hour: how an installation without an owner gets one.
//!
//! 1. A server that starts and finds no owner of `platform` prints a [`link`](mod@link): good for half an hour, for one owner.
//! 2. Opening it shows a form, and uses nothing up: mail scanners and previews open links.
//! 3. The form's answer is the page that sets up an authenticator. What was typed is stored nowhere; it goes along, sealed
//!    ([`candidate`]).
//! 4. The first code makes the [`owner`], whole, in one transaction: whoever stops before has made nothing, and the link is still good.
//!    Of several that come so far at once, the database lets one through.
//!
//! `countersign setup` does step 4 without the others.

mod authenticator;
mod candidate;
mod form;
pub mod link;
mod no_good;
pub mod owner;
pub mod pages;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use crate::pages::answer::{self, PageError};
use crate::pages::frame::{Door, Frame};
use crate::pages::message::Trouble;
use crate::pages::{self as shared, Pages};

pub use candidate::SECRET_LENGTH;
pub use form::is_name;

/// The pages, with headers that keep them to themselves.
pub fn router(pages: Pages) -> Router {
    let setup = Router::new()
        .route("/setup", get(form::show).post(form::submit))
        .route("/setup/authenticator", post(authenticator::submit))
        .route("/setup/done", get(done))
        .method_not_allowed_fallback(|| async {
            PageError::Trouble(StatusCode::METHOD_NOT_ALLOWED, Trouble::NotFound)
        });
    shared::served(pages, setup)
}

/// What comes next. It says nothing that the documentation doesn't.
async fn done(State(pages): State<Pages>) -> Result<Response, PageError> {
    let url = &pages.installation.public_url;
    let host = url.host();
    let frame = Frame { door: Door::Setup, base: url.base_path(), host: &host, ..Frame::default() };
    Ok(answer::render(StatusCode::OK, &self::pages::Done { frame, issuer: url.issuer() }))
}
