//! What `--prune` deletes, and what it never does.

use insta::assert_snapshot;

use super::database::with_database;
use super::{ACME, apply, prune, told};

const SMALL: &str = r#"
[[organization]]
slug = "acme"
name = "Acme"

[[organization.provider]]
slug = "sso"
kind = "oidc"
issuer = "https://login.acme.example"
client_id = "countersign"
client_secret = { env = "ACME_SSO_SECRET" }
"#;

#[tokio::test]
async fn without_it_nothing_is_deleted_and_with_it_what_the_file_does_not_name() {
    with_database(async |db| {
        apply(&db, ACME).await;
        apply(&db, "[[organization]]\nslug = \"other\"\n[[organization.service]]\nslug = \"cli\"").await;
        apply(&db, SMALL).await;
        assert_eq!(db.text("SELECT count(*)::text FROM service WHERE slug <> 'admin-cli'").await, "3");
        assert_snapshot!(told(&prune(&db, SMALL).await), @r#"
        - service "agent" of "acme" and its sessions
        - service "cli" of "acme" and its sessions
        - provider "password" of "acme" and its links to accounts
        - user "ada@acme.example" of "acme" and their sessions and factors
        - user "bob@acme.example" of "acme" and their sessions and factors
        "#);
        assert_eq!(told(&prune(&db, SMALL).await), "");
        assert_eq!(
            db.text("SELECT string_agg(client_id, ' ') FROM service WHERE slug <> 'admin-cli'").await,
            "other-cli"
        );
    })
    .await;
}

#[tokio::test]
async fn whom_a_provider_lets_in_by_itself_stays() {
    with_database(async |db| {
        apply(&db, ACME).await;
        db.execute(
            "INSERT INTO app_user (id, organization_id, email, created_at)
             SELECT gen_random_uuid(), id, 'eve@acme.example', now() FROM organization WHERE slug = 'acme'",
        )
        .await;
        db.execute(
            "INSERT INTO identity (id, user_id, provider_id, subject, created_at, last_sign_in_at)
             SELECT gen_random_uuid(), u.id, p.id, 'e-1', now(), now()
             FROM app_user u, provider p WHERE u.email = 'eve@acme.example' AND p.slug = 'sso'",
        )
        .await;
        assert_eq!(told(&prune(&db, ACME).await), "");
        let invited_only = ACME.replace("admit = { domains = [\"acme.example\"] }", "");
        assert_snapshot!(told(&prune(&db, &invited_only).await), @r#"
        ~ provider "sso" of "acme"
            admit: domains ["acme.example"] → invited
        - user "eve@acme.example" of "acme" and their sessions and factors
        "#);
    })
    .await;
}

#[tokio::test]
async fn the_organization_that_administers_the_others_is_never_pruned() {
    with_database(async |db| {
        let whole = "[[organization]]\nslug = \"platform\"\n[[organization.service]]\nslug = \"admin-cli\"\n
                     [[organization.user]]\nemail = \"root@acme.example\"\nrole = \"owner\"";
        apply(&db, whole).await;
        assert_eq!(told(&prune(&db, "[[organization]]\nslug = \"platform\"").await), "");
        assert_eq!(db.text("SELECT client_id FROM service").await, "platform-admin-cli");
    })
    .await;
}

#[tokio::test]
async fn a_pruned_service_gives_its_client_id_away() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let renamed = ACME.replace("slug = \"cli\"", "slug = \"tool\"");
        assert_snapshot!(told(&prune(&db, &renamed).await), @r#"
        + service "tool" of "acme"
            name: "Acme CLI"
            client_id: "acme-cli"
            device_login: true
            scopes: {"read" = "Read your projects", "deploy" = "Deploy to production"}
            default_scopes: ["read"]
        - service "cli" of "acme" and its sessions
        "#);
    })
    .await;
}
