//! What whole-login tests stand on: an installation with its own database and time, and the actors of a login.

pub mod actors;
pub mod app;
pub mod database;
pub mod dpop;
pub mod github;
pub mod held;
pub mod hook;
pub mod mail_server;
pub mod mmdb;
pub mod oidc_provider;
pub mod ports;
pub mod proxy;
pub mod remote;
pub mod terminal;

pub use actors::{Browser, Device, Page};
pub use app::App;
pub use held::Held;
pub use ports::free_port;
pub use remote::Remote;
pub use terminal::Terminal;

#[test]
fn the_issuers_of_the_tests_know_the_secrets_of_the_tests() {
    let secret = |name| app::SECRETS.iter().find(|(known, _)| *known == name).unwrap().1;
    assert_eq!(secret("SSO_SECRET"), oidc_provider::CLIENT_SECRET);
    assert_eq!(secret("GITHUB_SECRET"), github::CLIENT_SECRET);
}
