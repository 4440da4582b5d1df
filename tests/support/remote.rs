//! A server on a socket, spoken to as the router in this process is.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use reqwest::Client;
use reqwest::redirect::Policy;

use super::app::{Answer, form_request};

/// A server on a socket.
#[derive(Clone)]
pub struct Remote {
    base: String,
    client: Client,
}

impl Remote {
    /// The server with this issuer.
    pub fn new(issuer: &str) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self::through(client, issuer)
    }

    /// The server with this issuer, by a client that follows no redirect.
    pub fn through(client: Client, issuer: &str) -> Self {
        Self { base: issuer.to_owned(), client }
    }

    /// One request, nothing followed.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let url = format!("{}{}", self.base, parts.uri);
        let response = self.client.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// A path, by GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// A form sent to a path.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(form_request(path, form)).await
    }
}
