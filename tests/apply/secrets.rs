//! Secrets are kept, compared, rotated, and never shown.

use countersign::directory::{provider, service, user};
use countersign::ids::OrganizationId;
use insta::assert_snapshot;

use super::database::{FIRST, SECOND, with_database};
use super::{ACME, Database, apply, read, told};

#[tokio::test]
async fn they_work_where_they_are_used() {
    with_database(async |db| {
        apply(&db, ACME).await;
        assert!(all_work(&db).await);
    })
    .await;
}

#[tokio::test]
async fn they_still_work_after_the_client_id_changed() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let renamed = ACME.replace("slug = \"agent\"", "slug = \"agent\"\nclient_id = \"agent-2\"");
        assert_snapshot!(told(&apply(&db, &renamed).await), @r#"
        ~ service "agent" of "acme"
            client_id: "acme-agent" → "agent-2"
        "#);
        let mut conn = db.installation.pool.acquire().await.unwrap();
        let agent = service::by_client_id(&mut conn, "agent-2").await.unwrap().unwrap();
        assert!(agent.has_secret(&db.installation.keyring, &"the very secret value of AGENT_SECRET".into()));
    })
    .await;
}

#[tokio::test]
async fn what_an_older_secret_of_the_installation_made_is_made_again_and_then_the_older_one_can_go() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let both = db.under_secrets(&[SECOND, FIRST]);
        // The secret at the provider can be opened without the file: that is for `countersign rekey`.
        assert_snapshot!(told(&apply(&both, ACME).await), @r#"
        ~ service "agent" of "acme"
            client_secret: the same, under the newer secret
        "#);
        assert_eq!(told(&apply(&both, ACME).await), "");
        let mut conn = both.installation.pool.acquire().await.unwrap();
        let resealed = provider::reseal(&mut conn, &both.installation.keyring).await.unwrap();
        assert_eq!((resealed.resealed, resealed.unopenable), (1, 0));
        let newer = db.under_secrets(&[SECOND]);
        assert!(all_work(&newer).await);
        assert_eq!(told(&apply(&newer, ACME).await), "");
    })
    .await;
}

#[tokio::test]
async fn without_the_older_secret_of_the_installation_what_it_made_is_made_anew() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let lost = db.under_secrets(&[SECOND]);
        assert_snapshot!(told(&apply(&lost, ACME).await), @r#"
        ~ service "agent" of "acme"
            client_secret: changed
        ~ provider "sso" of "acme"
            client_secret: changed
        "#);
        assert!(all_work(&lost).await);
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_the_file_no_longer_names_is_removed() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let without = ACME.lines().filter(|line| !line.contains("env =")).collect::<Vec<_>>().join("\n");
        assert_snapshot!(told(&apply(&db, &without).await), @r#"
        ~ service "agent" of "acme"
            client_secret: removed
        ~ provider "sso" of "acme"
            client_secret: removed
        ~ user "ada@acme.example" of "acme"
            status: active → invited
            password: removed
        "#);
        assert_eq!(told(&apply(&db, &without).await), "");
    })
    .await;
}

#[tokio::test]
async fn none_is_told_or_stored() {
    with_database(async |db| {
        let file = read(ACME).unwrap();
        let changes = apply(&db, ACME).await;
        let details: Vec<_> = changes.iter().map(countersign::directory::apply::Change::detail).collect();
        let shown = format!("{file:?} {changes:?} {} {details:?} {}", told(&changes), db.dump().await);
        assert!(!shown.contains("very secret"), "{shown}");
        // A dump shows bytea in hexadecimal.
        assert!(!shown.contains("7665727920736563726574"), "{shown}");
    })
    .await;
}

async fn all_work(db: &Database) -> bool {
    let mut conn = db.installation.pool.acquire().await.unwrap();
    let keyring = &db.installation.keyring;
    let agent = service::by_client_id(&mut conn, "acme-agent").await.unwrap().unwrap();
    let organization: OrganizationId = agent.organization_id;
    let sso = provider::by_slug(&mut conn, organization, "sso").await.unwrap().unwrap();
    let ada = user::by_email(&mut conn, organization, "ada@acme.example").await.unwrap().unwrap();
    let password = "the very secret value of ADA_PASSWORD".into();
    agent.has_secret(keyring, &"the very secret value of AGENT_SECRET".into())
        && sso.open_client_secret(keyring).unwrap().unwrap().expose() == "the very secret value of ACME_SSO_SECRET"
        && db.installation.passwords.verify(&password, ada.password_hash.as_deref()).await
}
