//! A JSON API at the server of a login that is kept, asked with that login.
//!
//! 1. The access token is good for as long as a request takes; if it isn't, it is refreshed first (`session`).
//! 2. The request carries it, with a proof for this one request where it is bound to a key, and the API's newest nonce in it.
//! 3. A request that was refused for want of a nonce is sent once more; so is one whose token was refused, with another token:
//!    neither has changed anything.

use std::fmt;

use chrono::TimeDelta;
use serde_json::Value;

use super::credentials::{Credentials, Login};
use super::error::LoginError;
use super::http::{Answer, Http};
use super::issuer::Issuer;
use super::metadata::{Endpoints, discover};
use super::session::{Access, Need, SessionError, access};

/// How long a token has to live when it is sent, in seconds.
const LONG_ENOUGH: i64 = 30;

/// An API, and the login with which it is asked.
#[derive(Debug)]
pub struct Api {
    http: Http,
    issuer: Issuer,
    credentials: Credentials,
    login: Login,
    nonce: Option<String>,
}

/// One request. Its body may hold secrets: it has no `Debug`.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// `GET`, `POST`, `PATCH`, `DELETE`.
    pub method: &'a str,
    /// Segments of its path below the issuer, not yet encoded.
    pub path: &'a [&'a str],
    /// Parameters of its address.
    pub query: &'a [(&'a str, &'a str)],
    /// Its JSON.
    pub body: Option<&'a Value>,
    /// The version that it is about.
    pub if_match: Option<&'a str>,
}

/// What was answered, with any status.
#[derive(Clone, Default)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// The version of what is shown.
    pub etag: Option<String>,
    /// When to ask again, in seconds.
    pub retry_after: Option<u64>,
    /// The JSON; null where there was none.
    pub body: Value,
}

/// Without the body, which may hold a secret.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Api {
    /// Of the server of this login. Asks nobody yet.
    pub fn of(credentials: Credentials, login: Login) -> Result<Self, SessionError> {
        let issuer: Issuer = login.key.issuer.parse().map_err(|error| LoginError::NotAnAuthorizationServer {
            issuer: login.key.issuer.clone(),
            reason: format!("{error}"),
        })?;
        let http = Http::for_issuer(&issuer).map_err(|error| LoginError::unreachable(&issuer, error))?;
        Ok(Self { http, issuer, credentials, login, nonce: None })
    }

    /// The login.
    #[must_use]
    pub const fn login(&self) -> &Login {
        &self.login
    }

    /// The server.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no token, no answer, or one that isn't JSON. What the API refuses is an answer.
    pub async fn ask(&mut self, call: &Call<'_>) -> Result<Reply, SessionError> {
        let need = Need::of(TimeDelta::seconds(LONG_ENOUGH));
        let first = access(&self.credentials, &self.login.key, &need).await?;
        let mut answer = self.send(call, &first).await?;
        if answer.status == 401 {
            let need = Need { refused: Some(first.token().clone()), ..need };
            let other = access(&self.credentials, &self.login.key, &need).await?;
            answer = self.send(call, &other).await?;
        }
        self.read(&answer)
    }

    /// Where devices ask for codes at this server, and where for tokens.
    pub async fn device_login(&self) -> Result<(String, String), LoginError> {
        let insecure_http = self.issuer.url().scheme() == "http";
        let Endpoints { device_authorization, token, .. } = discover(&self.http, &self.issuer, insecure_http).await?;
        Ok((device_authorization.into(), token.into()))
    }

    async fn send(&mut self, call: &Call<'_>, access: &Access) -> Result<Answer, SessionError> {
        let mut url = self.issuer.url().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut again = true;
        loop {
            let headers = access.headers(&self.credentials, call.method, &url, self.nonce.as_deref())?;
            let answer = self.http.call(call, url.clone(), &headers).await;
            let answer = answer.map_err(|error| LoginError::unreachable(&self.issuer, error))?;
            let asked = answer.asks_for_nonce && answer.dpop_nonce.is_some();
            if answer.dpop_nonce.is_some() {
                self.nonce.clone_from(&answer.dpop_nonce);
            }
            if !(asked && again) {
                return Ok(answer);
            }
            again = false;
        }
    }

    fn read(&self, answer: &Answer) -> Result<Reply, SessionError> {
        let body = if answer.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&answer.body) };
        let body = match body {
            Ok(body) => body,
            Err(_) if answer.is_unavailable() => return Err(LoginError::unavailable(&self.issuer, answer).into()),
            Err(_) => {
                let reason = format!("HTTP {} without JSON", answer.status);
                return Err(LoginError::NotUnderstood { address: self.issuer.to_string(), reason }.into());
            }
        };
        let retry_after = answer.retry_after.map(|time| time.as_secs());
        Ok(Reply { status: answer.status, etag: answer.etag.clone(), retry_after, body })
    }
}
