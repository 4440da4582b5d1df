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
use countersign::device::waiting::Waiting;
use countersign::directory::known::KnownServices;
use countersign::geo::Places;
use countersign::pages::{self, Pages};
use countersign::postgres::Availability;
use countersign::telemetry::metrics::Metrics;
use countersign::telemetry::requests::CountRequests;
use countersign::upstream::Upstream;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::support::App;

async fn boom() -> StatusCode {
    panic!("a secret")
}

fn pages(app: &App) -> Pages {
    Pages {
        installation: app.installation.clone(),
        upstream: Upstream::new(app.installation.outbound.clone()).unwrap(),
        places: Places::default(),
        phishing: Phishing::default(),
        services: KnownServices::new(app.installation.pool.clone()),
        live: LiveCodes::new(Limits::default()),
        waiting: Waiting::default(),
        notices: app.notices.clone(),
        database: Availability::default(),
    }
}

#[tokio::test]
async fn a_panic_is_one_answer() {
    let app = App::acme().await;
    let door = Router::new().route("/boom", get(boom)).route("/fine", get(|| async { "fine" }));
    let metrics = Metrics::new(Vec::new(), &[]);
    let door = pages::served(pages(&app), door).layer(CountRequests::new(metrics.clone(), ""));
    let ask = |path: &str| door.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    let answer = ask("/boom").await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let page = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("Something went wrong on our side") && !page.contains("secret"), "{page}");
    assert_eq!(ask("/fine").await.unwrap().status(), StatusCode::OK);
    let metrics = metrics.text().unwrap();
    for series in ["panics_total", "http_requests_total{route=\"/boom\",status=\"500\"}"] {
        assert!(metrics.contains(&format!("countersign_{series} 1\n")), "{series} in {metrics}");
    }
}

#[tokio::test]
async fn requests_beside_a_panic_do_not_notice() {
    let app = App::acme().await;
    let metrics = Metrics::new(Vec::new(), &[]);
    let (released, release) = tokio::sync::watch::channel(());
    let slow = move || {
        let mut release = release.clone();
        async move { release.changed().await.map_or("never", |()| "slow") }
    };
    let door = Router::new().route("/boom", get(boom)).route("/slow", get(slow));
    let door = pages::served(pages(&app), door).layer(CountRequests::new(metrics.clone(), ""));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, door).await });

    // One is being answered while 64 others panic.
    let client = reqwest::Client::builder().build().unwrap();
    let ask = |path: &str| client.get(format!("http://{address}{path}")).send();
    let slow = tokio::spawn(ask("/slow"));
    let under_way = || metrics.text().unwrap().contains("under_way{route=\"/slow\"} 1\n");
    while !under_way() {
        tokio::task::yield_now().await;
    }
    for answer in futures_util::future::join_all((0..64).map(|_| ask("/boom"))).await {
        assert_eq!(answer.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert!(under_way(), "{}", metrics.text().unwrap());
    released.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap().text().await.unwrap(), "slow");
    assert!(metrics.text().unwrap().contains("countersign_panics_total 64\n"));
}
