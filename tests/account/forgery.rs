//! What other sites, other people's tokens and links can't do.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::support::App;
use crate::support::app::form_request;

use super::{ada, device, ended, send, with_bob};

#[tokio::test]
async fn forms_of_other_sites_or_about_something_else_do_nothing() {
    let app = App::acme().await;
    let (id, other) = (device(&app, "laptop").await, device(&app, "server").await);
    let mut browser = ada(&app).await;
    let end = format!("/account/acme/devices/{id}/end");
    let page = browser.open(&end).await;
    let token = page.attribute(&format!("form[action='{end}'] input[name=csrf_token]"), "value").unwrap();
    let sign_out = page.attribute("form[action$='/sign-out'] input[name=csrf_token]", "value").unwrap();
    // Without a token, with the token of another form on the page, or with that of another device's form.
    for token in ["", sign_out.as_str()] {
        let answer = browser.send(form_request(&end, &[("csrf_token", token)])).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let of_other = browser.send(form_request(&format!("/account/acme/devices/{other}/end"), &[("csrf_token", &token)]));
    assert_eq!(of_other.await.status, StatusCode::FORBIDDEN);
    // With the right token, from elsewhere.
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let mut request = form_request(&end, &[("csrf_token", &token)]);
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(browser.send(request).await.status, StatusCode::FORBIDDEN);
    }
    for path in ["/account/acme/end-others", "/account/acme/sign-out"] {
        let answer = browser.send(form_request(path, &[("keep", "none"), ("csrf_token", &token)])).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert_eq!((ended(&app, id).await, ended(&app, other).await), (None, None));
    send(&mut browser, &page, &end, &[]).await;
    assert!(ended(&app, id).await.is_some());
}

#[tokio::test]
async fn nothing_happens_by_get() {
    let app = App::acme().await;
    let id = device(&app, "laptop").await;
    let mut browser = ada(&app).await;
    for path in [
        format!("/account/acme/devices/{id}?name=other"),
        format!("/account/acme/devices/{id}/end?decision=end"),
        "/account/acme/end-others?keep=none".to_owned(),
        "/account/acme/recovery-codes".to_owned(),
        "/account/acme/password?new_password=longenough".to_owned(),
    ] {
        browser.open(&path).await;
    }
    let signed_out = browser.send(Request::get("/account/acme/sign-out").body(Body::empty()).unwrap()).await;
    assert_eq!(signed_out.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ended(&app, id).await, None);
    assert_eq!(browser.open("/account/acme").await.says("ul.devices h2"), ["laptop"]);
}

#[tokio::test]
async fn pages_keep_to_themselves() {
    let app = App::with(&with_bob()).await;
    let id = device(&app, "<img src=x onerror=alert(1)>").await;
    let mut browser = ada(&app).await;
    let device = format!("/account/acme/devices/{id}");
    for path in ["/account", "/account/acme", "/account/acme/security", &device, "/account/nobody", "/account/acme/x"] {
        let page = browser.open(path).await;
        let header = |name| page.answer.header(name).unwrap_or_default().to_owned();
        assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store".into(), "no-referrer".into()));
        assert_eq!(page.answer.header("access-control-allow-origin"), None);
        assert!(
            !page.html.contains("<script") && !page.html.contains("<img") && !page.html.contains(" style="),
            "{path}"
        );
    }
}
