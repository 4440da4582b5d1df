//! The OpenAPI document of the endpoints, made from their handlers. `scripts/regenerate` writes it to `docs/openapi.json`.

pub mod answers;
pub mod refusals;
pub mod requests;

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};
use utoipa::{Modify, OpenApi as _};

use crate::http::oauth_error::ErrorBody;

use super::{device_authorization, device_verify, introspect, metadata, revoke, token, userinfo};

/// Where the metadata stands a second time.
const SAME_METADATA: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Countersign",
        description = "Device login (RFC 8628): the endpoints that devices, tools and APIs call. Paths are relative to the \
                       issuer. Every answer is JSON, whatever Accept says.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        device_authorization::handle,
        device_verify::handle,
        token::handle,
        revoke::handle,
        introspect::handle,
        userinfo::handle,
        metadata::metadata,
        metadata::jwks
    ),
    components(schemas(ErrorBody)),
    modifiers(&Schemes, &Twins, &Brevity)
)]
struct Document;

/// How requests say who sends them.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let scheme = |scheme, description: &str| {
            let mut http = Http::new(scheme);
            http.description = Some(description.to_owned());
            SecurityScheme::Http(http)
        };
        let basic = "The client's id and secret (client_secret_basic); a public client's with an empty password. Or both \
                     in the body (client_secret_post)";
        components.add_security_scheme("client", scheme(HttpAuthScheme::Basic, basic));
        let bearer = "An access token. One that is bound to a key comes as DPoP, with a proof (RFC 9449)";
        components.add_security_scheme("access_token", scheme(HttpAuthScheme::Bearer, bearer));
    }
}

/// What one handler answers in two places, or by two methods: an operation has one name.
struct Twins;

impl Modify for Twins {
    fn modify(&self, document: &mut OpenApi) {
        let [one, other] = SAME_METADATA;
        if let Some(item) = document.paths.paths.get(one) {
            let mut twin = item.clone();
            twin.get = twin.get.take().map(|get| named(get, "openid_configuration"));
            document.paths.paths.insert(other.to_owned(), twin);
        }
        if let Some(item) = document.paths.paths.get_mut("/auth/userinfo") {
            item.post = item.post.take().map(|post| named(post, "userinfo_by_post"));
        }
    }
}

/// A summary says it all: handlers' own comments are for who reads the code.
struct Brevity;

impl Modify for Brevity {
    fn modify(&self, document: &mut OpenApi) {
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.description = None;
            }
        }
    }
}

fn named(mut operation: Operation, name: &str) -> Operation {
    operation.operation_id = Some(name.to_owned());
    operation
}

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_have_this_document() {
        let kept = include_str!("../../../docs/openapi.json");
        let made = document().to_pretty_json().unwrap();
        assert_eq!(kept.trim_end(), made, "scripts/regenerate writes it anew");
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_how_it_refuses() {
        let document = document();
        let items = document.paths.paths.values();
        let operations: Vec<_> = items.flat_map(|item| [&item.get, &item.post]).flatten().collect();
        let names: std::collections::BTreeSet<_> = operations.iter().map(|found| found.operation_id.clone()).collect();
        assert_eq!((operations.len(), names.len()), (10, 10), "{names:?}");
        for operation in operations {
            let statuses: Vec<_> = operation.responses.responses.keys().map(String::as_str).collect();
            assert!(
                statuses.contains(&"200") && statuses.contains(&"405"),
                "{:?}: {statuses:?}",
                operation.operation_id
            );
        }
    }
}
