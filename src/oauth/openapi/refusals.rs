//! How requests are refused, as the document describes it.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Header, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use crate::http::oauth_error::ErrorBody;

/// The refusals of any endpoint that takes a body.
pub struct OfPost;

/// The same, of those that are limited: too many wrong codes, too many live ones.
pub struct OfLimited;

/// The refusals of userinfo.
pub struct OfUserinfo;

/// The refusals of what is answered from memory.
pub struct OfDiscovery;

/// What may be wrong with a body, its client, or the server.
const POST: [(u16, &str); 8] = [
    (400, "Refused, or not yet decided: `error` says why"),
    (401, "`invalid_client` after Basic with a password"),
    (405, "Not this method"),
    (408, "The body took longer than 10 seconds"),
    (413, "The body is larger than 64 KiB"),
    (415, "The body is neither a form nor JSON"),
    (500, "A fault of the server's, which its log describes"),
    (503, "The database is away. Not told to polls, which go on"),
];

const LIMITED: [(u16, &str); 1] = [(429, "Too many wrong codes, too many live ones, or too many requests")];

const USERINFO: [(u16, &str); 5] = [
    (
        401,
        "`invalid_token`: missing, malformed, expired, or its session is over; `invalid_dpop_proof`, `use_dpop_nonce`",
    ),
    (403, "`insufficient_scope`: without `openid`"),
    (405, "Not this method"),
    (500, "A fault of the server's, which its log describes"),
    (503, "The database is away"),
];

const DISCOVERY: [(u16, &str); 1] = [(405, "Not this method")];

type Responses = BTreeMap<String, RefOr<Response>>;

impl IntoResponses for OfPost {
    fn responses() -> Responses {
        refusals(&POST)
    }
}

impl IntoResponses for OfLimited {
    fn responses() -> Responses {
        let mut refusals = refusals(&POST);
        refusals.extend(self::refusals(&LIMITED));
        refusals
    }
}

impl IntoResponses for OfUserinfo {
    fn responses() -> Responses {
        refusals(&USERINFO)
    }
}

impl IntoResponses for OfDiscovery {
    fn responses() -> Responses {
        refusals(&DISCOVERY)
    }
}

fn refusals(which: &[(u16, &str)]) -> Responses {
    which.iter().map(|(status, description)| (status.to_string(), refusal(*status, description).into())).collect()
}

fn refusal(status: u16, description: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name(ErrorBody::name())));
    let response = ResponseBuilder::new().description(description).content("application/json", body);
    let response = response.header("Cache-Control", header("`no-store`"));
    let response = match status {
        400 | 401 => response.header("DPoP-Nonce", header("For the next proof, if this request had one (RFC 9449 §8)")),
        _ => response,
    };
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
