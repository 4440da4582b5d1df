//! The end of a login: revoked at the server (RFC 7009), then forgotten here.

use super::answer::OAuthError;
use super::credentials::{Credentials, KeptTokens, Login};
use super::error::LoginError;
use super::http::Transport as _;
use super::server::Server;
use super::session::SessionError;

/// A login that is forgotten.
#[derive(Debug)]
pub struct LoggedOut {
    /// Which one.
    pub login: Login,
    /// Why the server couldn't be told. `None`: it knows.
    pub not_told: Option<String>,
}

/// Ends `login`. Here it is over in any case; at the server, if that can be told.
///
/// # Errors
/// When its tokens can't be read or removed: then it stays.
pub async fn log_out(credentials: &Credentials, login: Login) -> Result<LoggedOut, SessionError> {
    let _held = credentials.hold(&login.key).await?;
    let not_told = match credentials.tokens(&login.key).await? {
        Some(tokens) => revoke(&login, &tokens).await.err(),
        None => Some("its tokens were gone already".to_owned()),
    };
    credentials.forget(&login.key).await?;
    Ok(LoggedOut { login, not_told })
}

/// Revokes the refresh token, and with it the session; without one the access token. `Err` says in words why not.
async fn revoke(login: &Login, tokens: &KeptTokens) -> Result<(), String> {
    let in_words = |error: LoginError| error.to_string();
    let server = Server::of_login(&login.key.issuer).await.map_err(in_words)?;
    let address = server.endpoints.revocation.as_ref().ok_or("its metadata names no revocation_endpoint")?;
    let (token, hint) = match &tokens.refresh_token {
        Some(token) => (token, "refresh_token"),
        None => (&tokens.access_token, "access_token"),
    };
    let parameters =
        [("token", token.expose()), ("token_type_hint", hint), ("client_id", login.key.client_id.as_str())];
    let answer = server.http.post_form(address, &parameters, None, None).await;
    let answer = answer.map_err(|error| LoginError::unreachable(address, error).to_string())?;
    match (answer.status, OAuthError::read(&answer.body)) {
        (200..=299, _) => Ok(()),
        (_, Some(error)) => Err(LoginError::Refused { error: error.error, description: error.description }.to_string()),
        (status, None) => Err(format!("HTTP {status}")),
    }
}
