//! Answers that say which version they show.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::tag;

/// One thing as it is, with its tag.
pub fn shown(status: StatusCode, thing: &impl Serialize) -> Response {
    (status, [(header::ETAG, tag::of(thing))], Json(thing)).into_response()
}

/// Done, and nothing to say.
pub fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
