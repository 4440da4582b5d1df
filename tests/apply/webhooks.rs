//! `[[organization.webhook]]`: read, planned, written, pruned; its secret is sealed.

use countersign::secrets::{Sealed, SecretText};
use insta::assert_snapshot;

use super::database::with_database;
use super::{apply, prune, read, told};

const HOOK: &str = r#"
[[organization]]
slug = "acme"

[[organization.webhook]]
url = "https://hooks.acme.example/countersign"
secret = { env = "HOOK_SECRET" }
"#;

#[tokio::test]
async fn a_webhook_is_made_changed_and_pruned() {
    with_database(async |db| {
        assert_snapshot!(told(&apply(&db, HOOK).await), @r#"
        + organization "acme"
        + webhook "https://hooks.acme.example/countersign" of "acme"
            secret: set
        "#);
        assert_eq!(told(&apply(&db, HOOK).await), "");
        let fewer = format!("{HOOK}events = [\"reported\"]\n");
        assert_snapshot!(told(&apply(&db, &fewer).await), @r#"
        ~ webhook "https://hooks.acme.example/countersign" of "acme"
            events: ["approved", "reported"] → ["reported"]
        "#);
        assert_snapshot!(told(&apply(&db, &fewer.replace("HOOK_SECRET", "OTHER_HOOK_SECRET")).await), @r#"
        ~ webhook "https://hooks.acme.example/countersign" of "acme"
            secret: changed
        "#);
        let none = "[[organization]]\nslug = \"acme\"\n";
        assert_eq!(told(&apply(&db, none).await), "");
        assert_snapshot!(told(&prune(&db, none).await), @r#"- webhook "https://hooks.acme.example/countersign" of "acme" and what it has not been told yet"#);
        assert_eq!(db.text("SELECT count(*)::text FROM webhook").await, "0");
    })
    .await;
}

#[tokio::test]
async fn its_secret_is_sealed_for_its_row_and_shown_nowhere() {
    with_database(async |db| {
        apply(&db, HOOK).await;
        let (id, sealed): (uuid::Uuid, Vec<u8>) =
            sqlx::query_as("SELECT id, secret_sealed FROM webhook").fetch_one(&db.installation.pool).await.unwrap();
        let open = |id: uuid::Uuid| {
            countersign::directory::webhook::open_secret(
                &db.installation.keyring,
                id.into(),
                &Sealed::from(sealed.clone()),
            )
        };
        assert_eq!(
            open(id).map(|secret: SecretText| secret.expose().to_owned()).unwrap(),
            "whsec_dGhlIHZlcnkgc2VjcmV0IHZhbHVlIG9mIEhPT0tfU0VDUkVU"
        );
        assert!(open(uuid::Uuid::nil()).is_err());
    })
    .await;
}

#[test]
fn what_is_wrong_with_a_webhook_is_told_at_once() {
    let faults = read(
        r#"
[[organization]]
slug = "acme"

[[organization.webhook]]
url = "http://hooks.acme.example/"
secret = { env = "ADA_PASSWORD" }
events = ["approved", "denied"]

[[organization.webhook]]
url = "https://hooks.acme.example/"
events = []
secrets = "x"

[[organization.webhook]]
url = "https://hooks.acme.example/"
secret = { env = "HOOK_SECRET" }
events = ["reported", "reported"]
"#,
    )
    .unwrap_err();
    assert_snapshot!(faults, @r#"
    acme.toml:6: organization "acme", webhook 1: url: "http://hooks.acme.example/" must begin with https:// (http:// is for this machine only)
    acme.toml:7: organization "acme", webhook 1: secret: the secret is not "whsec_" and base64 of 24 to 64 bytes; `echo whsec_$(openssl rand -base64 32)` makes a good one
    acme.toml:8: organization "acme", webhook 1: events: "denied" is no event of webhooks; it is one of approved, reported
    acme.toml:10: organization "acme", webhook "https://hooks.acme.example/": secret is missing: without it nobody could tell who sent a message
    acme.toml:12: organization "acme", webhook "https://hooks.acme.example/": events: the list tells the webhook of nothing; without the key it is told of everything
    acme.toml:13: organization "acme", webhook "https://hooks.acme.example/": unknown key "secrets" (did you mean "secret"?)
    acme.toml:16: organization "acme", webhook "https://hooks.acme.example/": url is given twice
    acme.toml:18: organization "acme", webhook "https://hooks.acme.example/": events: "reported" stands twice
    "#);
}
