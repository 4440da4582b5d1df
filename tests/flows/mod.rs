//! Whole logins over HTTP, from a device's request to its tokens.

mod audit;
mod bound_login;
mod clock_steps;
pub mod commands;
mod first_owner;
pub mod fresh_proof;
mod fresh_proof_upstream;
pub mod github;
mod housekeeping;
mod lifecycle;
mod listening;
mod mfa;
mod nearness;
mod nodes;
mod notices;
pub mod oidc;
mod openidconnect;
mod outages;
mod own_page;
mod password;
mod phishing;
mod places;
mod random_walks;
mod reports;
mod rust_client;
mod traces;
mod verification_number;
