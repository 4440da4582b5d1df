//! **A panicking handler**: some request that nobody thought of makes the program stop in the middle of it.
//!
//! The attacker has: that request, and sends it again and again.
//!
//! What must happen: a panic is one answer, 500, which repeats nothing of what was sent; the next request is served as if
//! nothing had been.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use countersign::config::{Limits, Phishing};
use countersign::device::live::LiveCodes;
use countersign::geo::Places;
use countersign::pages::{self, Pages};
use countersign::upstream::Upstream;
use tower::ServiceExt as _;

use crate::support::App;

async fn boom() -> StatusCode {
    panic!("a secret")
}

#[tokio::test]
async fn a_panic_is_one_answer() {
    let app = App::acme().await;
    let pages = Pages {
        installation: app.installation.clone(),
        upstream: Upstream::new().unwrap(),
        places: Places::default(),
        phishing: Phishing::default(),
        live: LiveCodes::new(Limits::default()),
        notices: app.notices.clone(),
    };
    let door = Router::new().route("/boom", get(boom)).route("/fine", get(|| async { "fine" }));
    let door = pages::served(pages, door);
    let ask = |path: &str| door.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    let answer = ask("/boom").await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let page = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("Something went wrong on our side") && !page.contains("secret"), "{page}");
    assert_eq!(ask("/fine").await.unwrap().status(), StatusCode::OK);
}
