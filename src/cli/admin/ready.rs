//! What a developer pastes into their tool, once its service is made.

use serde_json::Value;

use crate::client::{Reply, printable};

use super::desk::{self, Desk};
use super::failure::{Failure, Thing};

/// Prints it. A secret is in it once, and in no command: those ask for it.
pub async fn print(at: &Desk, about: &Thing, reply: &Reply) -> Result<(), Failure> {
    // The service is made: what it was told must reach the screen, whatever else can't be found out.
    let endpoints = at.device_login().await;
    let issuer = at.issuer().to_string();
    let (device, token) = match &endpoints {
        Ok((device, token)) => (device.clone(), token.clone()),
        Err(_) => (format!("{issuer}/auth/device/code"), format!("{issuer}/auth/token")),
    };
    let text = |name: &str| reply.body.get(name).and_then(Value::as_str).map(printable);
    let client_id = text("client_id").unwrap_or_default();
    let yes = |name: &str| reply.body.get(name).and_then(Value::as_bool).unwrap_or_default();
    let mut lines = vec![
        if reply.status == 201 { format!("Made {about}.") } else { format!("{about} was there already, just so.") },
        String::new(),
        format!("  client_id      {client_id}"),
    ];
    match text("client_secret") {
        Some(secret) => lines.push(format!("  client_secret  {secret}   (told this once: keep it now)")),
        None if yes("confidential") => lines.push("  client_secret  the one that was given to it".to_owned()),
        None => {}
    }
    lines.push(format!("  issuer         {issuer}"));
    if yes("device_login") {
        lines.push(format!("  device login   {device}"));
        lines.push(format!("  token          {token}"));
        lines.extend([String::new(), "Try it:".to_owned(), String::new()]);
        if yes("confidential") {
            // curl asks for the secret: it would stand in the shell's history otherwise.
            lines.push(format!("  curl -u {client_id} -d '' {device}"));
        } else {
            lines.push(format!("  countersign login {issuer} --client-id {client_id}"));
            lines.push(format!("  curl -d client_id={client_id} {device}"));
        }
        lines.extend([String::new(), "In the configuration of an OpenID or OAuth library:".to_owned(), String::new()]);
        lines.push(format!("  issuer = \"{issuer}\""));
        lines.push(format!("  client_id = \"{client_id}\""));
        lines.push(format!("  scope = \"{}\"", scopes(&reply.body)));
    }
    lines.push(String::new());
    desk::print(&lines.join("\n"))
}

/// What is granted when nothing is asked, and a refresh token.
fn scopes(service: &Value) -> String {
    let list = service.get("default_scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = list.iter().filter_map(Value::as_str).map(printable);
    names.chain(["offline_access".to_owned()]).collect::<Vec<_>>().join(" ")
}
