//! A real OpenID Connect issuer (npm `oidc-provider`) as a child process, and a person who signs in at it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use url::Url;

/// The confidential client that it knows.
pub const CLIENT_ID: &str = "countersign";
/// That client's secret.
pub const CLIENT_SECRET: &str = "a-secret-of-the-tests-and-nobody-else";
/// The client without a secret; its `id_token`s are signed with ES256.
pub const PUBLIC_CLIENT_ID: &str = "countersign-public";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream/oidc-provider.mjs");

/// Far more than it takes.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// The running issuer. It ends with this value.
pub struct OidcProvider {
    issuer: String,
    _process: Child,
}

/// Starts an issuer that sends browsers back to `redirect_uri`.
pub async fn start(redirect_uri: &str) -> OidcProvider {
    start_on(0, redirect_uri).await
}

/// The same on a port that its issuer was configured with. Once in thousands of times node never gets as far as to say that it
/// listens: it is started anew then.
pub async fn start_on(port: u16, redirect_uri: &str) -> OidcProvider {
    for _ in 0..3 {
        if let Ok(provider) = timeout(STARTS_WITHIN, spawn(port, redirect_uri)).await {
            return provider;
        }
    }
    panic!("oidc-provider doesn't start");
}

async fn spawn(port: u16, redirect_uri: &str) -> OidcProvider {
    let mut process = Command::new("node")
        .arg(SCRIPT)
        .arg(json!({ "redirect_uri": redirect_uri, "port": port }).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("oidc-provider starts: is `npm ci` done in tests/?");
    let said: Value = serde_json::from_str(&line).unwrap();
    OidcProvider { issuer: said["issuer"].as_str().unwrap().to_owned(), _process: process }
}

impl OidcProvider {
    /// Its issuer: `http://127.0.0.1:PORT`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Gives an order as the head of the script lists them: `{"rotate_keys": true}`.
    pub async fn control(&self, order: Value) {
        let answer = browser().post(format!("{}/control", self.issuer)).body(order.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }
}

/// A client that behaves like a browser whose redirects are followed by hand. Each request has a connection of its own: one
/// that is kept may be closed by the other side at the very moment at which it is used again.
pub fn browser() -> Client {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
    client.timeout(Duration::from_mins(1)).build().unwrap()
}

/// Signs `account` in as a person would who was sent to `authorization_url`, and returns where the browser is sent
/// back to, without going there. `client` must not follow redirects.
pub async fn sign_in(client: &Client, authorization_url: &Url, account: &str) -> Url {
    walk(client, authorization_url, &[("account", account), ("decision", "sign-in")]).await
}

/// The same, by a person who thinks better of it.
pub async fn cancel(client: &Client, authorization_url: &Url) -> Url {
    walk(client, authorization_url, &[("decision", "cancel")]).await
}

async fn walk(client: &Client, authorization_url: &Url, form: &[(&str, &str)]) -> Url {
    let home = authorization_url.origin();
    let mut cookies = BTreeMap::new();
    let mut url = authorization_url.clone();
    for _ in 0..8 {
        let asks = url.path().starts_with("/interaction/");
        let request = if asks { client.post(url.clone()).form(form) } else { client.get(url.clone()) };
        let answer = with(request, &cookies).send().await.unwrap();
        keep(&mut cookies, &answer);
        let location = answer.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        let Some(location) = location else {
            panic!("the issuer answers {} instead of sending on: {}", answer.status(), answer.text().await.unwrap());
        };
        url = url.join(&location).unwrap();
        if url.origin() != home {
            return url;
        }
    }
    panic!("the issuer sends the browser in circles");
}

fn with(request: RequestBuilder, cookies: &BTreeMap<String, String>) -> RequestBuilder {
    let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if pairs.is_empty() { request } else { request.header(COOKIE, pairs.join("; ")) }
}

fn keep(cookies: &mut BTreeMap<String, String>, answer: &Response) {
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let (pair, _attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        cookies.insert(name.to_owned(), value.to_owned());
    }
}
