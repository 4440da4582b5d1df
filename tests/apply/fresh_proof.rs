//! What a service and its scopes ask to be proven: read, told, written, and read again from rows of older versions.

use countersign::directory::apply::Mode;
use insta::assert_snapshot;

use super::database::with_database;
use super::{ACME, apply, read, told};

/// [`ACME`] whose service `cli` asks for this, and its scope `deploy` for that.
fn asking(service: &str, deploy: &str) -> String {
    let client = "client_id = \"acme-cli\"";
    ACME.replace(client, &format!("{client}\n{service}")).replace("deploy = \"Deploy to production\"", deploy)
}

#[tokio::test]
async fn it_is_told_and_written_and_taken_back() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let asking = asking(
            "max_age = \"12h\"\nfactor = \"otp\"",
            "deploy = { text = \"Deploy to production\", max_age = \"0s\", factor = \"mfa\" }",
        );
        let before = db.dump().await;
        let would = db.apply(&read(&asking).unwrap(), Mode { dry_run: true, ..Mode::default() }).await;
        assert_eq!(db.dump().await, before);
        let changes = told(&apply(&db, &asking).await);
        assert_eq!(told(&would), changes);
        assert_snapshot!(changes, @r#"
        ~ service "cli" of "acme"
            scopes: {"read" = "Read your projects", "deploy" = "Deploy to production"} → {"read" = "Read your projects", "deploy" = {text = "Deploy to production", max_age = "0s", factor = "mfa"}}
            max_age: none → 12h
            factor: none → otp
        "#);
        assert_eq!(told(&apply(&db, &asking).await), "");
        assert_snapshot!(
            db.text("SELECT concat_ws(' ', max_age_seconds, factor, scopes) FROM service WHERE client_id = 'acme-cli'").await,
            @r#"43200 otp [["read", "Read your projects"], ["deploy", "Deploy to production", {"factor": "mfa", "max_age": 0}]]"#
        );
        assert_snapshot!(told(&apply(&db, ACME).await), @r#"
        ~ service "cli" of "acme"
            scopes: {"read" = "Read your projects", "deploy" = {text = "Deploy to production", max_age = "0s", factor = "mfa"}} → {"read" = "Read your projects", "deploy" = "Deploy to production"}
            max_age: 12h → none
            factor: otp → none
        "#);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_asks_for_nothing_is_as_good_as_words() {
    with_database(async |db| {
        apply(&db, ACME).await;
        assert_eq!(told(&apply(&db, &asking("", "deploy = { text = \"Deploy to production\" }")).await), "");
    })
    .await;
}

#[tokio::test]
async fn an_older_versions_scopes_can_be_read() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let older =
            "UPDATE service SET scopes = '[[\"read\", \"Read your projects\"], [\"deploy\", \"Deploy to production\"]]'
                     WHERE client_id = 'acme-cli'";
        db.execute(older).await;
        assert_eq!(told(&apply(&db, ACME).await), "");
    })
    .await;
}

#[test]
fn faults_are_told_with_their_place() {
    let bad = "[[organization]]
slug = \"acme\"

[[organization.service]]
slug = \"cli\"
max_age = \"-5m\"
factor = \"sms\"

[organization.service.scopes]
read = { max_age = \"5m\" }
deploy = { text = \"Deploy\", max_age = 300, factr = \"mfa\" }
build = { text = \"\", max_age = \"59s\" }
log = [\"Read logs\"]

[[organization.service]]
slug = \"other\"
max_age = \"59s\"

[organization.service.scopes]
read = { max_age = \"5m\" }
deploy = { text = \"Deploy\", max_age = 300, factr = \"mfa\" }
build = { text = \"\", factor = true }
";
    assert_snapshot!(read(bad).unwrap_err(), @r#"
    acme.toml:6: organization "acme", service "cli": max_age: "-5m" is no time span; one is written as "90s", "15m", "12h" or "30d"
    acme.toml:7: organization "acme", service "cli": factor: "sms" is no factor; it is one of mfa, otp
    acme.toml:9: organization "acme", service "cli": scopes must be a table of names and words, such as { read = "Read your projects" }
    acme.toml:17: organization "acme", service "other": max_age: "59s" is too short to get through the pages; it is "0s", for a proof of this very login, or at least "1m"
    acme.toml:20: organization "acme", service "other", scope "read": text is missing
    acme.toml:21: organization "acme", service "other", scope "deploy": max_age: 300 has no unit; a time span is written as "90s", "15m", "12h" or "30d"
    acme.toml:21: organization "acme", service "other", scope "deploy": unknown key "factr" (did you mean "factor"?)
    acme.toml:22: organization "acme", service "other", scope "build": text: it is empty
    acme.toml:22: organization "acme", service "other", scope "build": factor: invalid type: boolean `true`, expected a string
    "#);
}
