//! `/activate…`: what holds of the pages as HTTP. Whole walks are in `flows`.

mod clocks;
mod forms;
mod guesses;
mod headers;
mod locked;
mod order;

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::support::actors::Page;
use crate::support::{App, Browser, Device};

/// The pages of a walk, without what isn't asked by the policy of the test's organization.
const PAGES: [&str; 5] = ["/activate", "/activate/sign-in", "/activate/mfa", "/activate/confirm", "/activate/done"];

/// A browser that stands before its decision.
async fn before_the_decision(app: &App) -> (Device<'_>, Browser<'_>, Page) {
    let device = Device::ask(app, "read deploy").await;
    let mut browser = Browser::new(app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!((confirm.path.as_str(), confirm.status), ("/activate/confirm", StatusCode::OK), "{}", confirm.html);
    (device, browser, confirm)
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}
