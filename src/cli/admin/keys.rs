//! `countersign keys --server`: the keys that sign tokens, for owners of `platform`.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::kept::print_json;
use crate::cli::login::PLATFORM;

use super::choice::Common;
use super::desk::{Desk, Listed, administer};
use super::failure::{Failure, Thing};
use super::table::{Column, member, whole};

const COLUMNS: [Column; 4] = [
    whole("ALGORITHM", |item| member(item, "algorithm")),
    whole("STAGE", |item| member(item, "stage")),
    whole("SIGNS FROM", |item| member(item, "active_from")),
    whole("KID", |item| member(item, "kid")),
];

/// What is done to keys.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Shows them.
    List,
    /// Makes new ones.
    Rotate,
    /// Takes one out.
    Retire(String),
}

/// Does it.
pub async fn run(common: Common, keys: Keys) -> ExitCode {
    administer(common, Some(PLATFORM.to_owned()), async |desk| keys.run(desk).await).await
}

impl Keys {
    async fn run(self, desk: &mut Desk) -> Result<(), Failure> {
        let all = Thing { kind: "key", name: String::new(), organization: None };
        let reply = match self {
            Self::List => desk.look(&all, &["keys"]).await?,
            Self::Rotate => desk.ask(&all, "POST", &["keys", "rotate"], None).await?,
            Self::Retire(kid) => {
                let about = Thing { name: kid.clone(), ..all };
                desk.ask(&about, "POST", &["keys", &kid, "retire"], None).await?;
                desk.done(&format!("Took {about} out. Other servers notice within a minute."));
                return Ok(());
            }
        };
        let items = reply.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        if desk.is_json() {
            // As this command prints them without a server.
            print_json(&items.into());
            return Ok(());
        }
        desk.table(&Listed { items, next: Value::Null }, &COLUMNS)
    }
}
