//! The claims of OpenID Connect, and which of them prove an address.

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenClaims,
    IdTokenFields, StandardErrorResponse, StandardTokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::provider::{Kind, Provider};

/// Claims that aren't standard ones, as they came.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Claims {
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl AdditionalClaims for Claims {}

impl Claims {
    /// Whether the claim is there, however empty.
    pub(super) fn has(&self, claim: &str) -> bool {
        self.others.contains_key(claim)
    }

    /// A claim that is a list of texts, or a single one.
    pub(super) fn list(&self, claim: &str) -> Vec<String> {
        match self.others.get(claim) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(item)) => vec![item.clone()],
            _ => Vec::new(),
        }
    }

    /// A claim that is true in one of the ways in which providers write that.
    fn is_true(&self, claim: &str) -> Option<bool> {
        match self.others.get(claim)? {
            Value::Bool(is) => Some(*is),
            Value::Number(number) => Some(number.as_u64() == Some(1)),
            Value::String(text) => Some(matches!(text.as_str(), "true" | "1")),
            _ => Some(false),
        }
    }
}

pub(super) type IdClaims = IdTokenClaims<Claims, CoreGenderClaim>;
pub(super) type UserInfo = UserInfoClaims<Claims, CoreGenderClaim>;
pub(super) type IdToken =
    openidconnect::IdToken<Claims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
pub(super) type TokenAnswer = StandardTokenResponse<
    IdTokenFields<
        Claims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// A client of a discovered issuer.
pub(super) type Client = openidconnect::Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Whether the `id_token` says anything about its address being verified.
pub(super) fn said(provider: &Provider, claims: &IdClaims) -> Option<bool> {
    verified(provider, claims.email_verified(), claims.additional_claims())
}

/// The address that the provider says it has verified. Address and verification count only together: one from the
/// `id_token` is not verified by what userinfo says of another.
pub(super) fn verified_email<'a>(
    provider: &Provider,
    claims: &'a IdClaims,
    user_info: Option<&'a UserInfo>,
) -> Option<&'a str> {
    let (email, verified, more) = match (claims.email(), said(provider, claims), user_info) {
        (Some(email), Some(verified), _) => (email, verified, claims.additional_claims()),
        (_, _, Some(info)) => {
            let more = info.additional_claims();
            (info.email()?, verified(provider, info.email_verified(), more)?, more)
        }
        _ => return None,
    };
    let authoritative = provider.kind != Kind::Google || is_googles_to_say(email, more);
    (verified && authoritative).then(|| email.as_str())
}

/// `email_verified`, or what Microsoft says in its place: there, `email` is whatever an administrator of the tenant
/// typed, and only the optional claim `xms_edov` says that its domain is the tenant's.
fn verified(provider: &Provider, email_verified: Option<bool>, more: &Claims) -> Option<bool> {
    match provider.kind {
        Kind::Microsoft => more.is_true("xms_edov"),
        _ => email_verified,
    }
}

/// Google once verified the address of a private account, and never again: a former employee keeps one. It answers for
/// addresses of its own and for those of a Workspace domain (`hd`).
fn is_googles_to_say(email: &str, more: &Claims) -> bool {
    email.to_ascii_lowercase().ends_with("@gmail.com") || more.has("hd")
}
