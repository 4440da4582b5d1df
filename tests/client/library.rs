//! The library over real sockets: metadata, trouble on the line, answers that are none.

use std::collections::HashMap;
use std::io;

use countersign::client::{Event, LoginError, Options, SignedIn, login};
use countersign::clock::Clock;
use serde_json::{Value, json};

use crate::ports::free_port;
use crate::stand_in::{Reply, StandIn, a_code, code_with, error, metadata, pending, tokens};

async fn log_in(issuer: &str) -> (Result<SignedIn, LoginError>, Vec<String>) {
    let options = Options {
        scope: Some("read write".to_owned()),
        ..Options::new(issuer.parse().unwrap(), "demo-cli".to_owned())
    };
    let mut told = Vec::new();
    let mut reporter = |event: &Event<'_>| -> io::Result<()> {
        match event {
            Event::Code(code) => told.push(format!("{} {}", code.verification_uri, code.user_code)),
            Event::Retrying { reason, .. } => told.push((*reason).to_owned()),
            _ => {}
        }
        Ok(())
    };
    let result = login(&options, &Clock::system(), &mut reporter).await;
    (result, told)
}

/// Logs in to a server that has only this one document.
async fn with_document(path: &str, document: impl FnOnce(&str) -> Value) -> Result<SignedIn, LoginError> {
    let documents = |issuer: &str| HashMap::from([(path.to_owned(), Reply::Json(200, document(issuer)))]);
    let server = StandIn::start_with([a_code()], [tokens("read")], documents).await;
    log_in(&server.issuer).await.0
}

#[tokio::test]
async fn the_line_may_break() {
    let server = StandIn::start([a_code()], [Reply::Hangup, tokens("read")]).await;
    let (result, told) = log_in(&server.issuer).await;
    let signed_in = result.unwrap();
    assert_eq!(signed_in.tokens.access_token.expose(), "the-access-token");
    assert_eq!(signed_in.not_granted(), ["write"]);
    assert_eq!(told.len(), 2, "the code, and that the line broke: {told:?}");
    let agent = format!("countersign/{} ", env!("CARGO_PKG_VERSION"));
    assert!(server.requests().iter().all(|request| request.user_agent.starts_with(&agent)));
}

#[tokio::test]
async fn the_openid_document_does_as_well() {
    with_document("/.well-known/openid-configuration", metadata).await.unwrap();
}

#[tokio::test]
async fn an_issuer_with_a_path_is_found_in_either_form() {
    for path in ["/.well-known/oauth-authorization-server/login", "/login/.well-known/openid-configuration"] {
        let documents = |root: &str| {
            let mut document = metadata(root);
            document["issuer"] = format!("{root}/login").into();
            HashMap::from([(path.to_owned(), Reply::Json(200, document))])
        };
        let server = StandIn::start_with([a_code()], [tokens("read")], documents).await;
        let signed_in = log_in(&format!("{}/login/", server.issuer)).await.0.unwrap();
        assert_eq!(signed_in.issuer, format!("{}/login", server.issuer));
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    let other = |issuer: &str| {
        let mut document = metadata(issuer);
        document["issuer"] = "https://elsewhere.example\u{1b}[2J".into();
        document
    };
    let result = with_document("/.well-known/oauth-authorization-server", other).await;
    assert!(
        matches!(&result, Err(LoginError::IssuerMismatch { found, .. }) if found == "https://elsewhere.example[2J"),
        "{result:?}"
    );
}

#[tokio::test]
async fn other_servers_are_told_apart() {
    let path = "/.well-known/openid-configuration";
    let without_devices = |issuer: &str| json!({ "issuer": issuer, "token_endpoint": format!("{issuer}/token") });
    let result = with_document(path, without_devices).await;
    assert!(matches!(result, Err(LoginError::NoDeviceLogin { .. })), "{result:?}");

    let result = with_document(path, |_| json!(["something else"])).await;
    assert!(matches!(result, Err(LoginError::NotAnAuthorizationServer { .. })), "{result:?}");

    let result = with_document("/nowhere", metadata).await;
    assert!(matches!(result, Err(LoginError::NotAnAuthorizationServer { .. })), "{result:?}");

    let redirect = Reply::Text(302, Some(("location", "https://login.acme.example/")), String::new());
    let documents = |_: &str| HashMap::from([(path.to_owned(), redirect)]);
    let server = StandIn::start_with([], [], documents).await;
    let message = log_in(&server.issuer).await.0.unwrap_err().to_string();
    assert!(message.ends_with("it redirects to https://login.acme.example/."), "{message}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let address = format!("127.0.0.1:{}", free_port());
    let error = log_in(&format!("http://{address}")).await.0.unwrap_err();
    assert!(matches!(&error, LoginError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("Can't reach http://{address}: Connection refused")), "{error}");
}

#[tokio::test]
async fn plain_http_to_another_machine_needs_a_word_of_consent() {
    let error = log_in("http://login.acme.example").await.0.unwrap_err();
    assert!(matches!(error, LoginError::InsecureIssuer { .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_is_told_as_such() {
    let garbage = || Reply::Text(200, None, "<html>Welcome to the hotel</html>".to_owned());
    let server = StandIn::start([garbage()], []).await;
    let result = log_in(&server.issuer).await.0;
    assert!(matches!(result, Err(LoginError::NotUnderstood { .. })), "{result:?}");

    let server = StandIn::start([a_code()], [pending(), garbage()]).await;
    let result = log_in(&server.issuer).await.0;
    assert!(matches!(result, Err(LoginError::NotUnderstood { .. })), "{result:?}");

    let endless = Reply::Text(200, None, " ".repeat(300 * 1024));
    let server = StandIn::start([endless], []).await;
    let error = log_in(&server.issuer).await.0.unwrap_err();
    assert!(error.to_string().contains("larger than 256 KiB"), "{error}");
}

#[tokio::test]
async fn a_refusal_names_the_error_and_a_busy_server_when_to_come_back() {
    let server = StandIn::start([error("invalid_client")], []).await;
    let error = log_in(&server.issuer).await.0.unwrap_err();
    assert_eq!(error.to_string(), "The server refused: invalid_client: The stand-in says so.");
    assert_eq!(error.code(), "invalid_client");

    let busy = Reply::Text(429, Some(("retry-after", "30")), String::new());
    let server = StandIn::start([busy], []).await;
    let error = log_in(&server.issuer).await.0.unwrap_err();
    assert!(error.to_string().ends_with("(HTTP 429). Try again in 30 s."), "{error}");
}

#[tokio::test]
async fn what_a_server_says_cannot_steer_the_terminal() {
    let code =
        code_with(json!({ "user_code": "AB\u{1b}]0;x\u{7}CD", "verification_uri": "https://acme.example/\u{9b}a" }));
    let server = StandIn::start([code], [error("access_\u{1b}denied")]).await;
    let (result, told) = log_in(&server.issuer).await;
    assert_eq!(told, ["https://acme.example/a AB]0;xCD"]);
    assert!(matches!(result, Err(LoginError::Denied)), "{result:?}");
}

#[tokio::test]
async fn it_can_be_a_task_that_tells_another_one_its_code() {
    let server = StandIn::start([a_code()], [pending(), tokens("read")]).await;
    let options = Options::new(server.issuer.parse().unwrap(), "demo-cli".to_owned());
    let (sender, mut codes) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut reporter = |event: &Event<'_>| -> io::Result<()> {
            if let Event::Code(code) = event {
                sender.send((*code).clone()).unwrap();
            }
            Ok(())
        };
        login(&options, &Clock::system(), &mut reporter).await
    });
    let code = codes.recv().await.unwrap();
    assert_eq!(code.verification_uri_complete.unwrap(), "http://localhost:8080/activate?user_code=WDJB-MJHT");
    assert_eq!(task.await.unwrap().unwrap().granted_scope(), Some("read"));
}
