//! What can be said of a service on a command line: the usual by options, everything else by `--set`.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::given::{Said, member, scope};

#[derive(Args, Debug)]
pub struct ServiceSaid {
    /// Its name to people
    #[arg(long)]
    name: Option<String>,
    /// Its name in OAuth requests [default: ORGANIZATION-SLUG]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// A scope of its own, and the words in which people are asked. Again for the next one
    #[arg(long, value_name = "NAME=TEXT", value_parser = scope)]
    scope: Vec<Value>,
    /// A scope that is granted when nothing is asked. Again for the next one
    #[arg(long, value_name = "NAME")]
    default_scope: Vec<String>,
    /// Anything else that docs/directory.md names, JSON or text: interval=5, `code_lifetime`=5m, verified=true.
    /// null is as by default
    #[arg(long, value_name = "KEY=VALUE", value_parser = member)]
    set: Vec<(String, Value)>,
    /// A file with its secret; - for standard input
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
}

impl ServiceSaid {
    /// As the API takes it.
    pub async fn said(self) -> Result<Said, Failure> {
        let said = Said::default()
            .with("name", self.name)
            .with("client_id", self.client_id)
            .with_list("scopes", &self.scope)
            .with_list("default_scopes", &self.default_scope)
            .with_all(&self.set);
        said.with_secret("client_secret", self.client_secret_file.as_deref()).await
    }
}
