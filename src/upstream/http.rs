//! The one HTTP client that talks to providers.
//!
//! It follows no redirect (a provider's token endpoint has no reason for one, and a code must not follow it), gives up
//! after ten seconds, reads one mebibyte at most, and speaks plain HTTP to loopback only. For a provider whose address was
//! written over the network, it goes to public addresses only, and to those that `outbound.allow` names: whatever its metadata
//! names as endpoints.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::http;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use tracing::Instrument as _;
use url::{Host, Url};

use crate::directory::provider::Provider;
use crate::outbound::{NotPublic, Outbound, Outgoing};
use crate::telemetry::traces::TARGET;

use super::error::{UpstreamError, Why};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_BODY: usize = 1024 * 1024;

/// GitHub's API refuses requests without one.
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Makes the clients. Connections are shared.
pub(super) fn outgoing(outbound: Outbound) -> Result<Outgoing, reqwest::Error> {
    Outgoing::new(outbound, || {
        reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TOTAL_TIMEOUT).user_agent(USER_AGENT)
    })
}

/// The client for one provider. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http {
    outgoing: Outgoing,
    public_only: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    /// Away for now.
    #[error("{host}: {why}")]
    Away { host: String, why: Why },
    /// More than a mebibyte.
    #[error("{0} answered with more than 1 MiB")]
    TooLarge(String),
    /// Codes and secrets would travel in the clear.
    #[error("{0} is asked by http://, which is for loopback only")]
    Insecure(String),
    /// The provider's address was written over the network, and leads somewhere else than to it.
    #[error("{0}: {NotPublic}")]
    NotPublic(String),
    /// Not a URL to ask.
    #[error("a URL of the provider can't be asked")]
    NoRequest,
}

impl From<HttpError> for UpstreamError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Away { host, why } => Self::Unreachable { host, why },
            other => Self::Misconfigured(other.to_string()),
        }
    }
}

impl Http {
    /// Which goes where this provider's address may lead.
    pub(super) fn of(outgoing: &Outgoing, provider: &Provider) -> Self {
        Self { outgoing: outgoing.clone(), public_only: provider.public_only }
    }

    /// Whether it goes to public addresses only.
    pub(super) fn public_only(&self) -> bool {
        self.public_only
    }

    /// Sends one request. 429 and 5xx count as no answer: the provider is away for now.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let span = tracing::info_span!(
            target: TARGET,
            "ask a provider",
            otel.kind = "client",
            http.request.method = request.method().as_str(),
            server.address = request.uri().host(),
            http.response.status_code = tracing::field::Empty,
        );
        let answer = self.ask(request).instrument(span.clone()).await;
        if let Ok(answer) = &answer {
            span.record("http.response.status_code", answer.status().as_u16());
        }
        answer
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::NoRequest)?;
        let host = host_of(request.url());
        if !is_secure(request.url()) {
            return Err(HttpError::Insecure(host));
        }
        let away = |why| HttpError::Away { host: host.clone(), why };
        let not_public = || HttpError::NotPublic(host.clone());
        let client = self.outgoing.client(request.url(), self.public_only).map_err(|NotPublic| not_public())?;
        let failed = |error: reqwest::Error| {
            if NotPublic::is_behind(&error) { not_public() } else { away(why(&error)) }
        };
        let mut answer = client.execute(request).await.map_err(failed)?;
        let status = answer.status();
        if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
            return Err(away(Why::Status(status)));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| away(why(&error)))? {
            if body.len() + chunk.len() > LONGEST_BODY {
                return Err(HttpError::TooLarge(host));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// What of an error may be said: reqwest's own words hold the URL, and a URL may hold anything.
fn why(error: &reqwest::Error) -> Why {
    if error.is_timeout() {
        Why::Timeout
    } else if error.is_connect() {
        Why::NoConnection
    } else {
        Why::Broken
    }
}

/// Whether secrets may travel there: https, or http that doesn't leave the machine.
#[must_use]
pub fn is_secure(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Host and port, for the log.
#[must_use]
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secure(url: &str) -> bool {
        is_secure(&Url::parse(url).unwrap())
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        assert!(secure("https://sso.acme.example/token") && secure("http://127.0.0.1:4000/token"));
        assert!(secure("http://[::1]:4000/") && secure("http://localhost/"));
        assert!(!secure("http://sso.acme.example/") && !secure("http://localhost.acme.example/"));
        assert!(!secure("ftp://127.0.0.1/"));
    }
}
