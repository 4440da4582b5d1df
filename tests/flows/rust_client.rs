//! Clients over a real socket: the crate `oauth2`, and the reference client in this process.

use std::io;
use std::time::Duration;

use countersign::client::{self, Event, LoginError, Options, SignedIn};
use countersign::clock::Clock;
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, ClientId, ClientSecret, DeviceAuthorizationUrl, DeviceCodeErrorResponseType, HttpRequest, HttpResponse,
    RequestTokenError, Scope, StandardDeviceAuthorizationResponse, TokenResponse as _, TokenUrl,
};
use tokio::sync::mpsc;

use crate::support::app::ACME;
use crate::support::{App, Browser};

/// How `oauth2` 5 is given an HTTP client that it doesn't know.
async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let answer = client.execute(request.try_into()?).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = HttpResponse::new(answer.bytes().await?.to_vec());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// A poll interval of one second, so that nobody waits.
fn quick() -> String {
    ACME.replace("device_login = true", "device_login = true\ninterval = 1")
}

macro_rules! oauth2_client {
    ($app:expr, $id:expr) => {{
        let url = |path| format!("{}{path}", $app.issuer());
        BasicClient::new(ClientId::new($id.into()))
            .set_token_uri(TokenUrl::new(url("/auth/token")).unwrap())
            .set_device_authorization_url(DeviceAuthorizationUrl::new(url("/auth/device/code")).unwrap())
    }};
}

#[tokio::test]
async fn the_crate_oauth2_logs_in() {
    let app = App::listening(&quick()).await;
    let client = oauth2_client!(app, "acme-cli");
    let scopes = ["read", "offline_access"].map(|scope| Scope::new(scope.into()));
    let codes: StandardDeviceAuthorizationResponse =
        client.exchange_device_code().add_scopes(scopes).request_async(&send).await.unwrap();
    assert_eq!(codes.verification_uri().as_str(), format!("{}/activate", app.issuer()));
    assert!(codes.verification_uri_complete().unwrap().secret().contains(codes.user_code().secret()));
    assert_eq!((codes.interval(), codes.expires_in()), (Duration::from_secs(1), Duration::from_mins(15)));

    let tokens = client.exchange_device_access_token(&codes).request_async(&send, tokio::time::sleep, None);
    let mut browser = Browser::new(&app);
    let approve = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        browser.approve_code(codes.user_code().secret()).await;
    };
    let (tokens, ()) = tokio::join!(tokens, approve);
    let tokens = tokens.unwrap();
    assert_eq!(tokens.scopes().unwrap().len(), 2);
    assert!(tokens.refresh_token().is_some());
    assert_eq!(tokens.expires_in(), Some(Duration::from_mins(15)));
}

#[tokio::test]
async fn the_crate_oauth2_logs_in_with_a_secret_however_it_sends_it() {
    let app = App::listening(&quick()).await;
    let secret = ClientSecret::new("agent-secret-of-the-tests+%/".into());
    for auth in [AuthType::BasicAuth, AuthType::RequestBody] {
        let client = oauth2_client!(app, "acme-agent").set_client_secret(secret.clone()).set_auth_type(auth);
        let codes: StandardDeviceAuthorizationResponse =
            client.exchange_device_code().request_async(&send).await.unwrap();
        Browser::new(&app).approve_code(codes.user_code().secret()).await;
        let tokens = client.exchange_device_access_token(&codes).request_async(&send, tokio::time::sleep, None).await;
        assert_eq!(tokens.unwrap().scopes().unwrap()[0].as_str(), "run");
    }
}

#[tokio::test]
async fn the_crate_oauth2_understands_a_denial() {
    let app = App::listening(&quick()).await;
    let client = oauth2_client!(app, "acme-cli");
    let codes: StandardDeviceAuthorizationResponse = client.exchange_device_code().request_async(&send).await.unwrap();
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(codes.user_code().secret()).await;
    browser.decide(&confirm, "deny").await;
    let refused = client.exchange_device_access_token(&codes).request_async(&send, tokio::time::sleep, None).await;
    let Err(RequestTokenError::ServerResponse(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(*error.error(), DeviceCodeErrorResponseType::AccessDenied);
}

/// Logs in with the reference client while somebody does something with the code that it shows.
async fn log_in(app: &App, scope: &str, with_code: impl AsyncFnOnce(String)) -> Result<SignedIn, LoginError> {
    let options = Options {
        scope: Some(scope.to_owned()),
        device_name: Some("ada's laptop".to_owned()),
        ..Options::new(app.issuer().parse().unwrap(), "acme-cli".to_owned())
    };
    let (codes, mut shown) = mpsc::unbounded_channel();
    let mut reporter = move |event: &Event<'_>| -> io::Result<()> {
        if let Event::Code(code) = event {
            codes.send(code.user_code.clone()).unwrap();
        }
        Ok(())
    };
    let clock = Clock::system();
    let login = client::login(&options, &clock, &mut reporter);
    let (signed_in, ()) = tokio::join!(login, async { with_code(shown.recv().await.unwrap()).await });
    signed_in
}

#[tokio::test]
async fn the_reference_client_logs_in() {
    let app = App::listening(&quick()).await;
    let signed_in = log_in(&app, "read deploy", async |code| {
        let mut browser = Browser::new(&app);
        let confirm = browser.enter_and_sign_in(&code).await;
        assert!(confirm.text().contains("“ada's laptop” name not checked"), "{}", confirm.text());
        let fields = [("scope", "read"), ("mine", "yes"), ("decision", "approve")];
        browser.submit(&confirm, "/activate/confirm", &fields).await;
    });
    let signed_in = signed_in.await.unwrap();
    assert_eq!((signed_in.granted_scope(), signed_in.not_granted()), (Some("read"), vec!["deploy"]));
    assert_eq!(signed_in.issuer, app.issuer());
    assert!(signed_in.tokens.is_bound() && signed_in.key.is_some(), "the metadata offers DPoP");
}

#[tokio::test]
async fn the_reference_client_tells_why_it_could_not() {
    let app = App::listening(&quick()).await;
    let denied = log_in(&app, "read", async |code| {
        let mut browser = Browser::new(&app);
        let confirm = browser.enter_and_sign_in(&code).await;
        browser.decide(&confirm, "deny").await;
    });
    assert!(matches!(denied.await, Err(LoginError::Denied)));
    let expired = log_in(&app, "read", async |_| app.advance(901)).await;
    assert!(matches!(expired, Err(LoginError::Expired)), "{expired:?}");
    let options = Options::new(app.issuer().parse().unwrap(), "nobody".to_owned());
    let refused = client::login(&options, &Clock::system(), &mut |_: &Event<'_>| Ok(())).await;
    assert!(matches!(&refused, Err(LoginError::Refused { error, .. }) if error == "invalid_client"), "{refused:?}");
}
