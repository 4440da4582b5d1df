//! Signing in at upstream providers: a real OpenID Connect issuer, and a stand-in for GitHub.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test that can't go on has failed"
)]

mod admission;
mod github;
mod house;
mod log;
mod oidc;
mod round_trip;

#[path = "../support/database.rs"]
mod database;
#[path = "../support/github.rs"]
mod github_stand_in;
#[path = "../support/oidc_provider.rs"]
mod oidc_provider;
