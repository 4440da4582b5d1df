//! `POST /auth/device/code`: who the client is (SPEC §2.1).

use axum::http::StatusCode;

use crate::api::{basic, is_refused, with_header};
use crate::support::App;
use crate::support::app::{Answer, SECRETS, form_request};

const SECRET: &str = SECRETS[1].1;
const WRONG: &str = "agent-secret-of-somebody-else";

async fn ask(app: &App, authorization: Option<&str>, form: &[(&str, &str)]) -> Answer {
    let request = form_request("/auth/device/code", form);
    app.send(match authorization {
        Some(value) => with_header(request, "authorization", value),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_public_client_says_who_it_is_in_three_ways() {
    let app = App::acme().await;
    let basic = basic("acme-cli", "");
    for (authorization, form) in [
        (None, &[("client_id", "acme-cli")][..]),
        (Some(basic.as_str()), &[]),
        (Some(basic.as_str()), &[("client_id", "acme-cli")]),
    ] {
        let answer = ask(&app, authorization, form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    // Some clients send a secret that a public client hasn't got.
    assert_eq!(ask(&app, None, &[("client_id", "acme-cli"), ("client_secret", "x")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_client_is_challenged_only_after_basic_with_a_password() {
    let app = App::acme().await;
    is_refused(&ask(&app, None, &[("client_id", "nobody")]).await, 400, "invalid_client");
    is_refused(&ask(&app, None, &[("client_id", "nobody"), ("client_secret", "x")]).await, 400, "invalid_client");
    is_refused(&ask(&app, Some(&basic("nobody", "")), &[]).await, 400, "invalid_client");
    let challenged = ask(&app, Some(&basic("nobody", "x")), &[]).await;
    is_refused(&challenged, 401, "invalid_client");
    assert!(challenged.header("www-authenticate").unwrap().starts_with("Basic realm="));
}

#[tokio::test]
async fn a_confidential_client_proves_its_secret() {
    let app = App::acme().await;
    let encoded = SECRET.replace('%', "%25").replace('+', "%2B").replace('/', "%2F");
    assert_ne!(encoded, SECRET);
    for authorization in [basic("acme-agent", &encoded), basic("acme-agent", SECRET)] {
        for form in [&[][..], &[("client_id", "acme-agent")]] {
            let answer = ask(&app, Some(&authorization), form).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
    }
    let post = [("client_id", "acme-agent"), ("client_secret", SECRET)];
    assert_eq!(ask(&app, None, &post).await.status, StatusCode::OK);

    is_refused(&ask(&app, None, &[("client_id", "acme-agent")]).await, 400, "invalid_client");
    is_refused(&ask(&app, None, &[("client_id", "acme-agent"), ("client_secret", WRONG)]).await, 400, "invalid_client");
    is_refused(&ask(&app, Some(&basic("acme-agent", "")), &[]).await, 400, "invalid_client");
    is_refused(&ask(&app, Some(&basic("acme-agent", WRONG)), &[]).await, 401, "invalid_client");
    is_refused(&ask(&app, Some(&basic("acme-agent", &SECRET.to_uppercase())), &[]).await, 401, "invalid_client");
}

#[tokio::test]
async fn contradictions_and_what_is_no_basic_are_refused() {
    let app = App::acme().await;
    let authorization = basic("acme-agent", SECRET);
    is_refused(&ask(&app, Some(&authorization), &[("client_id", "acme-cli")]).await, 400, "invalid_request");
    is_refused(&ask(&app, Some(&authorization), &[("client_secret", SECRET)]).await, 400, "invalid_request");
    for malformed in ["Basic", "Basic ", "Basic !!!", "Basic bm8gY29sb24=", "Basic /w==", &basic("", "x")] {
        is_refused(&ask(&app, Some(malformed), &[("client_id", "acme-cli")]).await, 400, "invalid_request");
    }
    is_refused(&ask(&app, Some(&basic("acme-cli", "a\0b")), &[]).await, 400, "invalid_request");
    // Another scheme is another's business.
    let bearer = ask(&app, Some("Bearer abc"), &[("client_id", "acme-cli")]).await;
    assert_eq!(bearer.status, StatusCode::OK);
}

#[tokio::test]
async fn the_secret_is_checked_at_every_endpoint() {
    let app = App::acme().await;
    let code = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", "csd_x")];
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "csr_x")];
    for (path, form) in [
        ("/auth/token", &code[..]),
        ("/auth/token", &refresh),
        ("/auth/revoke", &[("token", "csr_x")]),
        ("/auth/introspect", &[("token", "csr_x")]),
    ] {
        for secret in [None, Some(WRONG)] {
            let mut form = form.to_vec();
            form.push(("client_id", "acme-agent"));
            form.extend(secret.map(|secret| ("client_secret", secret)));
            is_refused(&app.post(path, &form).await, 400, "invalid_client");
        }
        let request = with_header(form_request(path, form), "authorization", &basic("acme-agent", WRONG));
        is_refused(&app.send(request).await, 401, "invalid_client");
    }
}
