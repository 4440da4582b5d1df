//! What is wrong, for programs and for people (RFC 9457).

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::config::PublicUrl;
use crate::directory::apply::{ApplyError, Faults};
use crate::http::oauth_error::is_away;

/// The kinds with their words: one list, which the page of the API shows as well.
macro_rules! kinds {
    ($($kind:ident = $status:literal $name:literal $title:literal,)+) => {
        /// What kind of problem it is. Programs go by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $title] $kind,)+
        }

        impl Kind {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its status code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$kind => $status),+ }
            }

            /// Its name: the end of its `type`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// What it means.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title),+ }
            }
        }
    };
}

kinds! {
    Malformed = 400 "malformed" "The request can't be read",
    InvalidToken = 401 "invalid-token" "The access token isn't good for this, or not any more",
    InsufficientScope = 403 "insufficient-scope" "The access token was not granted the scope",
    Forbidden = 403 "forbidden" "This person may not do that",
    NotFound = 404 "not-found" "There is no such thing here",
    MethodNotAllowed = 405 "method-not-allowed" "This address doesn't take this method",
    TooSlow = 408 "too-slow" "The body took longer than 10 seconds",
    Conflict = 409 "conflict" "What is there stands against it",
    Stale = 412 "stale" "It was changed since it was looked at",
    TooLarge = 413 "too-large" "The body is larger than it may be",
    UnsupportedMediaType = 415 "unsupported-media-type" "The body must be application/json",
    Invalid = 422 "invalid" "What is said doesn't hold",
    PreconditionRequired = 428 "precondition-required" "Say which version this is about",
    TooManyRequests = 429 "too-many-requests" "Too many requests",
    Fault = 500 "fault" "The server made a mistake",
    Unavailable = 503 "unavailable" "The server can't reach its database",
}

/// An answer other than success.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    challenge: Option<HeaderValue>,
    retry_after: Option<u64>,
}

/// What is wrong with a member of the body, or with a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Its name; empty for the body as a whole.
    pub field: String,
    /// What is wrong with it, in words.
    pub message: String,
}

/// A problem (RFC 9457 §3).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// What kind it is. Programs go by its end, after `#`.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "https://auth.acme.example/api/v1#stale")]
    kind: String,
    /// What the kind means.
    title: &'a str,
    /// The status code again.
    status: u16,
    /// What it is this time, for people; its words may change.
    detail: &'a str,
    /// What is wrong with members of the body or with parameters, if that is it.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
}

impl Problem {
    fn of(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), challenge: None, retry_after: None }
    }

    /// 400: no JSON, or another one than is expected.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Malformed, detail)
    }

    /// 401, saying how a token is sent.
    pub fn invalid_token(detail: impl Into<Cow<'static, str>>, challenge: &str) -> Self {
        Self { challenge: HeaderValue::try_from(challenge).ok(), ..Self::of(Kind::InvalidToken, detail) }
    }

    /// 403: the token was granted less.
    pub fn insufficient_scope(scope: &'static str) -> Self {
        let challenge = format!("Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"{scope}\"");
        let detail = format!("This needs a token with the scope {scope}: log in again and ask for it.");
        Self { challenge: HeaderValue::try_from(challenge).ok(), ..Self::of(Kind::InsufficientScope, detail) }
    }

    /// 403: the person's role doesn't reach as far.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Forbidden, detail)
    }

    /// 404. One answer for all that isn't there: what is another organization's isn't.
    pub fn not_found() -> Self {
        Self::of(Kind::NotFound, "Nothing is at this address, or nothing that you may administer.")
    }

    /// 409.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Conflict, detail)
    }

    /// 412.
    pub fn stale() -> Self {
        Self::of(Kind::Stale, "Somebody changed it since its ETag was read: look at it again.")
    }

    /// 413, 408, 415, where a body may have so many bytes.
    pub fn of_body(kind: Kind, most: usize) -> Self {
        let detail = format!("A body is JSON, here of {} KiB at most, and comes within 10 seconds.", most / 1024);
        Self::of(kind, detail)
    }

    /// 422, with what is wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::of(Kind::Invalid, "Nothing was changed: `errors` says what to mend.") }
    }

    /// 422, of one member.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// 428.
    pub fn precondition_required() -> Self {
        Self::of(
            Kind::PreconditionRequired,
            "Send If-Match with the ETag of what was looked at, or * for whatever is there.",
        )
    }

    /// 429.
    pub fn too_many_requests(seconds: u64) -> Self {
        let detail = format!("Too many requests of this person. Try again in {seconds} s.");
        Self { retry_after: Some(seconds), ..Self::of(Kind::TooManyRequests, detail) }
    }

    /// 429, of mails to those who are invited.
    pub fn too_many_mails(seconds: u64) -> Self {
        let detail = format!(
            "Nobody was invited: as many invitations were mailed within an hour as may be, for this organization or to this address. \
             Try again in {seconds} s, or say \"mail\": false and pass the address on yourself."
        );
        Self { retry_after: Some(seconds), ..Self::of(Kind::TooManyRequests, detail) }
    }

    /// 500: a fault of the server's own, said in its log.
    pub fn fault() -> Self {
        Self::of(Kind::Fault, "The server's log describes it. Try again.")
    }

    /// 503.
    pub fn unavailable() -> Self {
        let detail = "Nothing was changed, as far as is known: try again in a few seconds.";
        Self { retry_after: Some(5), ..Self::of(Kind::Unavailable, detail) }
    }

    fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::NOT_FOUND => Some(Self::not_found()),
            StatusCode::METHOD_NOT_ALLOWED => {
                Some(Self::of(Kind::MethodNotAllowed, "Allow lists those that it takes."))
            }
            StatusCode::INTERNAL_SERVER_ERROR => Some(Self::fault()),
            status if status.is_client_error() => Some(Self::malformed("The address or the body can't be read.")),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for Problem {
    /// The database is away, or a query is at fault; the log says which.
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the database did not answer a request of the administration");
        if is_away(&error) { Self::unavailable() } else { Self::fault() }
    }
}

impl From<Faults> for Problem {
    fn from(Faults(faults): Faults) -> Self {
        let error = |fault: crate::directory::apply::Fault| FieldError { field: fault.key, message: fault.message };
        Self::invalid(faults.into_iter().map(error).collect())
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match error {
            // Whose it is, is nobody else's business; that it is somebody's, every device may find out.
            ApplyError::ClientIdsTaken(taken) => {
                let ids: Vec<String> = taken.into_iter().map(|taken| format!("{:?}", taken.client_id)).collect();
                Self::conflict(format!("Another service has this client_id: {}. Choose another one.", ids.join(", ")))
            }
            ApplyError::NotPublic(faults) => faults.into(),
            ApplyError::Database(error) => error.into(),
            error => {
                tracing::error!(%error, "what an administrator changed could not be written");
                Self::fault()
            }
        }
    }
}

impl IntoResponse for Problem {
    /// Leaves the problem for [`shape`], which knows where the installation is.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes a problem out, gives those of the router the same form, and forbids to store the answer.
pub fn shape(mut response: Response, url: &PublicUrl) -> Response {
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| Problem::of_status(response.status()));
    if let Some(problem) = problem {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = written(&problem, url);
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response.headers_mut().entry(NOSNIFF).or_insert(HeaderValue::from_static("nosniff"));
    response
}

const NOSNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;

/// A problem as an answer.
pub fn written(problem: &Problem, url: &PublicUrl) -> Response {
    let Problem { kind, detail, errors, challenge, retry_after } = problem;
    let body = ProblemBody {
        kind: format!("{}#{}", url.join("/api/v1"), kind.name()),
        title: kind.title(),
        status: kind.status(),
        detail,
        errors,
    };
    let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(challenge.clone().map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
    headers.extend(retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
    response
}
