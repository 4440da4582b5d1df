//! A provider as the document describes it. `apply` reads and writes it by name.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::ProviderId;

/// A way to sign in. All but `slug` and `kind` may be left out, if the kind doesn't need it, and has the default that
/// docs/directory.md names.
#[derive(Serialize, ToSchema)]
pub struct Provider {
    /// Its id.
    #[schema(read_only)]
    pub id: Option<ProviderId>,
    /// The slug of its organization.
    #[schema(read_only)]
    pub organization: Option<String>,
    /// When it was made.
    #[schema(read_only)]
    pub created_at: Option<DateTime<Utc>>,
    /// Whether Countersign has a secret there.
    #[schema(read_only)]
    pub has_secret: Option<bool>,
    /// Whether its addresses were written over this API: then they have to be public, or in `outbound.allow`.
    #[schema(read_only)]
    pub public_only: Option<bool>,
    /// What is registered over there as redirect URI; `null` of `password`.
    #[schema(read_only)]
    pub redirect_uri: Option<String>,
    /// Countersign's secret at the provider. Never told.
    #[schema(write_only)]
    pub client_secret: Option<String>,
    /// Its name in addresses and files. It never changes.
    #[schema(example = "sso")]
    pub slug: Option<String>,
    /// `oidc`, `google`, `microsoft`, `gitlab`, `github` or `password`.
    #[schema(example = "oidc")]
    pub kind: Option<String>,
    /// Its name to people.
    pub name: Option<String>,
    /// The OpenID Connect issuer, or the base URL of GitHub or GitLab; `null`: the public one.
    #[schema(example = "https://sso.acme.example")]
    pub issuer: Option<String>,
    /// GitHub's API, where it isn't at the usual place.
    pub api_url: Option<String>,
    /// Countersign's name at the provider.
    pub client_id: Option<String>,
    /// Scopes to ask for besides those that are needed.
    pub extra_scopes: Option<Vec<String>>,
    /// `invited`, `anyone`, `{"domains": […]}` or `{"groups": […]}`.
    #[schema(value_type = Option<Value>, example = "invited")]
    pub admit: Option<serde_json::Value>,
    /// The claim in which groups are listed.
    pub groups_claim: Option<String>,
    /// Whether a second factor that the provider saw counts.
    pub trust_mfa: Option<bool>,
}
