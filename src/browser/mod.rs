//! The browser of the person who approves: its session, and the tokens that keep other sites from acting in it.
//!
//! A cookie of 256 random bits names the session. The database holds its MAC only. Looking at pages writes nothing:
//! the session is stored when the browser first has something to keep, a code that it claimed.

pub mod csrf;
pub mod known;
pub mod store;
pub mod visitor;
