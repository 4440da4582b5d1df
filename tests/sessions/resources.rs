//! Tokens for named APIs (RFC 8707).

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{introspect, refresh_with};
use crate::support::app::{ACME, Answer};
use crate::support::dpop::claims;
use crate::support::{App, Browser};

const ONE: &str = "https://api.acme.example";
const TWO: &str = "urn:acme:builds";

async fn app() -> App {
    let resources =
        format!("client_id = \"acme-cli\"\nresources = [\"{ONE}\", \"{TWO}\", \"https://third.acme.example\"]");
    let api = format!("{}\n[[organization.provider]]", super::API);
    App::with(&ACME.replace("client_id = \"acme-cli\"", &resources).replace("[[organization.provider]]", &api)).await
}

async fn ask(app: &App, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("client_id", "acme-cli"), ("scope", "openid read offline_access")];
    form.extend(more);
    app.post("/auth/device/code", &form).await
}

async fn poll(app: &App, codes: &Answer, more: &[(&str, &str)]) -> Answer {
    let code = codes.text("device_code");
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let mut form = vec![("grant_type", grant), ("device_code", &code), ("client_id", "acme-cli")];
    form.extend(more);
    app.post("/auth/token", &form).await
}

async fn approve(app: &App, codes: &Answer) {
    Browser::new(app).approve_code(&codes.text("user_code")).await;
}

#[tokio::test]
async fn the_person_is_shown_the_resources() {
    let app = app().await;
    let shown = async |asked: &[(&str, &str)]| {
        let codes = ask(&app, asked).await;
        Browser::new(&app).enter_and_sign_in(&codes.text("user_code")).await.says(".addresses li")
    };
    assert_eq!(shown(&[]).await, Vec::<String>::new());
    assert_eq!(shown(&[("resource", ONE)]).await, [ONE]);
    assert_eq!(shown(&[("resource", TWO), ("resource", ONE)]).await, [TWO, ONE]);
}

#[track_caller]
fn aud(tokens: &Answer) -> Value {
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    claims(&tokens.text("access_token"))["aud"].clone()
}

#[tokio::test]
async fn the_audience_is_what_was_asked() {
    let app = app().await;
    for (asked, expected) in [
        (&[][..], json!("acme-cli")),
        (&[("resource", ONE)], json!(ONE)),
        (&[("resource", TWO), ("resource", ONE), ("resource", TWO)], json!([TWO, ONE])),
        (&[("audience", ONE)], json!(ONE)),
        (&[("audience", "https://elsewhere.example")], json!("acme-cli")),
        (&[("resource", ONE), ("audience", TWO), ("audience", "x")], json!([ONE, TWO])),
    ] {
        let codes = ask(&app, asked).await;
        approve(&app, &codes).await;
        let tokens = poll(&app, &codes, &[]).await;
        assert_eq!(aud(&tokens), expected);
        assert_eq!(claims(&tokens.text("id_token"))["aud"], "acme-cli");
        assert_eq!(introspect(&app, &tokens.text("access_token")).await.json()["aud"], expected);
        assert_eq!(super::userinfo(&app, &tokens.text("access_token")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_resource_of_others_is_no_target() {
    let app = app().await;
    for foreign in ["https://elsewhere.example", "https://api.acme.example/", "HTTPS://api.acme.example", "\"", "x"] {
        let answer = ask(&app, &[("resource", ONE), ("resource", foreign)]).await;
        assert_eq!((answer.status, answer.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_target"));
    }
    let plain = App::acme().await;
    assert_eq!(ask(&plain, &[("resource", ONE)]).await.error(), "invalid_target");
}

#[tokio::test]
async fn one_token_may_be_for_fewer_and_the_session_stays_for_all() {
    let app = app().await;
    let codes = ask(&app, &[("resource", ONE), ("resource", TWO)]).await;
    let third = [("resource", "https://third.acme.example")];
    assert_eq!(poll(&app, &codes, &third).await.error(), "invalid_target");
    approve(&app, &codes).await;
    // Refused, and the code is not used up.
    assert_eq!(poll(&app, &codes, &third).await.error(), "invalid_target");
    let tokens = poll(&app, &codes, &[("resource", TWO)]).await;
    assert_eq!(aud(&tokens), json!(TWO));
    let next = refresh_with(&app, &tokens.text("refresh_token"), &[("resource", ONE)]).await;
    assert_eq!(aud(&next), json!(ONE));
    let token = next.text("refresh_token");
    assert_eq!(refresh_with(&app, &token, &third).await.error(), "invalid_target");
    assert_eq!(aud(&refresh_with(&app, &token, &[("audience", "else")]).await), json!([ONE, TWO]));
}
