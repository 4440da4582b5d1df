//! What is given on the command line besides names: values of any kind, and secrets, which never stand there.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::secret_input;
use crate::secrets::SecretText;

use super::failure::Failure;
use super::question;

/// What is said of a thing, member by member. Secrets are among it: it has no `Debug`.
#[derive(Default)]
pub struct Said(Map<String, Value>);

impl Said {
    /// Says it, where there is something to say.
    pub fn with<T: Into<Value>>(mut self, name: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Says it, unless something is said of it already.
    pub fn unless_said(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.entry(name).or_insert_with(|| value.into());
        self
    }

    /// Of a list that may be given again and again.
    pub fn with_list(self, name: &str, list: &[impl Into<Value> + Clone]) -> Self {
        let list: Vec<Value> = list.iter().cloned().map(Into::into).collect();
        self.with(name, (!list.is_empty()).then_some(list))
    }

    /// Of `--set`.
    pub fn with_all(mut self, members: &[(String, Value)]) -> Self {
        self.0.extend(members.iter().cloned());
        self
    }

    /// A secret from a file, or typed.
    pub async fn with_secret(self, name: &str, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else { return Ok(self) };
        let secret = secret(file, name).await?;
        Ok(self.with(name, Some(secret.expose())))
    }

    /// As JSON.
    pub fn into_body(self) -> Value {
        Value::Object(self.0)
    }

    /// The same, where a change has to say something.
    pub fn into_change(self) -> Result<Value, Failure> {
        if self.0.is_empty() {
            return Err(Failure::Usage("error: say what is to be changed; --help lists what can be".to_owned()));
        }
        Ok(self.into_body())
    }
}

/// `KEY=VALUE`: JSON where it is JSON, otherwise text.
pub fn member(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("it is KEY=VALUE")?;
    if matches!(key, "client_secret" | "password" | "secret") {
        return Err(format!("a secret doesn't belong on the command line: --{}-file FILE", key.replace('_', "-")));
    }
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

/// `NAME=TEXT`: a scope, and the words in which people are asked.
pub fn scope(text: &str) -> Result<Value, String> {
    let (name, text) = text.split_once('=').ok_or("it is NAME=TEXT: TEXT is what people are asked")?;
    Ok(json!({ "name": name, "text": text }))
}

/// A secret out of a file, without the line break at its end; `-` is standard input, typed unseen where that is a terminal.
async fn secret(file: &Path, name: &str) -> Result<SecretText, Failure> {
    let typed = file.as_os_str() == "-";
    if typed && io::stdin().is_terminal() {
        return question::secret(&name.replace('_', " ")).await;
    }
    let read = if typed { secret_input::of_standard_input() } else { secret_input::of_file(file) };
    read.map_err(|error| Failure::Io(format!("{} can't be read", file.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_where_they_are_json() {
        let value = |text| member(text).unwrap().1;
        assert_eq!(value("interval=5"), json!(5));
        assert_eq!(value("verified=true"), json!(true));
        assert_eq!(value("mfa=null"), Value::Null);
        assert_eq!(value("code_lifetime=15m"), json!("15m"));
        assert_eq!(value("resources=[\"https://api.acme.example/?a=b\"]"), json!(["https://api.acme.example/?a=b"]));
        assert!(member("interval").is_err());
    }

    #[test]
    fn secrets_are_not_taken_from_the_command_line() {
        let refused = member("client_secret=hunter2hunter2hunter2").unwrap_err();
        assert!(refused.contains("--client-secret-file") && !refused.contains("hunter2"), "{refused}");
    }
}
