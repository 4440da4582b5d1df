//! Daily use of a login whose tokens are bound to a key (RFC 9449): the commands as processes, against the server.

use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use super::commands::{Running, countersign, directory, run};
use crate::support::app::ACME;
use crate::support::dpop::claims;
use crate::support::{App, Browser};

/// A service that is polled every second.
fn quick(more: &str) -> String {
    ACME.replace("client_id = \"acme-cli\"", &format!("client_id = \"acme-cli\"\ninterval = 1\n{more}"))
}

async fn log_in(app: &App, scene: &Path, more: &[&str]) {
    let scope = "openid email read offline_access";
    let arguments = ["login", app.issuer(), "--client-id", "acme-cli", "--json", "--scope", scope];
    let mut running = Running::start(countersign(scene, &[&arguments[..], more].concat()));
    let code: Value = serde_json::from_str(&running.says(r#""event":"code""#).await).unwrap();
    Browser::new(app).approve_code(code["user_code"].as_str().unwrap()).await;
    running.says(r#""event":"done""#).await;
}

async fn told(scene: &Path, arguments: &[&str]) -> Value {
    let (code, said, wrong) = run(&mut countersign(scene, arguments)).await;
    assert_eq!((code, wrong.as_str()), (0, ""));
    serde_json::from_str(&said).unwrap()
}

fn userinfo(headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::get("/auth/userinfo");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_login_is_bound_to_a_key_and_used_with_it() {
    for more in ["", "dpop = \"required\""] {
        let (app, scene) = (App::listening(&quick(more)).await, directory());
        let scene = scene.path();
        log_in(&app, scene, &[]).await;

        let token = told(scene, &["token", "--json"]).await;
        let access_token = token["access_token"].as_str().unwrap();
        assert_eq!(token["token_type"], "DPoP");
        let jkt = claims(access_token)["cnf"]["jkt"].clone();
        assert_eq!(jkt.as_str().unwrap().len(), 43);

        // An API takes it with the headers for one request, once.
        let address = format!("{}/auth/userinfo", app.issuer());
        if more.is_empty() {
            let (code, said, _) = run(&mut countersign(scene, &["token", "--for", &address])).await;
            assert_eq!(code, 0);
            let headers: Vec<(&str, &str)> = said.lines().map(|line| line.split_once(": ").unwrap()).collect();
            assert_eq!(app.send(userinfo(&headers)).await.json()["email"], "ada@acme.example");
            assert_eq!(app.send(userinfo(&headers)).await.error(), "invalid_dpop_proof");
        }
        let bearer = format!("Bearer {access_token}");
        assert_eq!(app.send(userinfo(&[("authorization", &bearer)])).await.error(), "invalid_token");
        let who = told(scene, &["whoami", "--json"]).await;
        assert_eq!((&who["claims_from"], &who["organization"]), (&"userinfo".into(), &"acme".into()));

        // The next token is bound to the same key.
        let next = told(scene, &["token", "--min-valid", "100000", "--json"]).await;
        let next = next["access_token"].as_str().unwrap();
        assert_ne!(next, access_token);
        assert_eq!(claims(next)["cnf"]["jkt"], jkt);

        // Whoever copies the refresh token, but not the key, has nothing; and the login goes on.
        let file = std::fs::read(scene.join("config/countersign/credentials.json")).unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        let kept = &file["logins"][0]["tokens"];
        let refresh_token = kept["refresh_token"].as_str().unwrap();
        assert!(kept["dpop_key"].is_string());
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", "acme-cli")];
        assert_eq!(app.post("/auth/token", &form).await.error(), "invalid_dpop_proof");
        told(scene, &["token", "--min-valid", "100000", "--json"]).await;
        let (code, ..) = run(&mut countersign(scene, &["logout"])).await;
        assert_eq!(code, 0);
    }
}

#[tokio::test]
async fn bearer_tokens_are_for_the_asking_and_for_services_that_do_not_bind() {
    for (more, arguments) in [("", &["--bearer"][..]), ("dpop = \"off\"", &[])] {
        let (app, scene) = (App::listening(&quick(more)).await, directory());
        let scene = scene.path();
        log_in(&app, scene, arguments).await;
        let token = told(scene, &["token", "--json"]).await;
        assert_eq!(token["token_type"], "Bearer");
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        assert_eq!(app.send(userinfo(&[("authorization", &bearer)])).await.json()["org"], "acme");
        let (_, said, _) = run(&mut countersign(scene, &["token", "--for", "https://api.acme.example/"])).await;
        assert_eq!(said.trim_end(), format!("Authorization: {bearer}"));
        let file = std::fs::read_to_string(scene.join("config/countersign/credentials.json")).unwrap();
        assert!(!file.contains("dpop_key"));
    }
}

#[tokio::test]
async fn a_device_that_was_signed_out_says_why() {
    let (app, scene) = (App::listening(&quick("")).await, directory());
    log_in(&app, scene.path(), &[]).await;
    app.execute("UPDATE app_user SET status = 'locked'").await;
    let (code, said, wrong) = run(&mut countersign(scene.path(), &["token", "--min-valid", "100000"])).await;
    assert_eq!((code, said.as_str()), (7, ""));
    assert!(wrong.contains("This device was signed out: the account was locked."), "{wrong}");
    assert!(wrong.ends_with(&format!("Log in again: countersign login {}\n", app.issuer())), "{wrong}");
}
