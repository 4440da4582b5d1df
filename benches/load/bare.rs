//! The baseline of polls: a bare axum handler that parses the same form and answers the same JSON. No router but its one
//! route, no limits, no log, and nothing is looked up.

use std::net::SocketAddr;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use chrono::SecondsFormat;
use countersign::clock::Clock;
use serde::{Deserialize, Serialize};

/// The first argument of the process that is this.
pub const ARGUMENT: &str = "--bare";

/// The form of a poll (RFC 8628 §3.4).
#[derive(Deserialize)]
struct Poll {
    grant_type: String,
    device_code: String,
    client_id: String,
}

/// What a pending poll is answered.
#[derive(Serialize)]
struct Pending {
    error: &'static str,
    error_description: String,
    error_code: &'static str,
    timestamp: String,
}

async fn token(Form(poll): Form<Poll>) -> impl IntoResponse {
    // So that none of it is parsed in vain.
    let seconds =
        usize::from(!(poll.grant_type.is_empty() || poll.device_code.is_empty() || poll.client_id.is_empty()));
    let answer = Pending {
        error: "authorization_pending",
        error_description: format!("Not approved yet: poll again in {seconds} s."),
        error_code: "DEVICE_CODE_PENDING",
        timestamp: Clock::system().now().to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    (StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, "no-store")], Json(answer))
}

/// Serves there until the process is ended.
pub fn serve(address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let router = Router::new()
            .route("/auth/token", post(token))
            .route("/.well-known/oauth-authorization-server", get(async || "ready"));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}
