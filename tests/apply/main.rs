//! `countersign apply` against a real database.
#![expect(clippy::unwrap_used, reason = "a test that can't go on should say where")]

mod command;
mod database;
mod faults;
mod fresh_proof;
mod prune;
mod repeat;
mod secrets;
mod webhooks;
mod write;

#[path = "../support/database.rs"]
mod test_database;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::directory::apply::{Change, Faults, File, Mode, SecretSource};
use countersign::secrets::SecretText;
use database::Database;

/// The example of the reference, with every kind of thing in it.
const ACME: &str = r#"
[[organization]]
slug = "acme"
name = "Acme"
mfa = "required"

[[organization.service]]
slug = "cli"
name = "Acme CLI"
client_id = "acme-cli"
device_login = true
scopes = { read = "Read your projects", deploy = "Deploy to production" }
default_scopes = ["read"]
code_lifetime = "15m"
interval = 5

[[organization.service]]
slug = "agent"
client_secret = { env = "AGENT_SECRET" }

[[organization.provider]]
slug = "sso"
kind = "oidc"
issuer = "https://login.acme.example"
client_id = "countersign"
client_secret = { env = "ACME_SSO_SECRET" }
admit = { domains = ["acme.example"] }

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.user]]
email = "Ada@acme.example"
name = "Ada"
role = "owner"
password = { env = "ADA_PASSWORD" }

[[organization.user]]
email = "bob@acme.example"
"#;

/// Where the tests' secrets come from: the variable `X` holds `the very secret value of X`.
fn secret(source: &SecretSource) -> Result<SecretText, String> {
    match source {
        SecretSource::Env(name) if name.starts_with("UNSET") => {
            Err(format!("the environment variable {name} is not set"))
        }
        SecretSource::Env(name) if name.starts_with("SHORT") => Ok("hunter2".into()),
        SecretSource::Env(name) if name.ends_with("HOOK_SECRET") => {
            Ok(format!("whsec_{}", STANDARD.encode(format!("the very secret value of {name}"))).into())
        }
        SecretSource::Env(name) => Ok(format!("the very secret value of {name}").into()),
        SecretSource::File(path) => Ok(format!("the very secret value in {}", path.display()).into()),
    }
}

fn read(text: &str) -> Result<File, Faults> {
    File::read(&[("acme.toml".into(), text.into())], &secret)
}

async fn apply(database: &Database, text: &str) -> Vec<Change> {
    database.apply(&read(text).unwrap(), Mode::default()).await
}

async fn prune(database: &Database, text: &str) -> Vec<Change> {
    database.apply(&read(text).unwrap(), Mode { prune: true, ..Mode::default() }).await
}

/// Changes as they are printed.
fn told(changes: &[Change]) -> String {
    changes.iter().map(Change::to_string).collect::<Vec<_>>().join("\n")
}
