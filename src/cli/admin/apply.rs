//! `countersign apply --server`: files that were read here, applied over there.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::cli::apply::summary;
use crate::cli::login::PLATFORM;
use crate::client::printable;
use crate::directory::apply::{File, SecretSource};
use crate::secrets::SecretText;

use super::choice::Common;
use super::desk::{Desk, administer};
use super::failure::{Failure, Thing};

/// Files, and what this machine has for their secrets. It has no `Debug`.
pub struct Files {
    /// Each with its name.
    pub texts: Vec<(String, String)>,
    /// What they point to.
    pub secrets: Vec<(SecretSource, SecretText)>,
    /// What they say, to find out who may say it.
    pub file: File,
    /// Say what would change, and write nothing.
    pub dry_run: bool,
    /// Also delete what they don't name.
    pub prune: bool,
}

/// Sends them, with the login of the organization that they are about; where they are about several, that is the platform's.
pub async fn run(common: Common, files: Files) -> ExitCode {
    let mut slugs = files.file.slugs();
    let organization = match (slugs.next(), slugs.next()) {
        (Some(slug), None) => slug,
        _ => PLATFORM,
    };
    let organization = Some(organization.to_owned());
    administer(common, organization, async |desk| files.apply(desk).await).await
}

impl Files {
    async fn apply(&self, desk: &mut Desk) -> Result<(), Failure> {
        let about = Thing { kind: "file", name: String::new(), organization: None };
        let reply = desk.ask(&about, "POST", &["apply"], Some(&self.body())).await?;
        desk.told(&reply, &words(&reply.body))
    }

    fn body(&self) -> Value {
        let file = |(name, text): &(String, String)| json!({ "name": name, "text": text });
        json!({
            "files": self.texts.iter().map(file).collect::<Vec<_>>(),
            "secrets": self.secrets.iter().map(secret).collect::<Vec<_>>(),
            "dry_run": self.dry_run,
            "prune": self.prune,
        })
    }
}

fn secret((source, secret): &(SecretSource, SecretText)) -> Value {
    let (kind, name) = match source {
        SecretSource::Env(name) => ("env", name.clone()),
        SecretSource::File(path) => ("file", path.display().to_string()),
    };
    Map::from_iter([(kind.to_owned(), json!(name)), ("value".to_owned(), json!(secret.expose()))]).into()
}

/// What changed, as without a server.
fn words(applied: &Value) -> String {
    let changes = applied.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |change: &Value, member| change.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let lines = changes.iter().flat_map(|change| text(change, "text").lines().map(printable).collect::<Vec<_>>());
    let count = |action| changes.iter().filter(|change| text(change, "action") == action).count();
    let counts = ["created", "changed", "deleted"].map(count);
    let dry_run = applied.get("dry_run").and_then(Value::as_bool).unwrap_or_default();
    lines.chain([summary(counts, dry_run)]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_as_without_a_server() {
        let change = |action, text| json!({ "action": action, "text": text });
        let changes = [
            change("created", "+ user \"ada@acme.example\" of \"acme\"\n    password: set"),
            change("deleted", "- service \"\u{1b}[2Jold\" of \"acme\" and its sessions"),
        ];
        assert_eq!(
            words(&json!({ "dry_run": true, "changes": changes })),
            "+ user \"ada@acme.example\" of \"acme\"\n    password: set\n- service \"[2Jold\" of \"acme\" and its sessions\n\
             1 would be created, 0 changed, 1 deleted"
        );
        assert_eq!(words(&json!({ "dry_run": false, "changes": [] })), "nothing to change");
    }
}
