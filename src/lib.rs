//! Countersign: a self-hosted authorization server for device login (RFC 8628).
//!
//! The house has floors; a room imports from floors below it, never from above and never from a door beside it.
//! `docs/architecture.md` walks through one login.

// Ground: what even the first floor stands on.
pub mod clock; // the time, from outside
pub mod ids; // typed ids
pub mod telemetry; // logs, metrics, traces

// 1: what any server has.
pub mod geo; // country and city of an address, from a file
pub mod http; // fields, addresses, OAuth's errors, headers
pub mod outbound; // where the server lets itself be sent
pub mod postgres; // pool, migrations, the managed server, what nodes tell each other
pub mod secrets; // random values, MACs, sealing, passwords

// 1¼: how it does much at once.
pub mod grouping; // requests that share a statement

// 1½: how it is set up.
pub mod config; // countersign.toml and the environment
pub mod words; // programs, places and times, as people say them

// 2: what an installation consists of.
pub mod audit; // one event per step, chained
pub mod budget; // what may be spent within an hour
pub mod directory; // organizations, services, providers, users
pub mod installation; // the running installation, in one value

// 3: what happens.
pub mod attempts; // tries at passwords and second factors
pub mod browser; // the approving person's browser: its session, its tokens against forgery
pub mod device; // device logins in progress
pub mod dpop; // proofs that a device holds its key
pub mod mfa; // one-time passwords, recovery codes
pub mod session; // signed-in devices and their tokens
pub mod upstream; // signing in at an organization's own provider

// 3¼: what is told afterwards.
pub mod notice; // mails and webhooks of approvals, and "this wasn't me"; invitations

// 3½: what the doors for people have in common.
pub mod pages; // how pages are answered, signing in, second factors

// 4: the doors.
pub mod account; // a person's own devices and factors
pub mod activation; // the activation page
pub mod admin; // the administration API
pub mod oauth; // the endpoints that devices call
pub mod setup; // how an installation gets its first owner

// 5: what runs.
pub mod client; // the device-login client, which knows only HTTP
pub mod server; // router, state, listeners, drain

// 6: what people type.
pub mod cli; // one file per command
