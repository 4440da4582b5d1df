//! `countersign keys --server URL`: the keys that sign tokens, by the administration API.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::login::PLATFORM;

use super::choice::Common;
use super::desk::{Listed, administer};
use super::failure::Thing;
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

/// Does it, as an owner of `platform`.
pub async fn run(common: Common, keys: Keys) -> ExitCode {
    let all = Thing { kind: "key", name: String::new(), organization: None };
    let work = async |desk: &mut super::desk::Desk| {
        let reply = match keys {
            Keys::List => desk.look(&all, &["keys"]).await?,
            Keys::Rotate => desk.ask(&all, "POST", &["keys", "rotate"], None).await?,
            Keys::Retire(kid) => {
                let about = Thing { name: kid.clone(), ..all };
                desk.ask(&about, "POST", &["keys", &kid, "retire"], None).await?;
                desk.done(&format!("{kid} is taken out. Other servers notice within a minute."));
                return Ok(());
            }
        };
        let items = reply.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        desk.table(&Listed { items, next: Value::Null }, &COLUMNS)
    };
    administer(common, Some(PLATFORM.to_owned()), work).await
}
