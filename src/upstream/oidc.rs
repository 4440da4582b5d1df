//! OpenID Connect providers: any issuer, and Google, Microsoft and GitLab, which are issuers with habits.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow, CoreGenderClaim, CoreJwsSigningAlgorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _, UserInfoError,
};
use url::Url;

use crate::directory::provider::{Admission, Kind, Provider};
use crate::installation::Installation;
use crate::secrets::SecretText;

use super::callback::{Callback, ErrorCode};
use super::discovery::{Discoveries, Metadata};
use super::error::UpstreamError;
use super::http::{Http, HttpError, is_secure};
use super::identity::Identity;
use super::oidc_claims::{Claims, Client, IdClaims, IdToken, TokenAnswer, UserInfo, said, verified_email};
use super::round_trip::RoundTrip;
use super::{client_id, redirect_uri};

/// Signatures that prove something: asymmetric ones. HS256 would make the client secret a signing key, `none` is none.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 8] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
];

/// How far a provider's clock may be behind ours before its tokens count as expired.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// A provider, seen as an issuer.
pub(super) struct Issuer<'a> {
    http: &'a Http,
    discoveries: &'a Discoveries,
    installation: &'a Installation,
    provider: &'a Provider,
    url: IssuerUrl,
}

impl<'a> Issuer<'a> {
    /// Reads the provider's issuer from its settings.
    pub(super) fn new(
        http: &'a Http,
        discoveries: &'a Discoveries,
        installation: &'a Installation,
        provider: &'a Provider,
    ) -> Result<Self, UpstreamError> {
        let url = issuer_url(provider)?;
        Ok(Self { http, discoveries, installation, provider, url })
    }

    /// Its metadata and keys, from itself.
    pub(super) async fn look(&self) -> Result<(), UpstreamError> {
        let metadata = self.discoveries.refresh(self.http, &self.url, self.now()).await?;
        if !is_secure(metadata.authorization_endpoint().url()) {
            return Err(misconfigured("its authorization endpoint is not https"));
        }
        if metadata.jwks().keys().is_empty() {
            return Err(misconfigured("it publishes no keys"));
        }
        Ok(())
    }

    /// The authorization request (OpenID Connect Core §3.1.2.1) with state, nonce and PKCE.
    pub(super) async fn authorization_url(&self, round_trip: &RoundTrip) -> Result<Url, UpstreamError> {
        let metadata = self.metadata().await?;
        if !is_secure(metadata.authorization_endpoint().url()) {
            return Err(misconfigured("its authorization endpoint is not https"));
        }
        let client = self.client(&metadata)?;
        let (state, nonce) = (round_trip.state().to_owned(), round_trip.nonce().to_owned());
        let verifier = PkceCodeVerifier::new(round_trip.pkce_verifier().to_owned());
        let extra = self.provider.extra_scopes.iter().filter(|scope| !STANDARD_SCOPES.contains(&scope.as_str()));
        // The crate adds `openid` itself.
        let scopes = ["email", "profile"].into_iter().map(str::to_owned).chain(extra.cloned()).map(Scope::new);
        let wanted = round_trip.wanted;
        let mut request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .add_scopes(scopes)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if let Some(max_age) = wanted.max_age {
            request = request.set_max_age(max_age);
        }
        // Google knows no such prompt, and refuses what it doesn't know.
        if self.provider.kind != Kind::Google && (wanted.login || wanted.max_age == Some(Duration::ZERO)) {
            request = request.add_prompt(CoreAuthPrompt::Login);
        }
        Ok(request.url().0)
    }

    /// The answer, verified step by step.
    pub(super) async fn identity(
        &self,
        round_trip: &RoundTrip,
        callback: &Callback,
    ) -> Result<Identity, UpstreamError> {
        let metadata = self.metadata().await?;
        check_issuer(&metadata, callback.iss.as_deref())?;
        let code = callback.code(self.url.url())?;
        let client = self.client(&metadata)?;
        let answer = self.exchange(&client, code, round_trip).await?;
        let id_token = answer.id_token().ok_or_else(|| misconfigured("its token answer has no id_token"))?;
        let claims = self.verify(&client, id_token, answer.access_token(), round_trip).await?;
        let user_info = self.user_info(&metadata, &client, &claims, answer.access_token()).await?;
        identity_of(self.provider, &claims, user_info.as_ref())
    }

    async fn metadata(&self) -> Result<std::sync::Arc<Metadata>, UpstreamError> {
        self.discoveries.of(self.http, &self.url, self.now()).await
    }

    fn now(&self) -> DateTime<Utc> {
        self.installation.clock.now()
    }

    /// Countersign as a client of this issuer.
    fn client(&self, metadata: &Metadata) -> Result<Client, UpstreamError> {
        let id = ClientId::new(client_id(self.provider)?.to_owned());
        let secret = self
            .provider
            .open_client_secret(&self.installation.keyring)
            .map_err(|error| misconfigured(&error.to_string()))?;
        let auth_type = match &secret {
            Some(_) => secret_by(metadata)?,
            None => AuthType::RequestBody,
        };
        let redirect = RedirectUrl::new(redirect_uri(self.installation, &self.provider.slug))
            .map_err(|_| misconfigured("the callback is not a URL"))?;
        let secret = secret.map(|secret| ClientSecret::new(secret.expose().to_owned()));
        Ok(Client::from_provider_metadata(metadata.clone(), id, secret)
            .set_auth_type(auth_type)
            .set_redirect_uri(redirect))
    }

    /// The token request (OpenID Connect Core §3.1.3.1).
    async fn exchange(
        &self,
        client: &Client,
        code: &SecretText,
        round_trip: &RoundTrip,
    ) -> Result<TokenAnswer, UpstreamError> {
        client
            .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
            .map_err(|_| misconfigured("its metadata names no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(round_trip.pkce_verifier().to_owned()))
            .request_async(self.http)
            .await
            .map_err(|error| self.explain_exchange(error))
    }

    /// What of a failed exchange may be said: parser messages and bodies can hold tokens.
    fn explain_exchange(&self, error: RequestTokenError<HttpError, TokenError>) -> UpstreamError {
        match error {
            RequestTokenError::Request(error) => error.into(),
            RequestTokenError::ServerResponse(answer) => {
                ErrorCode::new(answer.error().as_ref()).of_token(self.url.url())
            }
            RequestTokenError::Parse(_, body) if has_id_token(&body) => {
                UpstreamError::Untrusted("its id_token is no signed token with the claims that every one has")
            }
            RequestTokenError::Parse(..) => misconfigured("its token answer can't be read"),
            RequestTokenError::Other(_) => misconfigured("its token answer is empty or not JSON"),
        }
    }

    /// Verifies the `id_token` (OpenID Connect Core §3.1.3.7). When its key isn't among those that are known, or the
    /// signature doesn't fit, the keys may have been rotated: they are asked for once more.
    async fn verify(
        &self,
        client: &Client,
        id_token: &IdToken,
        access_token: &AccessToken,
        round_trip: &RoundTrip,
    ) -> Result<IdClaims, UpstreamError> {
        match self.verify_with(client, id_token, access_token, round_trip) {
            Err(Unverified::Key) => {
                let metadata = self.discoveries.refresh(self.http, &self.url, self.now()).await?;
                let client = self.client(&metadata)?;
                self.verify_with(&client, id_token, access_token, round_trip)
            }
            verified_or_not => verified_or_not,
        }
        .map_err(UpstreamError::from)
    }

    fn verify_with(
        &self,
        client: &Client,
        id_token: &IdToken,
        access_token: &AccessToken,
        round_trip: &RoundTrip,
    ) -> Result<IdClaims, Unverified> {
        let now = self.now();
        let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS).set_time_fn(move || now - LEEWAY);
        let claims = id_token.claims(&verifier, &Nonce::new(round_trip.nonce().to_owned()))?;
        // Core §3.1.3.7, 5: the crate leaves the authorized party to us.
        if claims.authorized_party().is_some_and(|party| party != client.client_id()) {
            return Err(Unverified::Claim("its id_token was issued to another client"));
        }
        // Core §3.1.3.8: the access token is the one that was issued with it.
        if let Some(expected) = claims.access_token_hash() {
            let bound = Unverified::Claim("its at_hash can't be checked");
            let (algorithm, key) = (id_token.signing_alg()?, id_token.signing_key(&verifier)?);
            let hash = AccessTokenHash::from_token(access_token, algorithm, key).map_err(|_| bound)?;
            if hash != *expected {
                return Err(Unverified::Claim("its access token is not the one that the id_token speaks of"));
            }
        }
        Ok(claims.clone())
    }

    /// Asks the userinfo endpoint (Core §5.3) for what is needed and the `id_token` doesn't hold: many providers keep
    /// addresses and groups there.
    async fn user_info(
        &self,
        metadata: &Metadata,
        client: &Client,
        claims: &IdClaims,
        access_token: &AccessToken,
    ) -> Result<Option<UserInfo>, UpstreamError> {
        let email_is_told = claims.email().is_some() && said(self.provider, claims).is_some();
        let groups_are_told = !matches!(self.provider.admission, Admission::Groups(_))
            || claims.additional_claims().has(&self.provider.groups_claim);
        if metadata.userinfo_endpoint().is_none() || (email_is_told && groups_are_told) {
            return Ok(None);
        }
        // The crate would panic on one that is no header value.
        if !access_token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(misconfigured("its access token has characters that no token has"));
        }
        client
            .user_info(access_token.clone(), Some(claims.subject().clone()))
            .map_err(|_| misconfigured("its metadata names no userinfo endpoint"))?
            .request_async::<Claims, _, CoreGenderClaim>(self.http)
            .await
            .map(Some)
            .map_err(explain_user_info)
    }
}

const STANDARD_SCOPES: [&str; 3] = ["openid", "email", "profile"];

type TokenError = openidconnect::StandardErrorResponse<openidconnect::core::CoreErrorResponseType>;

/// Why an `id_token` doesn't verify.
enum Unverified {
    /// Its key isn't known, or the known one of that name doesn't fit.
    Key,
    /// Anything else.
    Claim(&'static str),
}

impl From<SignatureVerificationError> for Unverified {
    fn from(error: SignatureVerificationError) -> Self {
        use SignatureVerificationError as Signature;
        match error {
            Signature::NoMatchingKey | Signature::CryptoError(_) => Self::Key,
            Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_) | Signature::NoSignature => {
                Self::Claim("its id_token is signed in a way that doesn't count")
            }
            _ => Self::Claim("its id_token's signature can't be checked"),
        }
    }
}

impl From<ClaimsVerificationError> for Unverified {
    fn from(error: ClaimsVerificationError) -> Self {
        Self::Claim(match error {
            ClaimsVerificationError::SignatureVerification(error) => return error.into(),
            ClaimsVerificationError::InvalidIssuer(_) => "its id_token is of another issuer",
            ClaimsVerificationError::InvalidAudience(_) => "its id_token is for somebody else",
            ClaimsVerificationError::InvalidNonce(_) => "its id_token is of another sign-in",
            ClaimsVerificationError::Expired(_) => "its id_token is expired: are both clocks right?",
            _ => "its id_token doesn't verify",
        })
    }
}

impl From<Unverified> for UpstreamError {
    fn from(unverified: Unverified) -> Self {
        Self::Untrusted(match unverified {
            Unverified::Key => "its id_token's signature is not by one of its keys",
            Unverified::Claim(why) => why,
        })
    }
}

/// RFC 9207 §2.4: an answer that names its issuer must name the right one; one that always does must do.
fn check_issuer(metadata: &Metadata, iss: Option<&str>) -> Result<(), UpstreamError> {
    match iss {
        Some(iss) if iss == metadata.issuer().as_str() => Ok(()),
        Some(_) => Err(UpstreamError::Untrusted("another issuer answered (RFC 9207)")),
        None if metadata.additional_metadata().authorization_response_iss_parameter_supported => {
            Err(UpstreamError::Untrusted("it doesn't name its issuer although it always does (RFC 9207)"))
        }
        None => Ok(()),
    }
}

/// How to send the client secret: Basic unless the issuer takes it in the body only (Discovery §3).
fn secret_by(metadata: &Metadata) -> Result<AuthType, UpstreamError> {
    use openidconnect::core::CoreClientAuthMethod as Method;
    match metadata.token_endpoint_auth_methods_supported() {
        None => Ok(AuthType::BasicAuth),
        Some(methods) if methods.contains(&Method::ClientSecretBasic) => Ok(AuthType::BasicAuth),
        Some(methods) if methods.contains(&Method::ClientSecretPost) => Ok(AuthType::RequestBody),
        Some(_) => Err(misconfigured("it takes a client secret neither by Basic nor in the body")),
    }
}

/// Whether a token answer that the crate can't read has an `id_token`, which then is what it stumbles over.
fn has_id_token(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|answer: serde_json::Value| answer.get("id_token").is_some())
}

fn explain_user_info(error: UserInfoError<HttpError>) -> UpstreamError {
    match error {
        UserInfoError::Request(error) => error.into(),
        UserInfoError::ClaimsVerification(_) => UpstreamError::Untrusted("its userinfo is about somebody else"),
        UserInfoError::Response(status, ..) => misconfigured(&format!("its userinfo endpoint answered {status}")),
        _ => misconfigured("its userinfo can't be read"),
    }
}

fn identity_of(
    provider: &Provider,
    claims: &IdClaims,
    user_info: Option<&UserInfo>,
) -> Result<Identity, UpstreamError> {
    let methods = claims.auth_method_refs().into_iter().flatten().map(|method| method.as_str());
    let name = claims.name().or_else(|| user_info.and_then(UserInfo::name)).and_then(|name| name.get(None));
    let own = claims.additional_claims();
    let groups_at =
        if own.has(&provider.groups_claim) { Some(own) } else { user_info.map(UserInfo::additional_claims) };
    let mut identity = Identity::of(claims.subject().as_str())?
        .with_verified_email(verified_email(provider, claims, user_info))
        .with_name(name.map(|name| name.as_str()))
        .with_methods(methods);
    identity.groups = groups_at.map(|claims| claims.list(&provider.groups_claim)).unwrap_or_default();
    identity.auth_time = claims.auth_time();
    Ok(identity)
}

/// The issuer as discovery wants it.
fn issuer_url(provider: &Provider) -> Result<IssuerUrl, UpstreamError> {
    let text = match (provider.kind, provider.issuer.as_deref()) {
        (Kind::Google, None) => "https://accounts.google.com",
        (Kind::Gitlab, None) => "https://gitlab.com",
        // The setting is GitLab's base URL, which people write either way; its issuer has no slash.
        (Kind::Gitlab, Some(base)) => base.trim_end_matches('/'),
        (Kind::Microsoft, None) => return Err(one_tenant()),
        (_, Some(issuer)) => issuer,
        (_, None) => return Err(misconfigured("it has no issuer")),
    };
    let issuer = IssuerUrl::new(text.to_owned()).map_err(|_| misconfigured("its issuer is not a URL"))?;
    let tenant = issuer.url().path_segments().and_then(|mut segments| segments.next());
    if provider.kind == Kind::Microsoft && matches!(tenant, None | Some("" | "common" | "organizations" | "consumers"))
    {
        return Err(one_tenant());
    }
    Ok(issuer)
}

/// Microsoft's shared endpoints answer for every tenant, with an issuer that is a pattern: whoever has any tenant of
/// their own could sign in, under addresses of their choice.
fn one_tenant() -> UpstreamError {
    misconfigured("Microsoft needs the issuer of one tenant: https://login.microsoftonline.com/<tenant id>/v2.0")
}

fn misconfigured(what: &str) -> UpstreamError {
    UpstreamError::Misconfigured(what.to_owned())
}
