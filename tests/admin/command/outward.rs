//! What leads out of the server: providers and webhooks.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use countersign::outbound::Outbound;
use countersign::server::Settings;
use insta::assert_snapshot;
use serde_json::json;

use super::{Person, app, listening, steady};
use crate::support::App;
use crate::support::app::HOOK_SECRET;
use crate::support::hook::{Hook, Reply};

impl Person<'_> {
    /// Keeps a secret in a file of theirs, and says where.
    fn keeps(&self, secret: &str) -> String {
        let path = self.home.path().join("secret");
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_provider_is_made_looked_at_changed_and_deleted() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let secret = owner.keeps("a-secret-at-the-provider\n");
    let create = ["provider", "create", "sso", "--kind", "oidc", "--issuer", "https://login.acme.example"];
    let rest = ["--client-id", "countersign", "--client-secret-file", &secret, "--admit-group", "staff", "--set"];
    let made = owner.does(&[&create[..], &rest[..], &["trust_mfa=true"]].concat()).await;
    assert_snapshot!(made, @"
    Made provider sso of acme.
    There, register this redirect URI (callback) for Countersign:
      SERVER/auth/sso/callback
    ");
    let list = owner.does(&["provider", "list"]).await;
    assert_snapshot!(list, @"
    SLUG      KIND      NAME                ISSUER                      ADMITS         SECRET
    password  password  Password            –                           –              no
    sso       oidc      login.acme.example  https://login.acme.example  groups: staff  yes
    ");
    let shown = owner.does(&["provider", "show", "sso"]).await;
    assert!(shown.starts_with("slug          sso\nname          login.acme.example\nkind          oidc\n"), "{shown}");
    assert!(!shown.contains("a-secret-at"), "{shown}");

    let change = ["provider", "update", "sso", "--name", "Acme SSO", "--admit", "invited", "--no-client-secret"];
    let changed = owner.reads(&change).await;
    assert_eq!(
        (&changed["name"], &changed["admit"], &changed["has_secret"]),
        (&json!("Acme SSO"), &json!("invited"), &json!(false))
    );
    let (code, _, err) = owner.runs(&["provider", "update", "sso", "--set", "client_secret=x"]).await;
    assert!(code == 2 && err.contains("--client-secret-file FILE"), "{err}");
    let (code, _, err) =
        owner.runs(&["provider", "create", "x", "--kind", "oidc", "--admit-domain", "a", "--admit-group", "b"]).await;
    assert_eq!(code, 2, "{err}");
    let inner = ["provider", "create", "x", "--kind", "oidc", "--issuer", "https://10.0.0.7", "--client-id", "y"];
    let (code, _, err) = owner.runs(&inner).await;
    assert!(code == 6 && err.contains("issuer"), "{err}");

    // In a terminal it asks.
    let mut terminal = owner.at_terminal(&["provider", "delete", "sso"], 120);
    let asked = terminal.shows("[y/N] ").await;
    assert!(asked.starts_with("Delete provider sso of acme and its links to accounts? At "), "{asked}");
    terminal.types("y");
    let (code, shown) = terminal.ends().await;
    assert_eq!((code, shown.lines().last()), (0, Some("Deleted provider sso of acme.")));
    let (code, _, err) = owner.runs(&["provider", "show", "sso"]).await;
    assert_eq!((code, err.as_str()), (4, "There is no provider sso of acme, or none that you may administer.\n"));
    // With the last way in goes the last owner.
    let (code, _, err) = owner.runs(&["provider", "delete", "password", "--yes"]).await;
    assert_eq!(code, 9, "{err}");
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    admin.does(&["provider", "list"]).await;
    let (code, _, err) = admin.runs(&["provider", "update", "password", "--name", "Mine"]).await;
    assert_eq!(code, 3, "{err}");
}

/// A server that may send requests to this machine.
async fn app_that_allows_loopback() -> App {
    listening(Settings::default(), Outbound::with_loopback()).await
}

#[tokio::test]
async fn a_webhook_is_made_tried_changed_and_deleted() {
    let (app, hook) = (app_that_allows_loopback().await, Hook::start().await);
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let secret = owner.keeps(HOOK_SECRET);
    let made = owner.does(&["webhook", "create", &hook.url, "--event", "approved", "--secret-file", &secret]).await;
    assert_eq!(made, format!("Made webhook {} of acme.\n", hook.url), "a secret that was given isn't told");
    hook.next([Reply::Status(204), Reply::Status(418)]);
    let tried = owner.does(&["webhook", "test", &hook.url]).await;
    assert_eq!(tried, format!("Delivered a message to webhook {} of acme.\n", hook.url));
    assert_eq!(hook.messages().pop().unwrap().verified()["type"], "webhook.test");
    let (code, out, err) = owner.runs(&["webhook", "test", &hook.url]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with(&format!("webhook {} of acme took no message: ", hook.url)) && err.contains("418"),
        "{err}"
    );
    hook.next([Reply::Status(418)]);
    let (code, out, err) = owner.runs(&["webhook", "test", &hook.url, "--json"]).await;
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.starts_with(r#"{"delivered":false,"#), "{out}");

    let list = steady(&owner.does(&["webhook", "list"]).await).replace(&hook.url, "HOOK");
    assert_eq!(list.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(), ["HOOK", "approved", "ID"]);
    let shown = owner.reads(&["webhook", "show", &hook.url]).await;
    let id = shown["id"].as_str().unwrap();
    assert_eq!(owner.reads(&["webhook", "show", id]).await, shown);
    let changed = owner.reads(&["webhook", "update", id, "--event", "approved", "--event", "reported"]).await;
    assert_eq!(changed["events"], json!(["approved", "reported"]));
    let (code, _, err) = owner.runs(&["webhook", "rotate-secret", id]).await;
    assert_eq!(code, 2, "{err}");
    let other = owner.does(&["webhook", "rotate-secret", id, "--yes"]).await;
    assert!(other.starts_with("secret  whsec_") && other.ends_with("It is told this once: keep it now.\n"), "{other}");

    let drawn = owner.does(&["webhook", "create", "https://hooks.acme.example/x"]).await;
    assert!(drawn.contains("\n  secret  whsec_") && drawn.contains("(told this once: keep it now)"), "{drawn}");
    let (code, _, err) = owner.runs(&["webhook", "show", "https://hooks.acme.example/y"]).await;
    assert_eq!(code, 4, "{err}");
    let mut terminal = owner.at_terminal(&["webhook", "delete", "https://hooks.acme.example/x"], 120);
    terminal.shows("[y/N] ").await;
    terminal.types("y");
    let (code, shown) = terminal.ends().await;
    assert_eq!((code, shown.lines().last()), (0, Some("Deleted webhook https://hooks.acme.example/x of acme.")));
}
