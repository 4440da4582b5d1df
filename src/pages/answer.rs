//! How pages are answered: rendered, redirected to, or replaced by one that says what is wrong.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::browser::csrf::{self, About};
use crate::browser::visitor::Visitor;
use crate::http::asked_host::AskedHost;
use crate::http::fields::{Fields, FieldsError};
use crate::http::oauth_error::is_away;
use crate::http::request_number::RequestNumber;
use crate::mfa::totp::TotpError;
use crate::postgres::Away;
use crate::secrets::Busy;

use super::Pages;
use super::frame::{Door, Frame};
use super::message::{Message, Trouble};

/// Why there is no page as asked.
#[derive(Debug)]
pub enum PageError {
    /// The database did not answer, or a query is at fault.
    Database(sqlx::Error),
    /// The database is known to be away, or was lost meanwhile.
    Away,
    /// A fault of ours, in words for the log.
    Fault(String),
    /// Too many passwords wait to be checked already.
    Busy,
    /// What to tell the person.
    Trouble(StatusCode, Trouble<'static>),
    /// An answer that is complete.
    Answer(Box<Response>),
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Busy> for PageError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<TotpError> for PageError {
    fn from(error: TotpError) -> Self {
        match error {
            TotpError::Database(error) => Self::Database(error),
            other => Self::Fault(other.to_string()),
        }
    }
}

impl From<Response> for PageError {
    fn from(response: Response) -> Self {
        Self::Answer(Box::new(response))
    }
}

impl IntoResponse for PageError {
    /// Leaves what is wrong for [`say_what_is_wrong`], which knows where links lead.
    fn into_response(self) -> Response {
        let (status, trouble) = match self {
            Self::Answer(response) => return *response,
            Self::Trouble(status, trouble) => (status, trouble),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, Trouble::Busy),
            // Said in the log when it went away, and not once for everybody who comes.
            Self::Away => (StatusCode::SERVICE_UNAVAILABLE, Trouble::Server),
            Self::Database(error) => {
                tracing::error!(%error, "the database did not answer a page");
                let away = is_away(&error);
                (
                    if away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR },
                    Trouble::Server,
                )
            }
            Self::Fault(fault) => {
                tracing::error!(fault, "a page could not be served");
                (StatusCode::INTERNAL_SERVER_ERROR, Trouble::Server)
            }
        };
        let mut response = status.into_response();
        response.extensions_mut().insert(trouble);
        response
    }
}

/// How long a page may take: a provider is asked up to four times, with ten seconds for each, but not all of them can be slow.
const LONGEST: Duration = Duration::from_secs(25);

/// Middleware: says at once that the database is away, and ends what waits for it.
pub async fn with_database(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let answer = pages.database.within(LONGEST, next.run(request)).await;
    answer.unwrap_or_else(|Away| PageError::Away.into_response())
}

/// Middleware: writes out the page for a [`PageError`].
pub async fn say_what_is_wrong(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let url = &pages.installation.public_url;
    let base = url.base_path();
    let path = request.uri().path();
    // Inside the base path's own router the base is gone already.
    let door = match path.strip_prefix(base).unwrap_or(path) {
        path if path.starts_with("/account") => Door::Account(None),
        path if path.starts_with("/activate/report") => Door::Report,
        path if path == "/setup" || path.starts_with("/setup/") => Door::Setup,
        _ => Door::Activation,
    };
    let asked = request.extensions().get::<AskedHost>();
    let number = request.extensions().get::<RequestNumber>().cloned();
    let mut response = if asked.is_none_or(|host| host.is(&url.host(), url.is_secure())) {
        next.run(request).await
    } else {
        PageError::Trouble(StatusCode::MISDIRECTED_REQUEST, Trouble::OtherHost).into_response()
    };
    let trouble = response.extensions_mut().remove::<Trouble<'static>>().or_else(|| unreadable(&response));
    let Some(trouble) = trouble else { return response };
    let host = url.host();
    // Nothing to look up in the log where the fault isn't ours.
    let request_id = number.as_ref().filter(|_| response.status().is_server_error()).map(RequestNumber::as_str);
    let frame = Frame { door, base, host: &host, request_id, ..Frame::default() };
    let mut page = render(response.status(), &Message { frame, trouble });
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    page
}

/// An address that an extractor could not read: axum says so in plain text, to programmers.
fn unreadable(response: &Response) -> Option<Trouble<'static>> {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let plain = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    (plain && response.status().is_client_error()).then_some(Trouble::NotFound)
}

/// A page of a template.
pub fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a template could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl Pages {
    /// Leads on to another page here, by GET.
    #[must_use]
    pub fn lead_to(&self, path: &str) -> Response {
        Redirect::to(&format!("{}{path}", self.installation.public_url.base_path())).into_response()
    }

    /// Adds the visitor's cookie.
    #[must_use]
    pub fn with_cookie(&self, visitor: &Visitor, mut response: Response) -> Response {
        visitor.send_cookie(&self.installation, response.headers_mut());
        response
    }
}

/// A form that was sent, not yet known to come from one of our pages.
pub struct Form {
    headers: HeaderMap,
    fields: Fields,
}

impl Form {
    /// Its fields, if the form is this browser's and about this.
    pub fn of(&self, pages: &Pages, visitor: &Visitor, about: About) -> Result<&Fields, PageError> {
        let installation = &pages.installation;
        let genuine = csrf::is_same_origin(&self.headers, &installation.public_url)
            && csrf::verify(&installation.keyring, visitor, about, self.fields.get("csrf_token"));
        if genuine { Ok(&self.fields) } else { Err(PageError::Trouble(StatusCode::FORBIDDEN, Trouble::StaleForm)) }
    }

    /// Its fields, if the browser doesn't say that another site sent it. Where one of the fields is what gives the right.
    pub fn of_this_site(&self, pages: &Pages) -> Result<&Fields, PageError> {
        let ours = csrf::is_same_origin(&self.headers, &pages.installation.public_url);
        if ours { Ok(&self.fields) } else { Err(PageError::Trouble(StatusCode::FORBIDDEN, Trouble::StaleForm)) }
    }
}

impl FromRequest<Pages> for Form {
    type Rejection = PageError;

    async fn from_request(request: Request<Body>, _pages: &Pages) -> Result<Self, PageError> {
        let (parts, body) = request.into_parts();
        let status = |error| match error {
            FieldsError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            FieldsError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            FieldsError::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            FieldsError::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        let fields = Fields::read(&parts.headers, body).await;
        let fields = fields.map_err(|error| PageError::Trouble(status(error), Trouble::StaleForm))?;
        Ok(Self { headers: parts.headers, fields })
    }
}
