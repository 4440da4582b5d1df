//! Signed-in devices: how they go on, and how they end.

mod dpop;
mod dpop_proofs;
mod keys;
mod locking;
mod mfa_reset;
mod model;
mod password_reset;
mod refresh;
mod resources;
mod revocation;
mod secret_rotation;

use crate::support::app::Answer;
use crate::support::{App, Browser, Device};

/// The directory of these tests: [`crate::support::app::ACME`] and an API that introspects.
const API: &str = r#"
[[organization.service]]
slug = "api"
name = "Acme API"
client_id = "acme-api"
client_secret = { env = "AGENT_SECRET" }
resource_server = true
"#;

/// The secret of `acme-api`.
const API_SECRET: &str = crate::support::app::AGENT_SECRET;

async fn app() -> App {
    App::with(
        &crate::support::app::ACME.replace("[[organization.provider]]", &format!("{API}\n[[organization.provider]]")),
    )
    .await
}

/// Logs a device in and gives its tokens.
async fn log_in(app: &App, scope: &str) -> Answer {
    let device = Device::ask(app, scope).await;
    Browser::new(app).approve_code(&device.user_code).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    tokens
}

async fn refresh(app: &App, token: &str) -> Answer {
    refresh_with(app, token, &[]).await
}

async fn refresh_with(app: &App, token: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "acme-cli")];
    form.extend(more);
    app.post("/auth/token", &form).await
}

async fn introspect(app: &App, token: &str) -> Answer {
    let form = [("token", token), ("client_id", "acme-api"), ("client_secret", API_SECRET)];
    app.post("/auth/introspect", &form).await
}

async fn userinfo(app: &App, access_token: &str) -> Answer {
    let request = axum::http::Request::get("/auth/userinfo").header("authorization", format!("Bearer {access_token}"));
    app.send(request.body(axum::body::Body::empty()).unwrap()).await
}
