//! The reference client: how a command-line tool logs in to a Countersign server, or any other that speaks RFC 8628.
//!
//! 1. **Find the server.** The person gives one address, the issuer. Its metadata (RFC 8414) names the endpoints, and
//!    must name this very issuer (`metadata`).
//! 2. **Ask for a code.** `POST device_authorization_endpoint` with `client_id` and `scope`. The answer is a pair: the
//!    *device code*, a secret that only this process knows, and the *user code*, short enough to be typed
//!    (RFC 8628 §3.1, §3.2; `answer`).
//! 3. **Show it.** The address to visit, the user code, and a QR code of both (`screen`, or `events` for scripts).
//!    The person opens the address on a device that has a browser, signs in there and approves. This process never
//!    sees a password.
//! 4. **Poll.** Meanwhile `POST token_endpoint` with the device code, no oftener than every `interval` seconds:
//!    `authorization_pending` means ask again, `slow_down` means ask again 5 s more slowly from now on, no answer means
//!    ask again after twice the time (§3.4, §3.5; `device_login`, `pacing`).
//!    Where the server offers it, each of these requests proves a key of this machine, to which the tokens are bound then
//!    (RFC 9449; `possession`).
//! 5. **End.** Tokens; or `access_denied`; or `expired_token`, after which a person who is still there gets a new code
//!    instead of an endless wait.
//! 6. **Keep the tokens** in the keyring, or in a file that only its owner can read (`credentials`, `keyring`).
//!
//! From then on a login is used without anybody being asked: an access token whenever one is needed (`session`, `refresh`), who
//! it belongs to (`person`), what an API at the server answers (`api`), and its end (`logout`).
//!
//! It knows HTTP and nothing of the server in the rest of this crate, so it can be read as an example for other tools.

mod answer;
mod api;
mod choice;
mod claims;
mod credentials;
mod device_login;
pub mod environment;
mod error;
mod events;
mod http;
mod issuer;
mod keyring;
mod logout;
mod metadata;
mod pacing;
mod person;
mod possession;
mod printable;
mod qr;
mod refresh;
mod reporter;
mod screen;
mod secret;
mod server;
mod session;

use std::num::NonZeroU32;

pub use answer::{Code, Tokens};
pub use api::{Api, Call, Reply};
pub use choice::Choice;
pub use claims::Claims;
pub use credentials::{Credentials, CredentialsError, KeptIn, Login, LoginKey};
pub use error::LoginError;
pub use events::JsonLines;
pub use issuer::{InvalidIssuer, Issuer};
pub use keyring::{Keyring, KeyringError};
pub use logout::{LoggedOut, log_out};
pub use person::{Person, who_is};
pub use possession::UnusableKey;
pub(crate) use printable::printable;
pub use reporter::{Event, Reporter};
pub use screen::Screen;
pub use secret::Secret;
pub use session::{Access, Need, SessionError, TokenState, access, token_state};

use possession::Possession;
use server::Server;

use crate::clock::Clock;

/// What to log in to, as what, and for what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub issuer: Issuer,
    /// Who asks.
    pub client_id: String,
    /// Scopes asked for, separated by spaces; the service's default ones if `None`.
    pub scope: Option<String>,
    /// Slug of the organization, for servers that ask for it.
    pub organization: Option<String>,
    /// Slug of the service, for servers that ask for it.
    pub service: Option<String>,
    /// Shown to the approver; at most 64 characters.
    pub device_name: Option<String>,
    /// How many codes may expire before the login fails; one where nobody is there to see the next.
    pub max_codes: NonZeroU32,
    /// Lets plain http leave this machine.
    pub insecure_http: bool,
    /// Asks for tokens that anybody who has them can use, also where the server would bind them to a key.
    pub bearer: bool,
}

impl Options {
    /// A login with the service's default scopes and a single code.
    #[must_use]
    pub const fn new(issuer: Issuer, client_id: String) -> Self {
        Self {
            issuer,
            client_id,
            scope: None,
            organization: None,
            service: None,
            device_name: None,
            max_codes: NonZeroU32::MIN,
            insecure_http: false,
            bearer: false,
        }
    }
}

/// A login that went through.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The server.
    pub issuer: String,
    /// Who asked.
    pub client_id: String,
    /// What was asked, if anything in particular.
    pub asked_scope: Option<String>,
    /// What was got.
    pub tokens: Tokens,
    /// The key that the tokens are bound to, as it is kept; none for bearer tokens.
    pub key: Option<Secret>,
}

impl SignedIn {
    /// The scopes of the token, if known: an answer without `scope` grants what was asked (RFC 6749 §5.1).
    #[must_use]
    pub fn granted_scope(&self) -> Option<&str> {
        self.tokens.scope.as_deref().or(self.asked_scope.as_deref())
    }

    /// The scopes that were asked and not granted, because the person narrowed them or the server did.
    #[must_use]
    pub fn not_granted(&self) -> Vec<&str> {
        let asked = self.asked_scope.as_deref().unwrap_or_default().split_whitespace();
        let granted = self.granted_scope().unwrap_or_default();
        asked.filter(|scope| !granted.split_whitespace().any(|granted| granted == *scope)).collect()
    }
}

/// Logs in: steps 1 to 5. Tells `reporter` everything but the end, which it returns. Dropped, it just stops.
pub async fn login<R: Reporter>(options: &Options, clock: &Clock, reporter: &mut R) -> Result<SignedIn, LoginError> {
    let server = Server::find(&options.issuer, options.insecure_http).await?;
    let bind = server.endpoints.dpop && !options.bearer;
    let key = if bind { Some(possession::Key::generate()?) } else { None };
    let possession = Possession::of(key, clock.clone());
    let tokens = device_login::run(&server.http, &server.endpoints, &possession, options, reporter).await?;
    let key = possession.key().filter(|_| tokens.is_bound()).map(|key| key.kept().clone());
    Ok(SignedIn {
        issuer: options.issuer.to_string(),
        client_id: options.client_id.clone(),
        asked_scope: options.scope.clone(),
        tokens,
        key,
    })
}

/// Logs in, keeps the tokens in `credentials`, and tells `reporter` the end too: steps 1 to 6.
pub async fn login_and_keep<R: Reporter>(
    options: &Options,
    credentials: &Credentials,
    reporter: &mut R,
) -> Result<SignedIn, LoginError> {
    let result = kept(options, credentials, reporter).await;
    // Whoever reads the events may be gone by now; what was reached stands.
    drop(match &result {
        Ok((signed_in, kept_in)) => reporter.report(&Event::SignedIn { signed_in, kept_in: Some(kept_in) }),
        Err(error) => reporter.report(&Event::Failed(error)),
    });
    result.map(|(signed_in, _)| signed_in)
}

async fn kept<R: Reporter>(
    options: &Options,
    credentials: &Credentials,
    reporter: &mut R,
) -> Result<(SignedIn, KeptIn), LoginError> {
    credentials.prepare()?;
    let signed_in = login(options, credentials.clock(), reporter).await?;
    let kept_in = credentials.save(&signed_in).await?;
    Ok((signed_in, kept_in))
}
