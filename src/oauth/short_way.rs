//! Pending polls by the shortest way: before the router and its layers, out of memory.
//!
//! Nearly all that a device server is asked is whether something has been decided, and nearly always nothing has. To answer
//! that takes a MAC and two looks into memory, far less than what leads to a handler: routes, spans, boxed futures.
//! So a service around the router reads polls that are as plain as most clients send them, and answers those of which
//! this node knows that they are pending. Whatever else comes is passed on unchanged, and the answer is the same either way:
//! `tests/flows/short_way.rs` compares them.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use futures_util::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};
use tracing::level_filters::LevelFilter;
use url::form_urlencoded;

use crate::device::codes;
use crate::device::pacing::AuthStyle;
use crate::http::oauth_error;
use crate::telemetry::metrics::{Metrics, Route};

use super::token::{not_yet, open_in_memory, slow_down};
use super::{DEVICE_CODE_GRANT, Endpoints, OF_CORS, possession};

/// The longest body that goes this way, in bytes: a poll has 200.
const LONGEST: usize = 1024;

/// Headers that ask for more than a plain answer.
const ASKS_FOR_MORE: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::ORIGIN,
    possession::DPOP,
    HeaderName::from_static("prefer"),
    header::TRANSFER_ENCODING,
];

/// A server before which pending polls are answered.
#[derive(Clone)]
pub struct ShortWay<S> {
    polls: Arc<Polls>,
    long_way: S,
}

struct Polls {
    endpoints: Endpoints,
    /// Where they are sent.
    path: String,
    /// What an answer has at its end of the long way.
    headers: HeaderMap,
    metrics: Metrics,
    route: Route,
}

impl<S> ShortWay<S> {
    /// Before everything that is at `long_way`, whose layers add `headers` to each answer.
    #[must_use]
    pub fn before(long_way: S, endpoints: Endpoints, metrics: &Metrics, mut headers: HeaderMap) -> Self {
        let path = format!("{}/auth/token", endpoints.installation.public_url.base_path());
        let (metrics, route) = (metrics.clone(), metrics.route("/auth/token"));
        headers.extend(OF_CORS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        Self { polls: Arc::new(Polls { endpoints, path, headers, metrics, route }), long_way }
    }
}

impl<S> Service<Request> for ShortWay<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Asked when a request goes there.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let long_way = self.long_way.clone();
        let Some(length) = self.polls.length_of_plain(&request) else { return long_way.oneshot(request).boxed() };
        let polls = self.polls.clone();
        async move {
            let since = Instant::now();
            let (parts, body) = request.into_parts();
            let body = match read(body, length) {
                Ok(form) => {
                    // After a fault of ours the long way is tried.
                    let answer = catch_unwind(AssertUnwindSafe(|| polls.answer(&form, since))).unwrap_or_else(|_| {
                        polls.metrics.panicked();
                        None
                    });
                    if let Some(answer) = answer {
                        return Ok(answer);
                    }
                    Body::from(form)
                }
                Err(body) => body,
            };
            long_way.oneshot(Request::from_parts(parts, body)).await
        }
        .boxed()
    }
}

impl Polls {
    /// The length of a body that may be a plain poll's.
    fn length_of_plain(&self, request: &Request) -> Option<usize> {
        let headers = request.headers();
        let is_form = || {
            let mut types = headers.get_all(header::CONTENT_TYPE).iter();
            types.next().is_some_and(|value| value == "application/x-www-form-urlencoded") && types.next().is_none()
        };
        // What is logged of requests is written on the long way.
        let is_plain = request.method() == Method::POST
            && request.uri().path() == self.path
            && is_form()
            && !ASKS_FOR_MORE.iter().any(|name| headers.contains_key(name))
            && LevelFilter::current() < LevelFilter::DEBUG;
        let length = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        is_plain.then(length).flatten().filter(|length| (1..=LONGEST).contains(length))
    }

    /// The answer to a poll that is pending for all that this node knows.
    fn answer(&self, form: &[u8], since: Instant) -> Option<Response> {
        let (device_code, client_id) = plain(form)?;
        let Endpoints { installation, services, pacing, .. } = &self.endpoints;
        let known = services.now();
        let service = known.get(&client_id).filter(|service| !service.is_confidential())?;
        let grant = codes::read_device_code(&installation.keyring, &device_code, &client_id)?;
        let open = open_in_memory(&self.endpoints, grant, service)?;
        let now = installation.clock.now();
        let in_time = pacing.take(grant, AuthStyle::Body, open.interval, open.expires_at, now);
        let error = if in_time { not_yet(open.interval) } else { slow_down(open.interval) };
        let mut answer = oauth_error::answer(&error, &installation.clock);
        answer.headers_mut().extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.metrics.poll(error.error());
        self.route.answered_at_once(answer.status().as_u16(), since.elapsed());
        Some(answer)
    }
}

/// Device code and client of a form with these and the grant type, each once, and nothing else.
fn plain(form: &[u8]) -> Option<(String, String)> {
    let (mut grant_type, mut device_code, mut client_id) = (None, None, None);
    for (name, value) in form_urlencoded::parse(form) {
        let field = match &*name {
            "grant_type" => &mut grant_type,
            "device_code" => &mut device_code,
            "client_id" => &mut client_id,
            _ => return None,
        };
        if field.replace(value).is_some() {
            return None;
        }
    }
    (grant_type? == DEVICE_CODE_GRANT).then_some((device_code?.into_owned(), client_id?.into_owned()))
}

/// A body that is there at once, as one with its head mostly is; otherwise the body, from its beginning. Nothing is waited for:
/// whoever sends slowly is waited for on the long way.
fn read(mut body: Body, length: usize) -> Result<Bytes, Body> {
    let frame = match body.frame().now_or_never() {
        Some(Some(Ok(frame))) => frame,
        Some(Some(Err(error))) => return Err(Body::from_stream(stream::once(ready(Err::<Bytes, _>(error))))),
        Some(None) | None => return Err(body),
    };
    match frame.into_data() {
        // Over HTTP/2 its end may come later than its last byte, and is read before an answer.
        Ok(whole) if whole.len() == length && body.is_end_stream() => Ok(whole),
        Ok(first) => Err(Body::from_stream(stream::once(ready(Ok(first))).chain(body.into_data_stream()))),
        // Trailers: of an empty body.
        Err(_) => Err(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_poll_has_three_fields_each_once() {
        let grant_type = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        let read = |form: String| plain(form.as_bytes());
        let expected = Some(("csd_x".to_owned(), "a b".to_owned()));
        assert_eq!(read(format!("{grant_type}&device_code=csd_x&client_id=a+b")), expected);
        assert_eq!(read(format!("client_id=a%20b&device_code=csd_x&{grant_type}")), expected);
        for other in ["&client_secret=s", "&client_id=a", "&resource=https://api.example", "&scope=read"] {
            assert_eq!(read(format!("{grant_type}&device_code=csd_x&client_id=a{other}")), None, "{other}");
        }
        assert_eq!(read("grant_type=refresh_token&device_code=csd_x&client_id=a".to_owned()), None);
        assert_eq!(read(format!("{grant_type}&device_code=csd_x")), None);
    }

    #[tokio::test]
    async fn a_body_that_is_passed_on_is_whole() {
        assert_eq!(read(Body::from("a=1"), 3).ok().as_deref(), Some(&b"a=1"[..]));
        let parts = stream::iter(["a=", "1&b", "=2"].map(Ok::<_, Infallible>));
        let rest = read(Body::from_stream(parts), 7).unwrap_err();
        assert_eq!(rest.collect().await.unwrap().to_bytes(), "a=1&b=2");
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert!(read(never, 3).is_err());
    }
}
