//! `/account`: which organization?

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use crate::browser;
use crate::browser::visitor::Visitor;
use crate::directory::organization;
use crate::pages::Pages;
use crate::pages::answer::{self, PageError};
use crate::pages::frame::{Door, Frame};

use super::pages::{OrganizationLink, Start};

const UNKNOWN: &str = "There is no organization of this name here. Check it, or ask the people who look after it.";

/// What the page reads of its address. Other parameters are ignored.
#[derive(Deserialize)]
pub struct Parameters {
    organization: Option<String>,
}

/// Shows the organizations that this browser is signed in to, and takes the name of another one. It changes nothing, so
/// its form is sent by GET.
pub async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, PageError> {
    let mut conn = pages.installation.pool.acquire().await?;
    let typed = parameters.ok().and_then(|Query(parameters)| parameters.organization).unwrap_or_default();
    let slug: String = typed.trim().to_lowercase().chars().take(64).collect();
    if !slug.is_empty() && organization::by_slug(&mut conn, &slug).await?.is_some() {
        return Ok(pages.lead_to(&Door::Account(Some(&slug)).to_string()));
    }
    let visitor = Visitor::recognize(&mut conn, &pages.installation, &headers).await?;
    let known = match visitor.session {
        Some(session) => browser::store::organizations(&mut conn, session.id).await?,
        None => vec![],
    };
    let (base, host) = (pages.installation.public_url.base_path(), pages.installation.public_url.host());
    let links = known.iter().map(|(slug, name)| OrganizationLink { slug, name });
    let page = Start {
        frame: Frame { door: Door::Account(None), base, host: &host, ..Frame::default() },
        organizations: links.collect(),
        typed: &slug,
        error: (!slug.is_empty()).then_some(UNKNOWN),
    };
    let status = if slug.is_empty() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok(pages.with_cookie(&visitor, answer::render(status, &page)))
}
