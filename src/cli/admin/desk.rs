//! Where a command works: the API, and the person or script in front of it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::kept::{not_cut_off, print_json, say};
use crate::client::{Api, Call, Issuer, Reply};

use super::choice::{Common, choose, organization_of};
use super::failure::{Failure, Thing};
use super::{details, question, table};

/// The API's root.
const ROOT: [&str; 2] = ["api", "v1"];
/// Below it, where most of it begins.
pub const ALL: &str = "organizations";
/// So many at once.
const PAGE: usize = 100;

/// What a command works with.
pub struct Desk {
    api: Api,
    json: bool,
    organization: Option<String>,
}

/// The items of a list, and where it goes on.
pub struct Listed {
    pub items: Vec<Value>,
    pub next: Value,
}

/// Does a command's work, with the login that is meant, and says how it ended.
pub async fn administer(
    common: Common,
    organization: Option<String>,
    work: impl AsyncFnOnce(&mut Desk) -> Result<(), Failure>,
) -> ExitCode {
    let json = common.json;
    let all = async {
        let credentials = common.store.open()?;
        let login = choose(&credentials, common.server.as_ref(), organization.as_deref())?;
        let of_login = organization_of(&login).map(str::to_owned);
        let api = Api::of(credentials, login.clone()).map_err(|error| Failure::session(error, &login))?;
        work(&mut Desk { api, json, organization: organization.or(of_login) }).await
    };
    match not_cut_off(Box::pin(all)).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.end(json),
        Err(interrupted) => interrupted,
    }
}

impl Desk {
    /// The organization that is meant.
    pub fn organization(&self) -> Result<String, Failure> {
        let missing = || Failure::Usage("error: say which organization: --org SLUG".to_owned());
        self.organization.clone().ok_or_else(missing)
    }

    /// The server.
    pub const fn issuer(&self) -> &Issuer {
        self.api.issuer()
    }

    /// Where devices of this server ask, for codes and for tokens.
    pub async fn device_login(&self) -> Result<(String, String), Failure> {
        self.api.device_login().await.map_err(|error| Failure::session(error, self.api.login()))
    }

    /// Asks; `path` is below the API's root. What the API refuses is a failure.
    pub async fn ask(
        &mut self,
        about: &Thing,
        method: &str,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        self.call(about, path, Call { method, path: &[], query: &[], body, if_match: None }).await
    }

    /// Looks.
    pub async fn look(&mut self, about: &Thing, path: &[&str]) -> Result<Reply, Failure> {
        self.ask(about, "GET", path, None).await
    }

    /// Changes what is there now, or, when it is said, what was there when somebody looked.
    pub async fn change(
        &mut self,
        about: &Thing,
        path: &[&str],
        body: &Value,
        if_match: Option<String>,
    ) -> Result<Reply, Failure> {
        let tag = match if_match {
            Some(tag) => Some(tag),
            None => self.look(about, path).await?.etag,
        };
        let call = Call { method: "PATCH", path: &[], query: &[], body: Some(body), if_match: tag.as_deref() };
        self.call(about, path, call).await
    }

    /// Deletes what was looked at, once a person has said so.
    pub async fn delete(&mut self, about: &Thing, path: &[&str], what_ends: &str, sure: &Sure) -> Result<(), Failure> {
        let tag = match &sure.if_match {
            Some(tag) => Some(tag.clone()),
            None => self.look(about, path).await?.etag,
        };
        self.confirm(&format!("Delete {about}{what_ends}?"), sure.yes).await?;
        let call = Call { method: "DELETE", path: &[], query: &[], body: None, if_match: tag.as_deref() };
        self.call(about, path, call).await?;
        self.done(&format!("Deleted {about}."));
        Ok(())
    }

    /// Asks a person, unless it is said already.
    pub async fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes { Ok(()) } else { question::confirm(&format!("{question} At {}.", self.issuer())).await }
    }

    /// Follows the pages of a list, up to so many.
    pub async fn list(
        &mut self,
        about: &Thing,
        path: &[&str],
        filter: &[(&str, &str)],
        most: Option<usize>,
    ) -> Result<Listed, Failure> {
        let mut listed = Listed { items: Vec::new(), next: Value::Null };
        loop {
            let left = most.map_or(PAGE, |most| most.saturating_sub(listed.items.len()).min(PAGE));
            let (limit, next) = (left.to_string(), listed.next.as_str().map(str::to_owned));
            let mut query = vec![("limit", limit.as_str())];
            query.extend(next.as_deref().map(|next| ("after", next)));
            query.extend_from_slice(filter);
            let call = Call { method: "GET", path: &[], query: &query, body: None, if_match: None };
            let mut page = self.call(about, path, call).await?.body;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                listed.items.extend(items);
            }
            listed.next = page.get_mut("next").map(Value::take).unwrap_or_default();
            // A server that gives the page that it was asked after would be asked for ever.
            let goes_on = listed.next.is_string() && listed.next.as_str() != next.as_deref();
            if !goes_on || most.is_some_and(|most| listed.items.len() >= most) {
                return Ok(listed);
            }
        }
    }

    /// Shows a list.
    pub fn table(&self, listed: &Listed, columns: &[table::Column]) -> Result<(), Failure> {
        if self.json {
            print_json(&json!({ "items": listed.items, "next": listed.next }));
            return Ok(());
        }
        if listed.items.is_empty() {
            say("There are none.");
            return Ok(());
        }
        print(&table::of_process(&listed.items, columns))?;
        if listed.next.is_string() {
            say(&format!("These are the first {}; there are more.", listed.items.len()));
        }
        Ok(())
    }

    /// Shows one thing: its version alone when that is asked.
    pub fn show(&self, reply: &Reply, first: &[&str], only_etag: bool) -> Result<(), Failure> {
        if only_etag {
            return print(&format!("{}\n", reply.etag.as_deref().unwrap_or_default()));
        }
        if self.json {
            print_json(&reply.body);
            return Ok(());
        }
        print(&details::of(&reply.body, first))
    }

    /// Says what was done: a person in words, a script by what was answered.
    pub fn told(&self, reply: &Reply, words: &str) -> Result<(), Failure> {
        if self.json {
            print_json(&reply.body);
            return Ok(());
        }
        print(&format!("{words}\n"))
    }

    /// Says to people what was done where the API answers nothing.
    pub fn done(&self, words: &str) {
        if !self.json {
            drop(writeln!(io::stdout(), "{words}"));
        }
    }

    /// Whether a script reads.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    async fn call(&mut self, about: &Thing, path: &[&str], call: Call<'_>) -> Result<Reply, Failure> {
        let path = [&ROOT, path].concat();
        let reply = self.api.ask(&Call { path: &path, ..call }).await;
        let reply = reply.map_err(|error| Failure::session(error, self.api.login()))?;
        if (200..300).contains(&reply.status) {
            Ok(reply)
        } else {
            Err(Failure::refused(about, reply, self.api.login()))
        }
    }
}

/// Writes text as it is.
pub fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever has closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io("Can't write to the output".to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// Whether it is meant, and of which version.
#[derive(clap::Args, Debug)]
pub struct Sure {
    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,

    /// Only if it is still this version, as show --etag told it
    #[arg(long, value_name = "ETAG", value_parser = tag, allow_hyphen_values = true)]
    pub if_match: Option<String>,
}

/// A version as it is sent; shells take quotation marks away. It is base64url: one of 64 begins with a hyphen, which whoever takes
/// one has to allow.
pub fn tag(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err("it is what show --etag prints".to_owned());
    }
    Ok(if text == "*" || text.starts_with('"') { text.to_owned() } else { format!("\"{text}\"") })
}
