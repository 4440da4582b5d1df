//! How requests are refused, as the document describes it.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Header, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use super::problem::{Kind, ProblemBody};

type Responses = BTreeMap<String, RefOr<Response>>;

/// The refusals of what only looks.
pub struct OfLook;

/// The refusals of what makes or does something.
pub struct OfDeed;

/// The refusals of what changes a version that was looked at.
pub struct OfChange;

const LOOK: [Kind; 10] = [
    Kind::Malformed,
    Kind::InvalidToken,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::MethodNotAllowed,
    Kind::Invalid,
    Kind::TooManyRequests,
    Kind::Fault,
    Kind::Unavailable,
    Kind::InsufficientScope,
];

const DEED: [Kind; 4] = [Kind::TooSlow, Kind::Conflict, Kind::TooLarge, Kind::UnsupportedMediaType];

const CHANGE: [Kind; 2] = [Kind::Stale, Kind::PreconditionRequired];

impl IntoResponses for OfLook {
    fn responses() -> Responses {
        refusals(&[&LOOK])
    }
}

impl IntoResponses for OfDeed {
    fn responses() -> Responses {
        refusals(&[&LOOK, &DEED])
    }
}

impl IntoResponses for OfChange {
    fn responses() -> Responses {
        refusals(&[&LOOK, &DEED, &CHANGE])
    }
}

fn refusals(kinds: &[&[Kind]]) -> Responses {
    let mut titles: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for kind in kinds.iter().copied().flatten() {
        titles.entry(kind.status()).or_default().push(format!("`{}`: {}", kind.name(), kind.title()));
    }
    titles
        .into_iter()
        .map(|(status, titles)| (status.to_string(), refusal(status, &titles.join("; ")).into()))
        .collect()
}

fn refusal(status: u16, description: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name(ProblemBody::name())));
    let response = ResponseBuilder::new().description(description).content("application/problem+json", body);
    let response = match status {
        401 | 403 => response.header("WWW-Authenticate", header("How to say who is asking")),
        405 => response.header("Allow", header("The methods that it takes")),
        429 | 503 => response.header("Retry-After", header("Seconds to wait")),
        _ => response,
    };
    response.build()
}

fn header(description: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}
