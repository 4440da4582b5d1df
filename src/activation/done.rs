//! Step 5: back to the device.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::pages::Pages;
use crate::pages::answer::{self, PageError};

use super::confirm::return_href;
use super::pages::Done;
use super::walk::{Step, Walk};

/// Says what was decided.
pub async fn show(State(pages): State<Pages>, headers: HeaderMap) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let walk = Walk::resume(&mut conn, &pages, &headers).await?;
    let Step::Done(outcome) = walk.step else { return Ok(pages.lead_to(walk.step.path())) };
    let (csrf_token, back) = (walk.csrf_token(&pages), return_href(&walk, outcome));
    let base = pages.installation.public_url.base_path();
    let devices = format!("{base}/account/{}", walk.service.organization_slug);
    let mut frame = walk.frame(&pages, &csrf_token);
    frame.account = None;
    let page = Done { frame, outcome, devices_href: Some(&devices), return_href: back.as_deref() };
    Ok(answer::render(StatusCode::OK, &page))
}
