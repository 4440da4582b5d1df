//! What happened, how much there is, and the keys that sign tokens.

use countersign::audit::linker;
use insta::assert_snapshot;
use serde_json::Value;

use super::{Person, app};

#[tokio::test]
async fn what_happened_is_listed_and_narrowed() {
    let app = app().await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    super::super::token_of(&app, "member@acme.example", "cli", "read").await;
    admin.does(&["service", "update", "spare", "--name", "Spare"]).await;
    linker::link_all(&app.installation.pool, &app.installation.keyring).await.unwrap();

    let newest = ["audit", "list", "--kind", "administered", "--limit", "1", "--since", "1d"];
    let (code, list, err) = admin.runs(&newest).await;
    assert_eq!((code, err.as_str()), (0, "These are the first 1; there are more.\n"));
    let mut lines = list.lines();
    let title: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(title, ["AT", "KIND", "USER", "FROM", "DETAIL"]);
    let line = lines.next().unwrap();
    assert!(line.contains(" UTC  administered") && line.contains("what: service"), "{line}");

    let of_member = admin.reads(&["audit", "list", "--user", "member@acme.example", "--kind", "redeemed"]).await;
    assert_eq!(of_member["items"].as_array().unwrap().len(), 1, "{of_member}");
    let event = &of_member["items"][0];
    let session = event["session_id"].as_str().unwrap();
    let of_session = admin.reads(&["audit", "list", "--session", session, "--kind", "redeemed"]).await;
    assert_eq!(of_session["items"][0], *event);
    let grant = event["grant_id"].as_str().unwrap();
    let of_grant = admin.reads(&["audit", "list", "--grant", grant]).await;
    let kinds: Vec<&str> =
        of_grant["items"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
    assert!(kinds.starts_with(&["redeemed", "approved"]) && kinds.ends_with(&["requested"]), "{kinds:?}");
    let of_service = admin.reads(&["audit", "list", "--service", "cli", "--kind", "approved"]).await;
    assert_eq!(of_service["items"].as_array().unwrap().len(), 1, "and not that of admin-cli");
    let none = admin.reads(&["audit", "list", "--until", "2020-01-01"]).await;
    assert_eq!(none["items"], Value::Array(vec![]));

    let (code, _, err) = admin.runs(&["audit", "list", "--kind", "nothing"]).await;
    assert_eq!(code, 6);
    assert_snapshot!(err, @"
    events of acme: nothing was changed.
      kind: there is no such kind of event
    ");
    let (code, _, err) = admin.runs(&["audit", "list", "--org", "other"]).await;
    assert_eq!(code, 4);
    assert_snapshot!(err, @"There are no events of other: no such organization, or none that you may administer.");
    let (_, shown) = admin.at_terminal(&["audit", "list"], 100).ends().await;
    assert!(shown.lines().skip(1).all(|line| line.chars().count() <= 100), "{shown}");
}

#[tokio::test]
async fn an_organization_is_counted() {
    let app = app().await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    let counted = admin.does(&["org", "statistics", "acme"]).await;
    assert_snapshot!(counted, @"
    users     active: 4  invited: 0  locked: 0  with_authenticator: 0
    sessions  1
    grants    0
    ");
    assert_eq!(admin.reads(&["org", "statistics", "acme"]).await["users"]["active"], 4);
    let (code, _, err) = admin.runs(&["org", "statistics", "other"]).await;
    assert_eq!((code, err.as_str()), (4, "There is no organization other, or none that you may administer.\n"));
}

#[tokio::test]
async fn keys_are_listed_rotated_and_retired_at_a_server() {
    let app = app().await;
    let platform = Person::logged_in(&app, "owner@platform.example").await;
    let list = platform.does(&["keys", "list", "--server"]).await;
    let title: Vec<&str> = list.lines().next().unwrap().split_whitespace().collect();
    assert_eq!((title, list.lines().count()), (vec!["ALGORITHM", "STAGE", "SIGNS", "FROM", "KID"], 4));
    let rotated = platform.does(&["keys", "rotate", "--server", app.issuer()]).await;
    assert_eq!(rotated.matches("published").count(), 3, "{rotated}");
    let (code, _, err) = platform.runs(&["keys", "rotate", "--server"]).await;
    assert_eq!(code, 9);
    assert_snapshot!(err, @"keys: There are new keys already, which don't sign yet: wait until they do.");
    let (code, _, err) = platform.runs(&["keys", "rotate", "--server", "--now"]).await;
    assert_eq!(code, 2, "{err}");

    // An array, as without a server.
    let keys = platform.reads(&["keys", "list", "--server"]).await;
    let signing = keys.as_array().unwrap().iter().find(|key| key["stage"] == "signing" && key["algorithm"] == "ES256");
    let kid = signing.unwrap()["kid"].as_str().unwrap().to_owned();
    let retired = platform.does(&["keys", "retire", &kid, "--server"]).await;
    assert_eq!(retired, format!("Took key {kid} out. Other servers notice within a minute.\n"));
    // The login's own token was signed by it: another one is had without a word.
    let keys = platform.reads(&["keys", "list", "--server"]).await;
    assert!(
        keys.as_array().unwrap().iter().any(|key| key["kid"] == kid.as_str() && key["stage"] == "retired"),
        "{keys}"
    );
    let (code, _, err) = platform.runs(&["keys", "retire", "nothing", "--server"]).await;
    assert_eq!((code, err.as_str()), (4, "There is no key nothing, or none that you may administer.\n"));

    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let (code, _, err) = owner.runs(&["keys", "list", "--server"]).await;
    assert_eq!(code, 3);
    assert_snapshot!(err, @"You may not do that to keys. Only owners of the organization platform may do that.");
}
