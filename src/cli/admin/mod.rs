//! Administration from a terminal: the API `/api/v1`, asked with a login that was made with `countersign login --admin`.
//!
//! 1. [`choice`]: which login, and so which server; which organization.
//! 2. A file per resource: its commands. Each has a [`Desk`], asks it, and shows what was answered.
//! 3. [`desk`]: asks, follows pages, looks at a version before it changes it, asks a person before it deletes.
//! 4. [`table`] and [`details`]: for people; with `--json` what the API said stands on standard output as it is.
//! 5. [`failure`]: what went wrong, in words that say what to do, and the exit code.

mod apply;
mod audit;
mod choice;
mod desk;
mod details;
mod failure;
mod given;
mod grant;
mod keys;
mod org;
mod provider;
mod question;
mod ready;
mod service;
mod service_said;
mod session;
mod table;
mod user;
mod webhook;

pub use apply::{Files, run as apply};
pub use audit::{AuditArgs, run as audit};
pub use choice::AtServer;
pub use failure::Failure;
pub use grant::{GrantArgs, run as grant};
pub use keys::{Keys, run as keys};
pub use org::{OrgArgs, run as org};
pub use provider::{ProviderArgs, run as provider};
pub use service::{ServiceArgs, run as service};
pub use session::{SessionArgs, run as session};
pub use user::{UserArgs, run as user};
pub use webhook::{WebhookArgs, run as webhook};

/// For `after_help`, and in docs/administration.md.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    anything not listed here; also when a question was answered with no
  2    wrong usage, or --yes is missing where nobody can be asked
  3    your role, or what the login was granted, doesn't allow it
  4    there is no such thing, or none that you may administer
  5    the server can't be reached, or can't answer now
  6    what was said doesn't hold; the message names each thing
  7    not logged in, or not any more: countersign login URL --admin
  8    it was changed meanwhile: look at it again
  9    what is there stands against it
  130  interrupted";
