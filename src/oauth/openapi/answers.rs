//! What is answered, as the document describes it, where the code puts it together member by member.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Nothing to say.
#[derive(Serialize, ToSchema)]
pub struct Done {}

/// What a token is worth (RFC 7662 §2.2). Of one that is good for nothing there is `active` alone.
#[derive(Serialize, ToSchema)]
pub struct Introspection {
    /// Whether it is good for something.
    pub active: bool,
    /// `Bearer`, or `DPoP` for one that is bound to a key. Access tokens only.
    #[schema(nullable = false)]
    pub token_type: Option<String>,
    /// The issuer.
    #[schema(nullable = false)]
    pub iss: Option<String>,
    /// The person.
    #[schema(nullable = false, format = "uuid")]
    pub sub: Option<String>,
    /// For whom it is: one or several. Access tokens only.
    pub aud: Option<Value>,
    /// The client that it was given to.
    #[schema(nullable = false)]
    pub client_id: Option<String>,
    /// When it was made, in seconds since 1970. Access tokens only.
    #[schema(nullable = false)]
    pub iat: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[schema(nullable = false)]
    pub exp: Option<i64>,
    /// Its own id. Access tokens only.
    #[schema(nullable = false, format = "uuid")]
    pub jti: Option<String>,
    /// Its scopes, separated by spaces.
    #[schema(nullable = false)]
    pub scope: Option<String>,
    /// The session.
    #[schema(nullable = false, format = "uuid")]
    pub sid: Option<String>,
    /// When the person signed in, in seconds since 1970. Access tokens only.
    #[schema(nullable = false)]
    pub auth_time: Option<i64>,
    /// How (RFC 8176). Access tokens only.
    #[schema(nullable = false)]
    pub amr: Option<Vec<String>>,
    /// The organization's slug.
    #[schema(nullable = false)]
    pub org: Option<String>,
    /// The service's slug.
    #[schema(nullable = false)]
    pub service: Option<String>,
    /// The person's address, with the scope `email`.
    #[schema(nullable = false)]
    pub email: Option<String>,
    /// The same.
    #[schema(nullable = false)]
    pub username: Option<String>,
    /// The key that it is bound to: `{"jkt": …}`.
    pub cnf: Option<Value>,
}

/// Who the person is (OpenID Connect Core §5.3.2).
#[derive(Serialize, ToSchema)]
pub struct Userinfo {
    /// The person's id.
    #[schema(format = "uuid")]
    pub sub: String,
    /// The organization's slug.
    pub org: String,
    /// The service's slug.
    pub service: String,
    /// With the scope `email`.
    #[schema(nullable = false)]
    pub email: Option<String>,
    /// With the scope `email`.
    #[schema(nullable = false)]
    pub email_verified: Option<bool>,
    /// With the scope `profile`.
    #[schema(nullable = false)]
    pub name: Option<String>,
}

/// The public keys (RFC 7517 §5).
#[derive(Serialize, ToSchema)]
pub struct JwkSet {
    /// Those that sign, will sign, or did.
    pub keys: Vec<Value>,
}

/// What clients find out by themselves (RFC 8414 §2, OpenID Connect Discovery §3).
#[derive(Serialize, ToSchema)]
pub struct Metadata {
    /// The issuer.
    #[schema(format = "uri")]
    pub issuer: String,
    /// The page at which people approve; there is no authorization code flow.
    #[schema(format = "uri")]
    pub authorization_endpoint: String,
    /// Where devices ask for codes.
    #[schema(format = "uri")]
    pub device_authorization_endpoint: String,
    /// Where devices poll and refresh.
    #[schema(format = "uri")]
    pub token_endpoint: String,
    /// Where tokens are given back.
    #[schema(format = "uri")]
    pub revocation_endpoint: String,
    /// Where APIs ask what a token is worth.
    #[schema(format = "uri")]
    pub introspection_endpoint: String,
    /// Where clients ask who the person is.
    #[schema(format = "uri")]
    pub userinfo_endpoint: String,
    /// The public keys.
    #[schema(format = "uri")]
    pub jwks_uri: String,
    /// Grant types.
    pub grant_types_supported: Vec<String>,
    /// Response types.
    pub response_types_supported: Vec<String>,
    /// Response modes.
    pub response_modes_supported: Vec<String>,
    /// Kinds of subjects.
    pub subject_types_supported: Vec<String>,
    /// Scopes that every service has.
    pub scopes_supported: Vec<String>,
    /// What ID tokens are signed with.
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// How clients say who they are.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// The same, when they give a token back.
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    /// The same, when they ask about one.
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    /// What proofs are signed with.
    pub dpop_signing_alg_values_supported: Vec<String>,
    /// How a device may be asked whether the approver is at it.
    pub device_verification_methods_supported: Vec<String>,
    /// For how many seconds a poll may ask to be held (`Prefer: wait=N`, RFC 7240 §4.3).
    pub device_poll_wait_max: u64,
    /// For clients that insist.
    pub code_challenge_methods_supported: Vec<String>,
    /// Claims.
    pub claims_supported: Vec<String>,
}
