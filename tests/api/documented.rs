//! Whatever a bad request is answered with is in docs/openapi.json, for every operation there is.

use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::Value;

use crate::support::App;
use crate::support::actors::forwarded;

const FORM: &str = "application/x-www-form-urlencoded";

/// Requests to an operation that are wrong in one way each. Not every operation takes notice of each.
fn bad_requests(method: &Method, path: &str) -> Vec<Request<Body>> {
    let to = |method: &Method| Request::builder().method(method).uri(path);
    let body = |content_type: &str, body: String| {
        to(method).header(header::CONTENT_TYPE, content_type).body(Body::from(body)).unwrap()
    };
    let mut requests = vec![
        to(&Method::PUT).body(Body::empty()).unwrap(),
        to(method).body(Body::empty()).unwrap(),
        to(method).header(header::AUTHORIZATION, "Bearer none").body(Body::empty()).unwrap(),
        to(method).header("dpop", "none").header(header::AUTHORIZATION, "DPoP none").body(Body::empty()).unwrap(),
    ];
    if method == Method::POST {
        requests.extend([
            body("text/plain", "client_id=acme-cli".to_owned()),
            body(FORM, "x=".to_owned() + &"x".repeat(1_000_000)),
            body(FORM, "%FF=%FF".to_owned()),
            body(FORM, "client_id=nobody&token=none&user_code=BBBB-BBBB".to_owned()),
            body(FORM, "client_id=acme-cli&client_id=acme-cli".to_owned()),
            body("application/json", "{".to_owned()),
            body("application/json", "[]".to_owned()),
        ]);
    }
    requests
}

#[tokio::test]
async fn every_status_of_a_bad_request_is_documented() {
    let app = App::acme().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let documented = operation["responses"].as_object().unwrap();
            let mut requests = bad_requests(&method, path);
            if path == "/auth/device/verify" {
                // More guesses than one address has.
                let guess = || {
                    let body = "client_id=acme-cli&user_code=BBBB-BBBB";
                    Request::post(path).header(header::CONTENT_TYPE, FORM).body(Body::from(body)).unwrap()
                };
                requests.extend((0..40).map(|_| guess()));
            }
            for request in requests {
                let answer = app.send(forwarded("203.0.113.66", request)).await;
                let status = answer.status.as_str();
                assert!(documented.contains_key(status), "{method} {path} answers {status}: {}", answer.body);
                seen.insert(status.to_owned());
            }
        }
    }
    for status in ["400", "401", "405", "413", "415"] {
        assert!(seen.contains(status), "{status} was never answered: {seen:?}");
    }
}
