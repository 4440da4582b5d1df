//! HTTP as the client needs it: two verbs, small answers, short patience, no redirects.

use std::error::Error as _;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderName, IF_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use url::Url;

use super::api::Call;
use super::issuer::Issuer;
use super::printable::printable;
use super::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const DPOP: HeaderName = HeaderName::from_static("dpop");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// Metadata and token answers are a few kilobytes.
const LARGEST_BODY: usize = 256 * 1024;
/// A page of a list may be longer.
const LARGEST_PAGE: usize = 8 * 1024 * 1024;

/// Whatever carries the client's requests. The protocol is tested without a network through this.
pub(crate) trait Transport {
    /// GET, with an access token where one is given: as Bearer (RFC 6750 §2.1), with a proof as DPoP (RFC 9449 §7.1).
    async fn get(&self, url: &Url, access_token: Option<&Secret>, proof: Option<&str>) -> Result<Answer, NoAnswer>;
    /// POST with an `application/x-www-form-urlencoded` body, with a proof where one is given, and with the wish that the
    /// server waits so long with its answer (RFC 7240 §4.3).
    async fn post_form(
        &self,
        url: &Url,
        parameters: &[(&str, &str)],
        proof: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<Answer, NoAnswer>;
}

/// An HTTP answer with any status.
#[derive(Default)]
pub(crate) struct Answer {
    /// HTTP status code.
    pub(crate) status: u16,
    /// `Retry-After`, where it is a number of seconds.
    pub(crate) retry_after: Option<Duration>,
    /// Where a redirect points; it isn't followed.
    pub(crate) location: Option<String>,
    /// `DPoP-Nonce`: to be put into the next proof (RFC 9449 §8.2).
    pub(crate) dpop_nonce: Option<String>,
    /// Whether `WWW-Authenticate` says `use_dpop_nonce` (RFC 9449 §9).
    pub(crate) asks_for_nonce: bool,
    /// `ETag`: the version of what is shown.
    pub(crate) etag: Option<String>,
    /// Holds tokens at times: never printed.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Whether the server, or something before it, says that it can't answer now.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 425 | 429)
    }
}

/// Why there was no HTTP answer.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    /// In words, without the URL.
    pub(crate) reason: String,
    /// Whether there was a connection, so that the server may have acted on the request.
    pub(crate) sent: bool,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    /// A client for one issuer.
    pub(crate) fn for_issuer(issuer: &Issuer) -> Result<Self, NoAnswer> {
        let builder = reqwest::Client::builder()
            .user_agent(user_agent())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            // A redirected POST would carry the device code to an address that no metadata named.
            .redirect(reqwest::redirect::Policy::none());
        let builder = if issuer.is_loopback() { builder.no_proxy() } else { builder };
        // Without TLS no certificate is needed, and a machine that has none can still log in to itself.
        let builder = if issuer.url().scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        builder.build().map(Self).map_err(|error| NoAnswer { reason: root_cause(&error), sent: false })
    }

    /// Sends a request to an API, with the headers that let it in.
    pub(crate) async fn call(
        &self,
        call: &Call<'_>,
        url: Url,
        headers: &[(&'static str, Secret)],
    ) -> Result<Answer, NoAnswer> {
        let method = Method::from_bytes(call.method.as_bytes())
            .map_err(|error| NoAnswer { reason: error.to_string(), sent: false })?;
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, value.expose());
        }
        if let Some(tag) = call.if_match {
            request = request.header(IF_MATCH, tag);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        self.send_for(request, LARGEST_PAGE).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, NoAnswer> {
        self.send_for(request, LARGEST_BODY).await
    }

    /// Sends it, and reads an answer of at most so many bytes.
    async fn send_for(&self, request: reqwest::RequestBuilder, most: usize) -> Result<Answer, NoAnswer> {
        let mut response =
            request.header(ACCEPT, "application/json").send().await.map_err(|error| no_answer(&error))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs),
            location: header(LOCATION).map(printable),
            dpop_nonce: header(DPOP_NONCE).map(str::to_owned),
            asks_for_nonce: header(WWW_AUTHENTICATE).is_some_and(|value| value.contains("\"use_dpop_nonce\"")),
            etag: header(ETAG).map(str::to_owned),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if answer.body.len() + chunk.len() > most {
                let reason = format!("the answer is larger than {} KiB", most / 1024);
                return Err(NoAnswer { reason, sent: true });
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

impl Transport for Http {
    async fn get(&self, url: &Url, access_token: Option<&Secret>, proof: Option<&str>) -> Result<Answer, NoAnswer> {
        let request = self.0.get(url.clone());
        self.send(match (access_token, proof) {
            (Some(token), Some(proof)) => {
                request.header(AUTHORIZATION, format!("DPoP {}", token.expose())).header(DPOP, proof)
            }
            (Some(token), None) => request.bearer_auth(token.expose()),
            (None, _) => request,
        })
        .await
    }

    async fn post_form(
        &self,
        url: &Url,
        parameters: &[(&str, &str)],
        proof: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<Answer, NoAnswer> {
        let request = self.0.post(url.clone()).form(parameters);
        let request = match wait {
            Some(wait) => {
                request.header(PREFER, format!("wait={}", wait.as_secs())).timeout(TOTAL_TIMEOUT.saturating_add(wait))
            }
            None => request,
        };
        self.send(match proof {
            Some(proof) => request.header(DPOP, proof),
            None => request,
        })
        .await
    }
}

fn user_agent() -> String {
    use std::env::consts::{ARCH, OS};
    format!("countersign/{} ({OS}; {ARCH})", env!("CARGO_PKG_VERSION"))
}

fn no_answer(error: &reqwest::Error) -> NoAnswer {
    let sent = !error.is_connect();
    if error.is_timeout() {
        let patience = if sent { TOTAL_TIMEOUT } else { CONNECT_TIMEOUT };
        return NoAnswer { reason: format!("no answer within {} s", patience.as_secs()), sent };
    }
    NoAnswer { reason: root_cause(error), sent }
}

/// The innermost error says what happened ("Connection refused"); those around it only where.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = None;
    while let Some(inner) = cause {
        text = Some(inner.to_string());
        cause = inner.source();
    }
    printable(&text.unwrap_or_else(|| error.to_string()))
}
