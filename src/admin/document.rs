//! The OpenAPI document, made from the handlers, and a page to browse it.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::Html;
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, RefOr};
use utoipa::{Modify, OpenApi as _};

use crate::http::page_headers;
use crate::installation::Installation;

use super::Administration;
use super::problem::{Kind, ProblemBody};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Countersign administration",
        description = "What an organization's owners and admins change, by programs. Paths are relative to the issuer. \
                       docs/administration.md says how to get a token.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody)),
    modifiers(&Schemes)
)]
struct Frame;

/// How requests say who sends them.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(
            "An access token of the service admin-cli of the person's organization, with the scope admin:read or \
             admin:write. One that is bound to a key comes as DPoP, with a proof (RFC 9449)"
                .to_owned(),
        );
        components.add_security_scheme("access_token", SecurityScheme::Http(http));
        document.security = Some(vec![SecurityRequirement::new("access_token", [""; 0])]);
    }
}

/// The document without a resource.
pub(super) fn frame() -> OpenApi {
    Frame::openapi()
}

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = super::resources().split_for_parts().1;
    tidy(&mut document);
    document
}

/// A summary says it all: handlers' own comments are for who reads the code.
fn tidy(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten() {
            operation.description = None;
        }
    }
}

/// The document and its page, for everybody.
pub(super) fn router(mut document: OpenApi, installation: &Installation) -> Router<Administration> {
    tidy(&mut document);
    let page = page(&document, installation);
    let json: Arc<str> = document.to_pretty_json().unwrap_or_default().into();
    let json = move || async move { ([(header::CONTENT_TYPE, "application/json")], json.to_string()) };
    let page = Router::new().route("/api/v1", get(move || async move { page }));
    page.layer(from_fn(page_headers::protect)).route("/api/v1/openapi.json", get(json))
}

/// What the page shows of an operation.
struct Line<'a> {
    method: &'static str,
    path: &'a str,
    summary: String,
    id: &'a str,
    parameters: Vec<(&'a str, String)>,
    statuses: Vec<(&'a str, String)>,
}

#[derive(Template)]
#[template(path = "admin/browse.html")]
struct Browse<'a> {
    base: &'a str,
    host: &'a str,
    resources: Vec<(String, Vec<Line<'a>>)>,
    problems: &'static [Kind],
}

fn page(document: &OpenApi, installation: &Installation) -> Result<Html<String>, StatusCode> {
    let mut resources: Vec<(String, Vec<Line<'_>>)> = Vec::new();
    for (path, item) in &document.paths.paths {
        let operations = [("GET", &item.get), ("POST", &item.post), ("PATCH", &item.patch), ("DELETE", &item.delete)];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let tag = operation.tags.as_ref().and_then(|tags| tags.first()).cloned().unwrap_or_default();
            let line = line(method, path, operation);
            match resources.iter_mut().find(|(name, _)| *name == tag) {
                Some((_, lines)) => lines.push(line),
                None => resources.push((tag, vec![line])),
            }
        }
    }
    let host = installation.public_url.host();
    let browse = Browse { base: installation.public_url.base_path(), host: &host, resources, problems: Kind::ALL };
    browse.render().map(Html).map_err(|error| {
        tracing::error!(%error, "a template could not be rendered");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

fn line<'a>(method: &'static str, path: &'a str, operation: &'a Operation) -> Line<'a> {
    // The document is Markdown, the page isn't.
    let plain = |words: &str| words.replace('`', "");
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => {
            Some((parameter.name.as_str(), plain(parameter.description.as_deref().unwrap_or_default())))
        }
        RefOr::Ref(_) => None,
    });
    let statuses = operation.responses.responses.iter().filter_map(|(status, response)| match response {
        RefOr::T(response) => Some((status.as_str(), plain(&response.description))),
        RefOr::Ref(_) => None,
    });
    Line {
        method,
        path,
        summary: plain(operation.summary.as_deref().unwrap_or_default()),
        id: operation.operation_id.as_deref().unwrap_or_default(),
        parameters: parameters.collect(),
        statuses: statuses.filter(|(status, _)| status.starts_with('2')).collect(),
    }
}
