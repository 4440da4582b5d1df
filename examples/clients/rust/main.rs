//! acme: a tool with device login (RFC 8628), with the crate `oauth2`.
//!
//! ```text
//! acme login     signs this machine in
//! acme token     prints an access token that is valid
//! acme whoami    shows who is signed in
//! acme logout    signs this machine out
//! ```
#![expect(clippy::disallowed_methods, reason = "a small tool reads its environment and the clock where it needs them")]

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use std::{env, fs};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse};
use oauth2::{
    ClientId, DeviceAuthorizationUrl, ErrorResponseType, HttpRequest, HttpResponse, RefreshToken, RequestTokenError,
    Scope, StandardDeviceAuthorizationResponse, StandardErrorResponse, TokenResponse as _, TokenUrl,
};
use serde::{Deserialize, Serialize};

const SCOPES: [&str; 3] = ["openid", "email", "offline_access"];

/// What the server says of itself (RFC 8414).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    device_authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    userinfo_endpoint: String,
    #[serde(default)]
    device_poll_wait_max: u64,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match env::args().nth(1).as_deref() {
        Some("login") => login().await,
        Some("token") => token().await,
        Some("whoami") => whoami().await,
        Some("logout") => logout().await,
        _ => {
            tell("usage: acme login | token | whoami | logout\n");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = done {
        tell(&format!("acme: {error:#}\n"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn tell(words: &str) {
    _ = io::stderr().write_all(words.as_bytes());
}

fn print(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn setting(name: &str, otherwise: &str) -> String {
    env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| otherwise.to_owned())
}

fn client_id() -> String {
    setting("ACME_CLIENT_ID", "acme-cli")
}

/// Reads the server's addresses. They belong to the issuer only if they say so (RFC 8414, section 3.3).
async fn discover() -> Result<(reqwest::Client, Metadata)> {
    let issuer = setting("ACME_ISSUER", "https://login.acme.example");
    // Redirects are not followed: they would carry tokens elsewhere.
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_mins(1))
        .build()?;
    let answer = http.get(format!("{issuer}/.well-known/oauth-authorization-server")).send().await;
    let metadata: Metadata = answer.and_then(reqwest::Response::error_for_status)?.json().await?;
    ensure!(metadata.issuer == issuer, "{issuer} is not what the server calls itself");
    Ok((http, metadata))
}

/// How `oauth2` reaches the server: any HTTP client will do. What is no answer of the server's is an error.
async fn send(http: &reqwest::Client, request: HttpRequest) -> io::Result<HttpResponse> {
    let request = request.try_into().map_err(io::Error::other)?;
    let answer = http.execute(request).await.map_err(io::Error::other)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(io::Error::other(format!("the server answered {status}")));
    }
    let mut response = HttpResponse::new(answer.bytes().await.map_err(io::Error::other)?.to_vec());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

async fn login() -> Result<()> {
    let (http, metadata) = discover().await?;
    let client = BasicClient::new(ClientId::new(client_id()))
        .set_token_uri(TokenUrl::new(metadata.token_endpoint.clone())?)
        .set_device_authorization_url(DeviceAuthorizationUrl::new(metadata.device_authorization_endpoint.clone())?);
    let codes: StandardDeviceAuthorizationResponse = client
        .exchange_device_code()
        .add_scopes(SCOPES.map(|scope| Scope::new(scope.to_owned())))
        .add_extra_param("device_name", setting("HOSTNAME", "acme"))
        .request_async(&|request| send(&http, request))
        .await
        .map_err(in_words)?;
    let user_code = codes.user_code().secret();
    if let Some(uri) = codes.verification_uri_complete() {
        let uri = uri.secret();
        tell(&format!("Open {uri}\nin any browser, and compare the code that it shows: {user_code}\n"));
    } else {
        let uri = codes.verification_uri().as_str();
        tell(&format!("Open {uri}\nin any browser, and enter this code: {user_code}\n"));
    }
    // A server that can hold a poll until the decision says for how long (RFC 7240). Not longer than 20 s: proxies cut.
    let wait = Cell::new(metadata.device_poll_wait_max.min(20));
    // The server says when a code has expired. Should it not, this ends the wait; two minutes more are for the number.
    let give_up = codes.expires_in() + Duration::from_mins(2);
    // The library polls in time, minds `slow_down`, and waits longer after a poll that got no answer.
    let tokens = client
        .exchange_device_access_token(&codes)
        .set_max_backoff_interval(Duration::from_mins(1))
        .request_async(&|request| poll(&http, &wait, request), tokio::time::sleep, Some(give_up))
        .await
        .map_err(in_words)?;
    keep(&tokens, None)?;
    tell("Signed in.\n");
    Ok(())
}

/// One poll of the library's, with what the library doesn't do: waiting longer, and asking for the number.
async fn poll(http: &reqwest::Client, wait: &Cell<u64>, mut request: HttpRequest) -> io::Result<HttpResponse> {
    let form = request.body().clone();
    loop {
        let mut asked = request.clone();
        if wait.get() > 0 {
            asked.headers_mut().insert("prefer", format!("wait={}", wait.get()).parse().map_err(io::Error::other)?);
        }
        // After one that failed, no poll is asked to be held.
        let answer = send(http, asked).await.inspect_err(|_| wait.set(0))?;
        let said: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if said.get("verification").is_none_or(|verification| verification != "number") {
            return Ok(answer);
        }
        // Approved, but the page shows a number that has to be typed here.
        let tries_left = said.get("tries_left").and_then(serde_json::Value::as_u64).unwrap_or(1);
        tell(&format!("Type the number that the page shows ({tries_left} tries left): "));
        let mut number = String::new();
        if io::stdin().read_line(&mut number)? == 0 {
            // Told like an answer of the server's, which ends the library's polling.
            let said =
                r#"{"error":"no_number","error_description":"the server wants a number, and nobody types one."}"#;
            let mut answer = HttpResponse::new(said.into());
            *answer.status_mut() = reqwest::StatusCode::BAD_REQUEST;
            return Ok(answer);
        }
        let number: String = url::form_urlencoded::byte_serialize(number.trim().as_bytes()).collect();
        *request.body_mut() = [&form, format!("&verification_number={number}").as_bytes()].concat();
    }
}

/// What went wrong, in words for people.
fn in_words<T>(error: RequestTokenError<io::Error, StandardErrorResponse<T>>) -> anyhow::Error
where
    T: ErrorResponseType + Display + Send + Sync + 'static,
{
    match error {
        RequestTokenError::ServerResponse(refused) => match refused.error().to_string().as_str() {
            "access_denied" => anyhow!("the login was denied."),
            "expired_token" => anyhow!("the code has expired. Run \"acme login\" again."),
            error => anyhow!("{}", refused.error_description().map_or(error, String::as_str)),
        },
        other => other.into(),
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

fn store() -> Result<PathBuf> {
    let config = match env::var_os("XDG_CONFIG_HOME").filter(|directory| !directory.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".config"),
    };
    Ok(config.join("acme").join("tokens.json"))
}

/// Writes beside the file first, so that it is replaced as a whole or not at all. The mode of `NamedTempFile` is 0600.
fn keep(answer: &BasicTokenResponse, old_refresh_token: Option<String>) -> Result<Tokens> {
    let tokens = Tokens {
        access_token: answer.access_token().secret().clone(),
        refresh_token: answer.refresh_token().map(|token| token.secret().clone()).or(old_refresh_token),
        expires_at: now() + answer.expires_in().unwrap_or_default().as_secs(),
    };
    let path = store()?;
    let directory = path.parent().context("the store has no directory")?;
    fs::create_dir_all(directory)?;
    let mut beside = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut beside, &tokens)?;
    beside.persist(&path)?;
    Ok(tokens)
}

fn kept() -> Result<Tokens> {
    match fs::read(store()?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("not signed in. Run \"acme login\"."),
        text => Ok(serde_json::from_slice(&text?)?),
    }
}

/// The access token that is kept, or a new one when that is about to expire.
async fn fresh() -> Result<String> {
    let tokens = kept()?;
    if tokens.expires_at > now() + 60 {
        return Ok(tokens.access_token);
    }
    let refresh_token = tokens.refresh_token.context("the access has expired. Run \"acme login\" again.")?;
    let (http, metadata) = discover().await?;
    let answer = BasicClient::new(ClientId::new(client_id()))
        .set_token_uri(TokenUrl::new(metadata.token_endpoint)?)
        .exchange_refresh_token(&RefreshToken::new(refresh_token.clone()))
        .request_async(&|request| send(&http, request))
        .await;
    if let Err(RequestTokenError::ServerResponse(refused)) = &answer
        && *refused.error() == BasicErrorResponseType::InvalidGrant
    {
        fs::remove_file(store()?)?;
        let why = refused.error_description().map_or("", String::as_str);
        bail!("signed out. {why} Run \"acme login\".");
    }
    Ok(keep(&answer.map_err(in_words)?, Some(refresh_token))?.access_token)
}

async fn token() -> Result<()> {
    print(&fresh().await?)
}

async fn whoami() -> Result<()> {
    let access_token = fresh().await?;
    let (http, metadata) = discover().await?;
    let answer = http.get(metadata.userinfo_endpoint).bearer_auth(access_token).send().await?;
    print(&answer.error_for_status()?.text().await?)
}

/// Forgets the tokens whether or not the server could be told.
async fn logout() -> Result<()> {
    let tokens = kept()?;
    fs::remove_file(store()?)?;
    revoke(tokens).await.context("the tokens are gone from here, but the server could not be told")?;
    tell("Signed out.\n");
    Ok(())
}

async fn revoke(tokens: Tokens) -> Result<()> {
    let (http, metadata) = discover().await?;
    let token = tokens.refresh_token.unwrap_or(tokens.access_token);
    let form = [("client_id", client_id()), ("token", token)];
    http.post(metadata.revocation_endpoint).form(&form).send().await?.error_for_status()?;
    Ok(())
}
