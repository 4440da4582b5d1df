//! What is known about OpenID Connect issuers: metadata and keys, kept for an hour.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, DiscoveryError, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::error::UpstreamError;
use super::http::{Http, HttpError};

/// How long metadata and keys count. A key that isn't known is looked up at once, whatever their age.
const TIME_TO_LIVE: TimeDelta = TimeDelta::hours(1);

const LONGEST_EXPLANATION: usize = 200;

/// Metadata (OpenID Connect Discovery §3) and JWKS of an issuer.
pub(super) type Metadata = ProviderMetadata<
    MoreMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Metadata that the crate doesn't know.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct MoreMetadata {
    /// RFC 9207 §3: every answer names its issuer.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for MoreMetadata {}

/// What was discovered, by issuer and by whether it is asked at a public address only. The documents are public:
/// organizations share them. But whoever may not have the server ask inside its network isn't told what was found there.
#[derive(Default)]
pub(super) struct Discoveries(Mutex<HashMap<(bool, String), Discovery>>);

struct Discovery {
    metadata: Arc<Metadata>,
    at: DateTime<Utc>,
}

impl Discoveries {
    /// The issuer's metadata, from memory or from the issuer.
    pub(super) async fn of(
        &self,
        http: &Http,
        issuer: &IssuerUrl,
        now: DateTime<Utc>,
    ) -> Result<Arc<Metadata>, UpstreamError> {
        match self.remembered(http, issuer, now) {
            Some(metadata) => Ok(metadata),
            None => self.refresh(http, issuer, now).await,
        }
    }

    /// The issuer's metadata from the issuer.
    pub(super) async fn refresh(
        &self,
        http: &Http,
        issuer: &IssuerUrl,
        now: DateTime<Utc>,
    ) -> Result<Arc<Metadata>, UpstreamError> {
        let discovered = Metadata::discover_async(issuer.clone(), http).await;
        let metadata = Arc::new(discovered.map_err(|error| explain(issuer, error))?);
        info!(issuer = issuer.as_str(), keys = metadata.jwks().keys().len(), "discovered an issuer");
        let discovery = Discovery { metadata: metadata.clone(), at: now };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key(http, issuer), discovery);
        Ok(metadata)
    }

    fn remembered(&self, http: &Http, issuer: &IssuerUrl, now: DateTime<Utc>) -> Option<Arc<Metadata>> {
        let discoveries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let discovery = discoveries.get(&key(http, issuer))?;
        // What is of the future was read before the clock was set back.
        let age = now - discovery.at;
        (TimeDelta::zero() <= age && age < TIME_TO_LIVE).then(|| discovery.metadata.clone())
    }
}

fn key(http: &Http, issuer: &IssuerUrl) -> (bool, String) {
    (http.public_only(), issuer.as_str().to_owned())
}

/// What to change so that discovery works.
fn explain(issuer: &IssuerUrl, error: DiscoveryError<HttpError>) -> UpstreamError {
    let issuer = issuer.as_str();
    UpstreamError::Misconfigured(match error {
        DiscoveryError::Request(error) => return error.into(),
        DiscoveryError::Response(status, ..) => {
            format!("discovery at {issuer} answered {status} or something other than JSON: is that the issuer?")
        }
        DiscoveryError::Parse(error) => {
            // About public documents, so what is wrong with them may be said; in one line.
            let why: String = error.inner().to_string().escape_debug().take(LONGEST_EXPLANATION).collect();
            format!("the metadata or keys of {issuer} can't be read: {why}")
        }
        DiscoveryError::Validation(_) => format!(
            "the metadata of {issuer} names another issuer: write the issuer exactly as it does, trailing slash or not"
        ),
        _ => format!("discovery at {issuer} doesn't work"),
    })
}
