//! The crate `openidconnect` reads our discovery document and keys, and checks our ID tokens.

use openidconnect::core::{CoreClient, CoreIdToken, CoreIdTokenClaims, CoreJwsSigningAlgorithm, CoreProviderMetadata};
use openidconnect::{AccessTokenHash, ClientId, IssuerUrl, Nonce, TokenResponse as _};
use serde_json::Value;

use crate::support::app::ACME;
use crate::support::{App, Browser, Device};

/// How `openidconnect` 4 is given an HTTP client that it doesn't know.
async fn send(request: openidconnect::HttpRequest) -> Result<openidconnect::HttpResponse, reqwest::Error> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let answer = client.execute(request.try_into()?).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = openidconnect::HttpResponse::new(answer.bytes().await?.to_vec());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// There is no nonce in the device grant: it belongs to authorization requests (OpenID Connect Core §3.1.2.1).
fn no_nonce(nonce: Option<&Nonce>) -> Result<(), String> {
    if nonce.is_none() { Ok(()) } else { Err("a nonce that nobody sent".to_owned()) }
}

#[tokio::test]
async fn it_verifies_the_id_token_of_a_login_and_of_a_refresh() {
    for (algorithm, expected) in [
        ("", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256),
        ("id_token_algorithm = \"ES256\"", CoreJwsSigningAlgorithm::EcdsaP256Sha256),
        ("id_token_algorithm = \"EdDSA\"", CoreJwsSigningAlgorithm::EdDsa),
    ] {
        let toml = ACME.replace("client_id = \"acme-cli\"", &format!("client_id = \"acme-cli\"\n{algorithm}"));
        let app = App::listening(&toml).await;
        let issuer = IssuerUrl::new(app.issuer().to_owned()).unwrap();
        let metadata = CoreProviderMetadata::discover_async(issuer, &send).await.unwrap();
        let client = CoreClient::from_provider_metadata(metadata, ClientId::new("acme-cli".to_owned()), None);
        let verifier = client.id_token_verifier().set_allowed_algs([expected.clone()]);

        let device = Device::ask(&app, "openid email profile offline_access").await;
        Browser::new(&app).approve_code(&device.user_code).await;
        let answer = device.poll().await;
        let first: openidconnect::core::CoreTokenResponse = serde_json::from_str(&answer.body).unwrap();
        let claims: &CoreIdTokenClaims = first.id_token().unwrap().claims(&verifier, no_nonce).unwrap();
        assert_eq!(claims.email().unwrap().as_str(), "ada@acme.example");
        assert_eq!(claims.name().unwrap().get(None).unwrap().as_str(), "Ada");

        // at_hash binds it to the access token that came along (§3.1.3.6).
        let id_token = first.id_token().unwrap();
        let key = id_token.signing_key(&verifier).unwrap();
        let access_token = openidconnect::AccessToken::new(answer.text("access_token"));
        let hash = AccessTokenHash::from_token(&access_token, id_token.signing_alg().unwrap(), key);
        if expected != CoreJwsSigningAlgorithm::EdDsa {
            assert_eq!(claims.access_token_hash(), Some(&hash.unwrap()));
        }

        let refresh_token = answer.text("refresh_token");
        let form =
            [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str()), ("client_id", "acme-cli")];
        let next: Value = app.post("/auth/token", &form).await.json();
        let next: CoreIdToken = next["id_token"].as_str().unwrap().parse().unwrap();
        let later = next.claims(&verifier, no_nonce).unwrap();
        assert_eq!((later.subject(), later.auth_time()), (claims.subject(), claims.auth_time()));
    }
}
