//! What whole-login tests stand on: an installation with its own database and time, and the actors of a login.

pub mod actors;
pub mod app;
pub mod database;
pub mod dpop;
pub mod github;
pub mod oidc_provider;
pub mod remote;

pub use actors::{Browser, Device, Page};
pub use app::App;
pub use remote::Remote;
