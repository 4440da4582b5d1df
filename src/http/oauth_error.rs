//! Errors as OAuth wants them (RFC 6749 §5.2), with the two members that AuthOS's SDK reads besides.

use std::borrow::Cow;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::Serialize;

use crate::clock::Clock;

/// An answer other than success, of any OAuth endpoint.
#[derive(Clone, Debug)]
pub struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    error_code: Option<&'static str>,
    challenge: Option<Challenge>,
    /// Seconds, for requests that are not polls.
    retry_after: Option<u32>,
    /// How many tries are left to send the number that the approving page shows.
    verification: Option<i16>,
}

/// What WWW-Authenticate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenge {
    /// A client's credentials: said after a failed Basic attempt with a password only.
    Basic,
    /// An access token (RFC 6750 §3).
    Bearer,
    /// An access token and a proof by its key, signed with one of these algorithms (RFC 9449 §7.1).
    Dpop(&'static str),
}

/// The constructors of plain errors: status 400, `error_code` as `error` in capitals.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident $(as $code:literal)?),+ $(,)?) => {
        impl OAuthError {$(
            $(#[$doc])*
            pub fn $name(description: impl Into<Cow<'static, str>>) -> Self {
                let error_code = None $(.or(Some($code)))?;
                Self::new(stringify!($name), error_code, description.into())
            }
        )+}
    };
}

errors! {
    /// RFC 6749 §5.2.
    invalid_request,
    /// RFC 6749 §5.2.
    invalid_client,
    /// RFC 6749 §5.2.
    invalid_grant,
    /// RFC 6749 §5.2.
    unauthorized_client,
    /// RFC 6749 §5.2.
    unsupported_grant_type,
    /// RFC 6749 §5.2.
    invalid_scope,
    /// RFC 8707 §2.
    invalid_target,
    /// RFC 6750 §3.1.
    invalid_token,
    /// RFC 6750 §3.1.
    insufficient_scope,
    /// RFC 9449 §5.
    invalid_dpop_proof,
    /// RFC 9449 §8.
    use_dpop_nonce,
    /// RFC 8628 §3.5.
    authorization_pending as "DEVICE_CODE_PENDING",
    /// RFC 8628 §3.5.
    slow_down as "SLOW_DOWN",
    /// RFC 8628 §3.5.
    expired_token as "DEVICE_CODE_EXPIRED",
    /// RFC 8628 §3.5.
    access_denied as "ACCESS_DENIED",
}

impl OAuthError {
    fn new(error: &'static str, error_code: Option<&'static str>, description: Cow<'static, str>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description,
            error_code,
            challenge: None,
            retry_after: None,
            verification: None,
        }
    }

    /// 503: the database is away. Not for polls (SPEC §2.3).
    #[must_use]
    pub fn temporarily_unavailable() -> Self {
        let mut error = Self::new(
            "temporarily_unavailable",
            None,
            "The server can't reach its database. Nothing was changed: try again in a few seconds.".into(),
        );
        error.status = StatusCode::SERVICE_UNAVAILABLE;
        error.retry_after = Some(5);
        error
    }

    /// 429: too much was asked or guessed, and may be again in so many seconds. Not for polls (SPEC §2.3).
    #[must_use]
    pub fn too_many_requests(description: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        let mut error = Self::new("temporarily_unavailable", None, description.into()).with_status(429);
        error.retry_after = Some(retry_after.max(1));
        error
    }

    /// 500: a fault of the server's own, said in its log.
    #[must_use]
    pub fn server_error() -> Self {
        Self::new("server_error", None, "The server made a mistake, which its log describes. Try again.".into())
            .with_status(500)
    }

    /// The same error under another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        self
    }

    /// The same error, saying that the device has to send the number that the page shows, and how many tries are left.
    #[must_use]
    pub fn with_verification(mut self, tries_left: i16) -> Self {
        self.verification = Some(tries_left);
        self
    }

    /// 401 with a challenge: what a failed Basic attempt with a password gets, and nothing else.
    #[must_use]
    pub fn with_basic_challenge(mut self) -> Self {
        self.challenge = Some(Challenge::Basic);
        self.with_status(401)
    }

    /// 401 with a challenge for an access token (RFC 6750 §3.1).
    #[must_use]
    pub fn with_bearer_challenge(mut self) -> Self {
        self.challenge = Some(Challenge::Bearer);
        self.with_status(401)
    }

    /// 401 with a challenge for an access token and a proof by its key, signed with one of `algorithms` (RFC 9449 §7.1).
    #[must_use]
    pub fn with_dpop_challenge(mut self, algorithms: &'static str) -> Self {
        self.challenge = Some(Challenge::Dpop(algorithms));
        self.with_status(401)
    }

    /// Whether the fault is ours and not the request's.
    #[must_use]
    pub fn is_of_the_server(&self) -> bool {
        self.status.is_server_error()
    }

    /// Whether it tells a device to go on polling.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.error == "authorization_pending"
    }

    /// Whether it tells a device that it polls too fast.
    #[must_use]
    pub fn is_slow_down(&self) -> bool {
        self.error == "slow_down"
    }

    /// The `error` member.
    #[must_use]
    pub fn error(&self) -> &'static str {
        self.error
    }
}

impl From<sqlx::Error> for OAuthError {
    /// The database is away, or a query is at fault; the log says which, the client only what to do.
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&sqlx::Error> for OAuthError {
    /// The same, of an error that several requests share.
    fn from(error: &sqlx::Error) -> Self {
        tracing::error!(%error, "the database did not answer a request");
        if is_away(error) { Self::temporarily_unavailable() } else { Self::server_error() }
    }
}

/// Whether the same request may succeed in a while: the database can't be reached, starts, stops, is full, or is a
/// standby that still has to take over (PostgreSQL's error classes 08, 40, 53 and 57, and 25006), or a row was locked for too long
/// or by us (55P03, 25P03).
fn is_away(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => true,
        Database(error) => {
            let code = error.code().unwrap_or_default();
            ["25006", "25P03", "55P03"].contains(&&*code)
                || ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
        }
        _ => false,
    }
}

/// What an error says (RFC 6749 §5.2), and what AuthOS's SDK reads besides.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody<'a> {
    /// For programs.
    #[schema(example = "authorization_pending")]
    error: &'a str,
    /// For people; its words may change. Never empty.
    #[schema(min_length = 1)]
    error_description: &'a str,
    /// For AuthOS's SDK.
    #[schema(example = "DEVICE_CODE_PENDING")]
    error_code: Cow<'a, str>,
    /// When.
    #[schema(format = DateTime)]
    timestamp: String,
    /// `number`: the device has to send the number that the approving page shows.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<&'a str>,
    /// How often it may still send a wrong one.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tries_left: Option<i16>,
}

impl IntoResponse for OAuthError {
    /// Leaves the error for [`shape`], which knows the time.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The headers that an error takes over from the answer in whose place it is written.
const KEPT: [HeaderName; 2] = [header::ALLOW, HeaderName::from_static("preference-applied")];

/// Middleware of the OAuth endpoints: writes errors out, gives those of the router (404, 405, …) the same form, and
/// forbids to store any answer.
pub async fn shape(State(clock): State<Clock>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let error = response.extensions_mut().remove::<OAuthError>().or_else(|| of_status(response.status()));
    if let Some(error) = error {
        let kept = KEPT.map(|name| response.headers_mut().remove(&name).map(|value| (name, value)));
        response = answer(&error, &clock);
        response.headers_mut().extend(kept.into_iter().flatten());
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn of_status(status: StatusCode) -> Option<OAuthError> {
    let description = match status {
        StatusCode::NOT_FOUND => "There is no such endpoint here; the metadata lists those that are.",
        StatusCode::METHOD_NOT_ALLOWED => "This endpoint doesn't take this method; OAuth requests are POST.",
        StatusCode::INTERNAL_SERVER_ERROR => return Some(OAuthError::server_error()),
        status if status.is_client_error() => "The request can't be read.",
        _ => return None,
    };
    Some(OAuthError::invalid_request(description).with_status(status.as_u16()))
}

/// An error written out.
#[must_use]
pub fn answer(error: &OAuthError, clock: &Clock) -> Response {
    let body = ErrorBody {
        error: error.error,
        error_description: &error.description,
        error_code: error.error_code.map_or_else(|| error.error.to_ascii_uppercase().into(), Cow::Borrowed),
        timestamp: clock.now().to_rfc3339_opts(SecondsFormat::Secs, true),
        verification: error.verification.map(|_| "number"),
        tries_left: error.verification,
    };
    let mut response = (error.status, Json(body)).into_response();
    let headers = response.headers_mut();
    let challenge = error.challenge.map(|challenge| match challenge {
        Challenge::Basic => "Basic realm=\"countersign\"".to_owned(),
        Challenge::Bearer => format!("Bearer realm=\"countersign\", error=\"{}\"", error.error),
        Challenge::Dpop(algs) => format!("DPoP realm=\"countersign\", error=\"{}\", algs=\"{algs}\"", error.error),
    });
    if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
