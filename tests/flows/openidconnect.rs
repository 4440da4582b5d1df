//! The crate `openidconnect` does a whole login: it finds the endpoints and keys by discovery, asks, polls, refreshes, asks
//! who the person is, and checks every ID token.

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreDeviceAuthorizationResponse,
    CoreGenderClaim, CoreGrantType, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode,
    CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse,
};
use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, ClientId, DeviceAuthorizationUrl, EmptyAdditionalClaims, HttpRequest,
    HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse as _, ProviderMetadata, Scope, SubjectIdentifier,
    TokenResponse as _, UserInfoClaims, UserInfoError,
};
use serde::{Deserialize, Serialize};

use crate::support::app::ACME;
use crate::support::{App, Browser};

/// The member of the metadata that the crate leaves to its user (RFC 8628 §4).
#[derive(Clone, Debug, Deserialize, Serialize)]
struct DeviceEndpoint {
    device_authorization_endpoint: DeviceAuthorizationUrl,
}

impl AdditionalProviderMetadata for DeviceEndpoint {}

type Metadata = ProviderMetadata<
    DeviceEndpoint,
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

type UserInfo = UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim>;

/// How `openidconnect` 4 is given an HTTP client that it doesn't know.
async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let answer = client.execute(request.try_into()?).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = HttpResponse::new(answer.bytes().await?.to_vec());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

async fn discover(app: &App) -> Metadata {
    Metadata::discover_async(IssuerUrl::new(app.issuer().to_owned()).unwrap(), &send).await.unwrap()
}

/// A client with all that discovery found. Its type is longer than what it says.
macro_rules! client {
    ($metadata:expr) => {{
        let device_endpoint = $metadata.additional_metadata().device_authorization_endpoint.clone();
        CoreClient::from_provider_metadata($metadata, ClientId::new("acme-cli".to_owned()), None)
            .set_device_authorization_url(device_endpoint)
    }};
}

/// There is no nonce in the device grant: it belongs to authorization requests (OpenID Connect Core §3.1.2.1).
fn no_nonce(nonce: Option<&Nonce>) -> Result<(), String> {
    if nonce.is_none() { Ok(()) } else { Err("a nonce that nobody sent".to_owned()) }
}

/// The claims of an ID token that verifies, and belongs to the access token that came along (§3.1.3.6).
fn verified<'a>(tokens: &'a CoreTokenResponse, verifier: &CoreIdTokenVerifier<'_>) -> &'a CoreIdTokenClaims {
    let id_token = tokens.id_token().unwrap();
    let claims = id_token.claims(verifier, no_nonce).unwrap();
    let (algorithm, key) = (id_token.signing_alg().unwrap(), id_token.signing_key(verifier).unwrap());
    let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key).unwrap();
    assert_eq!(claims.access_token_hash(), Some(&hash), "{algorithm:?}");
    claims
}

/// Logs in, refreshes and asks who it is, where ID tokens are signed as `line` of the directory says.
async fn it_logs_in_and_goes_on(line: &str, algorithm: CoreJwsSigningAlgorithm) {
    let toml = ACME.replace("client_id = \"acme-cli\"", &format!("client_id = \"acme-cli\"\n{line}"));
    let app = App::listening(&toml).await;
    let client = client!(discover(&app).await);
    let verifier = client.id_token_verifier().set_allowed_algs([algorithm]);

    // The scope openid is the crate's own doing.
    let scopes = ["email", "profile", "offline_access"].map(|scope| Scope::new(scope.to_owned()));
    let codes: CoreDeviceAuthorizationResponse =
        client.exchange_device_code().add_scopes(scopes).request_async(&send).await.unwrap();
    Browser::new(&app).approve_code(codes.user_code().secret()).await;
    let poll = client.exchange_device_access_token(&codes).unwrap();
    let first: CoreTokenResponse = poll.request_async(&send, tokio::time::sleep, None).await.unwrap();
    let claims = verified(&first, &verifier);
    assert_eq!(claims.email().unwrap().as_str(), "ada@acme.example");
    assert_eq!(claims.name().unwrap().get(None).unwrap().as_str(), "Ada");

    let refresh_token = first.refresh_token().unwrap();
    let next = client.exchange_refresh_token(refresh_token).unwrap().request_async(&send).await.unwrap();
    assert_ne!(next.refresh_token().unwrap().secret(), refresh_token.secret());
    let later = verified(&next, &verifier);
    assert_eq!((later.subject(), later.auth_time()), (claims.subject(), claims.auth_time()));

    let of = |subject| client.user_info(next.access_token().clone(), Some(subject)).unwrap();
    let person: UserInfo = of(claims.subject().clone()).request_async(&send).await.unwrap();
    assert_eq!(person.email(), claims.email());
    let another = SubjectIdentifier::new("somebody-else".to_owned());
    let refused: Result<UserInfo, _> = of(another).request_async(&send).await;
    assert!(
        matches!(refused, Err(UserInfoError::ClaimsVerification(_))),
        "the crate compares the subject: {refused:?}"
    );
}

#[tokio::test]
async fn it_verifies_rs256_unless_told_otherwise() {
    it_logs_in_and_goes_on("", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256).await;
}

#[tokio::test]
async fn it_verifies_es256() {
    it_logs_in_and_goes_on("id_token_algorithm = \"ES256\"", CoreJwsSigningAlgorithm::EcdsaP256Sha256).await;
}

#[tokio::test]
async fn it_verifies_eddsa() {
    it_logs_in_and_goes_on("id_token_algorithm = \"EdDSA\"", CoreJwsSigningAlgorithm::EdDsa).await;
}

/// An ID token that is signed in another way than the client was told counts for nothing, however good its signature is.
#[tokio::test]
async fn it_takes_no_other_algorithm_than_it_was_told() {
    let app = App::listening(ACME).await;
    let client = client!(discover(&app).await);
    let codes: CoreDeviceAuthorizationResponse = client.exchange_device_code().request_async(&send).await.unwrap();
    Browser::new(&app).approve_code(codes.user_code().secret()).await;
    let poll = client.exchange_device_access_token(&codes).unwrap();
    let tokens: CoreTokenResponse = poll.request_async(&send, tokio::time::sleep, None).await.unwrap();
    let strict = client.id_token_verifier().set_allowed_algs([CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
    assert!(tokens.id_token().unwrap().claims(&strict, no_nonce).is_err());
}
