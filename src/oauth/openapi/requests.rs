//! What requests may say, as the document describes it. All of it is text; handlers read it by name.

use serde::Serialize;
use utoipa::ToSchema;

/// A device asks for its codes (RFC 8628 §3.1).
#[derive(Serialize, ToSchema)]
pub struct DeviceAuthorizationRequest {
    /// The client; may be left out where Basic says it.
    #[schema(example = "demo-cli")]
    pub client_id: Option<String>,
    /// A confidential client's secret, if it doesn't come by Basic.
    pub client_secret: Option<String>,
    /// Scopes, separated by spaces. None: the service's default ones.
    #[schema(example = "openid read")]
    pub scope: Option<String>,
    /// What the device calls itself: a claim, at most 64 characters.
    #[schema(example = "build-box")]
    pub device_name: Option<String>,
    /// The slug of the client's organization.
    pub org: Option<String>,
    /// The slug of the client's service.
    pub service: Option<String>,
    /// The APIs that tokens are for (RFC 8707). May be repeated.
    pub resource: Option<Vec<String>>,
    /// The same, where it names one of the service's resources; otherwise ignored.
    pub audience: Option<Vec<String>>,
}

/// An activation page asks what a code needs.
#[derive(Serialize, ToSchema)]
pub struct DeviceVerificationRequest {
    /// The code as it was typed: in any case, with any signs between.
    #[schema(example = "WDJB-MJHT")]
    pub user_code: String,
}

/// A device polls, or refreshes.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TokenRequest {
    /// RFC 8628 §3.4.
    Poll(Poll),
    /// RFC 6749 §6.
    Refresh(Refresh),
}

/// A device polls (RFC 8628 §3.4).
#[derive(Serialize, ToSchema)]
pub struct Poll {
    /// That it polls.
    pub grant_type: DeviceCodeGrant,
    /// The device code as it was given.
    pub device_code: String,
    /// The client; may be left out where Basic says it.
    #[schema(example = "demo-cli")]
    pub client_id: Option<String>,
    /// A confidential client's secret, if it doesn't come by Basic.
    pub client_secret: Option<String>,
    /// The two digits that the approving page shows, where the service asks for them.
    pub verification_number: Option<String>,
    /// Fewer APIs than the login asked for.
    pub resource: Option<Vec<String>>,
}

/// A session goes on (RFC 6749 §6).
#[derive(Serialize, ToSchema)]
pub struct Refresh {
    /// That it refreshes.
    pub grant_type: RefreshGrant,
    /// The last refresh token that was given.
    pub refresh_token: String,
    /// The client; may be left out where Basic says it.
    #[schema(example = "demo-cli")]
    pub client_id: Option<String>,
    /// A confidential client's secret, if it doesn't come by Basic.
    pub client_secret: Option<String>,
    /// Fewer scopes than the session has.
    pub scope: Option<String>,
    /// Fewer APIs than the login asked for.
    pub resource: Option<Vec<String>>,
}

/// The device grant's name.
#[derive(Serialize, ToSchema)]
pub enum DeviceCodeGrant {
    /// RFC 8628 §3.4.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

/// The refresh grant's name.
#[derive(Serialize, ToSchema)]
pub enum RefreshGrant {
    /// RFC 6749 §6.
    #[serde(rename = "refresh_token")]
    RefreshToken,
}

/// Somebody asks about a token, or gives it back (RFC 7662 §2.1, RFC 7009 §2.1).
#[derive(Serialize, ToSchema)]
pub struct AboutToken {
    /// An access token or a refresh token.
    pub token: String,
    /// Not needed: a token tells its kind.
    pub token_type_hint: Option<String>,
    /// The client; may be left out where Basic says it.
    #[schema(example = "demo-cli")]
    pub client_id: Option<String>,
    /// A confidential client's secret, if it doesn't come by Basic.
    pub client_secret: Option<String>,
}
