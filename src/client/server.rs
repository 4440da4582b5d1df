//! A server that was found: a connection to it, and its endpoints.

use super::error::LoginError;
use super::http::Http;
use super::issuer::{Issuer, is_protected};
use super::metadata::{Endpoints, discover};

/// A server, ready to be asked.
pub(crate) struct Server {
    pub(crate) http: Http,
    pub(crate) endpoints: Endpoints,
}

impl Server {
    /// Asks for its metadata.
    pub(crate) async fn find(issuer: &Issuer, insecure_http: bool) -> Result<Self, LoginError> {
        if !insecure_http && !is_protected(issuer.url()) {
            return Err(LoginError::InsecureIssuer { issuer: issuer.to_string() });
        }
        let http = Http::for_issuer(issuer).map_err(|error| LoginError::unreachable(issuer, error))?;
        let endpoints = discover(&http, issuer, insecure_http).await?;
        Ok(Self { http, endpoints })
    }

    /// The server of a login that is kept. Who logged in over plain http has consented to it.
    pub(crate) async fn of_login(issuer: &str) -> Result<Self, LoginError> {
        let parsed: Issuer = issuer.parse().map_err(|error| LoginError::NotAnAuthorizationServer {
            issuer: issuer.to_owned(),
            reason: format!("{error}"),
        })?;
        let insecure_http = parsed.url().scheme() == "http";
        Self::find(&parsed, insecure_http).await
    }
}
