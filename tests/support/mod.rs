//! What whole-login tests stand on: an installation with its own database and time, and the actors of a login.

pub mod actors;
pub mod app;
pub mod database;

pub use actors::{Browser, Device};
pub use app::App;
