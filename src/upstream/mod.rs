//! Signing in at an organization's own identity provider.
//!
//! Whatever the provider speaks, it is one round trip (RFC 6749 §4.1; OpenID Connect Core §3.1):
//!
//! 1. The person chooses a provider. [`round_trip::start`] draws a `state` of 256 bits and notes its MAC beside the
//!    browser session and the provider. Nonce and PKCE verifier are derived from the state; nothing that is stored
//!    could be replayed.
//! 2. [`Upstream::authorization_url`] says where to send the browser. Of an OpenID Connect provider only the issuer is
//!    configured; the rest is discovered. State, nonce and an S256 challenge (RFC 7636) always go along.
//! 3. The person signs in over there. What happens is between them and the provider.
//! 4. The browser comes back to `/auth/{provider}/callback` with a [`Callback`]. [`round_trip::finish`] accepts it once,
//!    from the browser that left, for the provider that it left for, within ten minutes.
//! 5. [`Upstream::identity`] checks who answers (RFC 9207), exchanges the code for tokens, server to server, verifies
//!    them and asks for what they don't hold. The result is an [`Identity`]: what the provider says, and nothing it
//!    hasn't verified.
//! 6. [`admission::admit`] finds or makes the user whose identity that is, or says why not.
//!
//! An answer counts for one provider only (RFC 9700 §4.4): the state says for which, the callback's path has its slug,
//! and where the answer names its issuer, that must be this one. PKCE makes a code of another round trip worthless.

pub mod admission;
mod callback;
mod discovery;
mod error;
mod github;
mod http;
mod identity;
mod oidc;
mod oidc_claims;
pub mod round_trip;

use std::sync::Arc;

use url::Url;

use crate::directory::provider::{Kind, Provider};
use crate::installation::Installation;
use crate::outbound::{Outbound, Outgoing};

pub use callback::{Callback, ErrorCode};
pub use error::{UpstreamError, Why};
pub use http::{host_of, is_secure};
pub use identity::Identity;

use discovery::Discoveries;
use http::Http;
use round_trip::RoundTrip;

/// The way to upstream providers: HTTP clients, and what was discovered about issuers. Cheap to clone.
#[derive(Clone)]
pub struct Upstream(Arc<Parts>);

struct Parts {
    outgoing: Outgoing,
    discoveries: Discoveries,
}

/// The HTTP client can't be made: TLS has no certificates to trust, for one.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for upstream providers")]
pub struct NoHttpClient(#[from] reqwest::Error);

impl Upstream {
    /// A way to upstream providers that has discovered nothing yet.
    pub fn new(outbound: Outbound) -> Result<Self, NoHttpClient> {
        Ok(Self(Arc::new(Parts { outgoing: http::outgoing(outbound)?, discoveries: Discoveries::default() })))
    }

    fn http(&self, provider: &Provider) -> Http {
        Http::of(&self.0.outgoing, provider)
    }

    /// Where to send the browser. An OpenID Connect issuer is asked for its metadata when that isn't known yet.
    pub async fn authorization_url(
        &self,
        installation: &Installation,
        provider: &Provider,
        round_trip: &RoundTrip,
    ) -> Result<Url, UpstreamError> {
        match provider.kind {
            Kind::Github => github::authorization_url(installation, provider, round_trip),
            Kind::Google | Kind::Microsoft | Kind::Gitlab | Kind::Oidc => {
                oidc::Issuer::new(&self.http(provider), &self.0.discoveries, installation, provider)?
                    .authorization_url(round_trip)
                    .await
            }
            Kind::Password => Err(no_upstream(provider)),
        }
    }

    /// Whether it answers as what it is configured: an issuer with metadata and keys of its own name, GitHub with its API.
    pub async fn look(&self, installation: &Installation, provider: &Provider) -> Result<(), UpstreamError> {
        match provider.kind {
            Kind::Github => github::look(&self.http(provider), provider).await,
            Kind::Google | Kind::Microsoft | Kind::Gitlab | Kind::Oidc => {
                oidc::Issuer::new(&self.http(provider), &self.0.discoveries, installation, provider)?.look().await
            }
            Kind::Password => Err(no_upstream(provider)),
        }
    }

    /// What the provider says of the person who came back. `round_trip` is what [`round_trip::finish`] gave for the
    /// callback's state.
    pub async fn identity(
        &self,
        installation: &Installation,
        provider: &Provider,
        round_trip: &RoundTrip,
        callback: &Callback,
    ) -> Result<Identity, UpstreamError> {
        match provider.kind {
            Kind::Github => github::identity(&self.http(provider), installation, provider, round_trip, callback).await,
            Kind::Google | Kind::Microsoft | Kind::Gitlab | Kind::Oidc => {
                oidc::Issuer::new(&self.http(provider), &self.0.discoveries, installation, provider)?
                    .identity(round_trip, callback)
                    .await
            }
            Kind::Password => Err(no_upstream(provider)),
        }
    }
}

/// Where the provider with this slug sends the browser back to: what is registered as redirect URI over there.
#[must_use]
pub fn redirect_uri(installation: &Installation, provider_slug: &str) -> String {
    installation.public_url.join(&format!("/auth/{provider_slug}/callback"))
}

fn no_upstream(provider: &Provider) -> UpstreamError {
    UpstreamError::Misconfigured(format!("the provider {} is Countersign's own and has no upstream", provider.slug))
}

/// Countersign's name at the provider. The database holds none without.
fn client_id(provider: &Provider) -> Result<&str, UpstreamError> {
    provider
        .client_id
        .as_deref()
        .ok_or_else(|| UpstreamError::Misconfigured(format!("the provider {} has no client_id", provider.slug)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send<T: Send>(_: impl FnOnce(Upstream, Installation, Provider, RoundTrip) -> T) {}

    #[test]
    fn a_handler_can_await_a_round_trip() {
        assert_send(|upstream, installation, provider, round_trip| async move {
            let _url = upstream.authorization_url(&installation, &provider, &round_trip).await;
            let _identity = upstream.identity(&installation, &provider, &round_trip, &Callback::default()).await;
        });
    }
}
