//! Versions: the `ETag` of what was looked at, and `If-Match` before it is changed (RFC 9110 §13.1.1).

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::secrets::base64url;

use super::problem::Problem;

/// What every change takes, as the document describes it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is read by name")]
pub struct Precondition {
    /// The `ETag` of what was looked at, or `*` for whatever is there.
    #[param(rename = "If-Match")]
    if_match: String,
}

/// The tag of what is shown: the same for the same words.
pub fn of(shown: &impl Serialize) -> String {
    let text = serde_json::to_vec(shown).unwrap_or_default();
    let hash = digest(&SHA256, &text);
    format!("\"{}\"", base64url(hash.as_ref().get(..16).unwrap_or_default()))
}

/// Goes on when the request is about what is there now.
pub fn check(precondition: Option<&str>, shown: &impl Serialize) -> Result<(), Problem> {
    let tags = precondition.ok_or_else(Problem::precondition_required)?;
    let current = of(shown);
    // A weak one never matches.
    let matches = |tag: &str| tag == "*" || tag == current;
    if tags.split(',').map(str::trim).any(matches) { Ok(()) } else { Err(Problem::stale()) }
}
