//! What a login that is kept is good for: an access token whenever one is needed.
//!
//! 1. The access token that is kept is good for long enough: here it is. Nothing is locked, nobody is asked.
//! 2. It isn't: wait for this login's lock. Of ten processes that come here at once, one goes on.
//! 3. Look again: whoever held the lock before may have done it. Nine processes leave here.
//! 4. Refresh, keep what was answered, let go of the lock.
//! 5. `invalid_grant`: the login has ended. Forget it, and say so. No answer: the kept access token will do while it lives.

use chrono::TimeDelta;
use url::Url;

use super::choice::{Choice, choices};
use super::credentials::{Credentials, CredentialsError, KeptTokens, LoginKey};
use super::error::LoginError;
use super::possession::{Key, Possession, UnusableKey};
use super::refresh::{RefreshError, refresh};
use super::secret::Secret;
use super::server::Server;

/// What keeps a login from being used. Its text is for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No login is kept, or none like that.
    #[error("Not logged in{wanted}. Log in: countersign login {}", .wanted.issuer.as_ref().map_or("URL", |issuer| issuer.as_str()))]
    NotLoggedIn {
        /// What was looked for.
        wanted: Box<Choice>,
    },
    /// More than one login is kept, and it was not said which one is meant.
    #[error("There are several logins. Say which one you mean:{}", choices(.logins))]
    Several {
        /// Those that it can be.
        logins: Vec<super::Login>,
    },
    /// The server says that the login is over.
    #[error("{} Log in again: countersign login {issuer}", signed_out_because(.because.as_deref()))]
    SignedOut {
        /// What the server says of it, made harmless for a terminal.
        because: Option<String>,
        /// The server.
        issuer: String,
    },
    /// The access token has expired, and there is nothing to get another one with.
    #[error(
        "The access token is of no use any more, and the server gave no refresh token. Log in again: countersign login {issuer}"
    )]
    Expired {
        /// The server.
        issuer: String,
    },
    /// The server can't be asked, or refuses.
    #[error(transparent)]
    Server(#[from] LoginError),
}

impl From<UnusableKey> for SessionError {
    fn from(error: UnusableKey) -> Self {
        Self::Server(error.into())
    }
}

impl From<CredentialsError> for SessionError {
    fn from(error: CredentialsError) -> Self {
        Self::Server(error.into())
    }
}

fn signed_out_because(because: Option<&str>) -> String {
    match because {
        Some(because) => format!("Signed out. The server says: “{because}”"),
        None => "Signed out: the device was revoked or the sign-in ended.".to_owned(),
    }
}

impl SessionError {
    /// A word for scripts.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NotLoggedIn { .. } => "not_logged_in",
            Self::Several { .. } => "several_logins",
            Self::SignedOut { .. } => "signed_out",
            Self::Expired { .. } => "expired",
            Self::Server(error) => error.code(),
        }
    }
}

/// How good an access token has to be.
#[derive(Clone, Debug)]
pub struct Need {
    /// Its life from now.
    pub min_valid: TimeDelta,
    /// One that was refused and will not do, however long it should live.
    pub refused: Option<Secret>,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: KeptTokens,
    /// The keyring took the tokens no more: they are in the file now.
    pub left_the_keyring: bool,
}

impl Access {
    /// The token itself.
    #[must_use]
    pub const fn token(&self) -> &Secret {
        &self.tokens.access_token
    }

    /// `Bearer` or `DPoP`.
    #[must_use]
    pub fn token_type(&self) -> &str {
        &self.tokens.token_type
    }

    /// When it ends, if told.
    #[must_use]
    pub const fn expires_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.tokens.expires_at
    }

    /// Whether another one can be had when it has ended.
    #[must_use]
    pub const fn refreshes(&self) -> bool {
        self.tokens.refresh_token.is_some()
    }

    /// Whether an API takes it with a proof of this login's key only (RFC 9449).
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.tokens.dpop_key.is_some()
    }

    /// The headers of one request to an API, names and values; a bound token's with a proof for that request alone, and in
    /// it the nonce that the API gave, if it gave one.
    pub fn headers(
        &self,
        credentials: &Credentials,
        method: &str,
        url: &Url,
        nonce: Option<&str>,
    ) -> Result<Vec<(&'static str, Secret)>, SessionError> {
        Ok(self.possession(credentials)?.headers(method, url, self.token(), nonce)?)
    }

    pub(crate) fn possession(&self, credentials: &Credentials) -> Result<Possession, UnusableKey> {
        self.tokens.possession(credentials)
    }

    pub(crate) const fn id_token(&self) -> Option<&Secret> {
        self.tokens.id_token.as_ref()
    }
}

/// An access token of the login `key`, as good as it is needed, or as good as it can be had.
pub async fn access(credentials: &Credentials, key: &LoginKey, need: &Need) -> Result<Access, SessionError> {
    let Some(found) = credentials.tokens(key).await? else { return Err(not_logged_in(key)) };
    if need.is_met(&found, credentials) {
        return Ok(found.into());
    }
    if found.refresh_token.is_none() {
        return need.still_met(found, credentials).ok_or_else(|| SessionError::Expired { issuer: key.issuer.clone() });
    }
    let held = credentials.hold(key).await?;
    let Some(tokens) = credentials.tokens(key).await? else { return Err(signed_out(key, None)) };
    // What came while this process waited is as fresh as can be, even where tokens live shorter than is asked for. If
    // nothing came, the server can't be reached just now, and a token that lives will do without asking again.
    let came_meanwhile = tokens.access_token.expose() != found.access_token.expose();
    let tried_meanwhile = held.waited || came_meanwhile;
    if need.is_met(&tokens, credentials) || (tried_meanwhile && need.is_still_met(&tokens, credentials)) {
        return Ok(tokens.into());
    }
    let Some(refresh_token) = &tokens.refresh_token else { return Err(signed_out(key, None)) };
    match refreshed(key, tokens.possession(credentials)?, refresh_token).await {
        Ok(answered) => {
            let refreshed = credentials.refreshed(key, &tokens, &answered).await?;
            Ok(Access { tokens: refreshed.tokens, left_the_keyring: refreshed.left_the_keyring })
        }
        Err(RefreshError::Ended(because)) => {
            credentials.forget(key).await?;
            Err(signed_out(key, because))
        }
        Err(RefreshError::Server(error)) => need.still_met(tokens, credentials).ok_or(SessionError::Server(error)),
    }
}

/// What is known of a login's tokens without asking the server.
#[derive(Clone, Copy, Debug)]
pub struct TokenState {
    /// The end of the access token, if told.
    pub expires_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether another one can be had.
    pub refreshes: bool,
}

/// Looks at the tokens of a login.
pub async fn token_state(credentials: &Credentials, key: &LoginKey) -> Result<TokenState, SessionError> {
    let tokens = credentials.tokens(key).await?.ok_or_else(|| not_logged_in(key))?;
    Ok(TokenState { expires_at: tokens.expires_at, refreshes: tokens.refresh_token.is_some() })
}

async fn refreshed(
    key: &LoginKey,
    possession: Possession,
    refresh_token: &Secret,
) -> Result<super::Tokens, RefreshError> {
    let server = Server::of_login(&key.issuer).await.map_err(RefreshError::Server)?;
    refresh(&server.http, &server.endpoints, &possession, &key.client_id, refresh_token).await
}

impl KeptTokens {
    /// What can be proven for them.
    fn possession(&self, credentials: &Credentials) -> Result<Possession, UnusableKey> {
        let key = self.dpop_key.as_ref().map(Key::read).transpose()?;
        Ok(Possession::of(key, credentials.clock().clone()))
    }
}

impl Need {
    /// A token that lives at least so long.
    #[must_use]
    pub const fn of(min_valid: TimeDelta) -> Self {
        Self { min_valid, refused: None }
    }

    fn is_met(&self, tokens: &KeptTokens, credentials: &Credentials) -> bool {
        self.accepts(tokens) && tokens.good_for(self.min_valid, credentials.clock().now())
    }

    /// Whether the token lives, however short.
    fn is_still_met(&self, tokens: &KeptTokens, credentials: &Credentials) -> bool {
        self.accepts(tokens) && tokens.good_for(TimeDelta::zero(), credentials.clock().now())
    }

    fn still_met(&self, tokens: KeptTokens, credentials: &Credentials) -> Option<Access> {
        self.is_still_met(&tokens, credentials).then(|| tokens.into())
    }

    fn accepts(&self, tokens: &KeptTokens) -> bool {
        self.refused.as_ref().is_none_or(|refused| refused.expose() != tokens.access_token.expose())
    }
}

impl From<KeptTokens> for Access {
    fn from(tokens: KeptTokens) -> Self {
        Self { tokens, left_the_keyring: false }
    }
}

fn not_logged_in(key: &LoginKey) -> SessionError {
    let wanted = Choice { issuer: key.issuer.parse().ok(), client_id: Some(key.client_id.clone()), account: None };
    SessionError::NotLoggedIn { wanted: Box::new(wanted) }
}

fn signed_out(key: &LoginKey, because: Option<String>) -> SessionError {
    SessionError::SignedOut { because, issuer: key.issuer.clone() }
}
