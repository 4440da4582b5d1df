//! What is created and changed, and that nothing is written where nothing should be.

use countersign::directory::apply::Mode;
use insta::assert_snapshot;

use super::database::with_database;
use super::{ACME, apply, read, told};

#[tokio::test]
async fn everything_is_created_as_the_file_says() {
    with_database(async |db| {
        let changes = apply(&db, ACME).await;
        assert_snapshot!(told(&changes), @r#"
        + organization "acme"
            name: "Acme"
        + service "cli" of "acme"
            name: "Acme CLI"
            client_id: "acme-cli"
            device_login: true
            scopes: {"read" = "Read your projects", "deploy" = "Deploy to production"}
            default_scopes: ["read"]
        + service "agent" of "acme"
            client_id: "acme-agent"
            client_secret: set
        + provider "sso" of "acme"
            kind: oidc
            client_id: "countersign"
            admit: domains ["acme.example"]
            client_secret: set
        + provider "password" of "acme"
            kind: password
        + user "ada@acme.example" of "acme"
            name: "Ada"
            role: owner
            status: active
            password: set
        + user "bob@acme.example" of "acme"
        "#);
        assert_snapshot!(
            db.text(
                "SELECT string_agg(concat_ws(' ', slug, client_id, client_secret_mac IS NOT NULL, scopes), E'\n' ORDER BY slug)
                 FROM service WHERE slug <> 'admin-cli'"
            ).await,
            @r#"
            agent acme-agent t []
            cli acme-cli f [["read", "Read your projects"], ["deploy", "Deploy to production"]]
            "#
        );
        assert_snapshot!(
            db.text(
                "SELECT string_agg(concat_ws(' ', email, email_verified, name, role, status, left(password_hash, 10)), E'\n'
                                   ORDER BY email) FROM app_user"
            ).await,
            @r#"
            ada@acme.example t Ada owner active $argon2id$
            bob@acme.example f  member invited
            "#
        );
    })
    .await;
}

#[tokio::test]
async fn a_second_time_there_is_nothing_to_change() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let before = db.dump().await;
        assert_eq!(told(&apply(&db, ACME).await), "");
        assert_eq!(db.dump().await, before);
    })
    .await;
}

#[tokio::test]
async fn every_change_is_told_and_keeps_the_id() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let ids = "SELECT (SELECT string_agg(id::text, ' ' ORDER BY slug) FROM service)
                       || (SELECT string_agg(id::text, ' ' ORDER BY slug) FROM provider)
                       || (SELECT string_agg(id::text, ' ' ORDER BY email) FROM app_user)";
        let before = db.text(ids).await;
        let changed = ACME
            .replace("name = \"Acme\"", "name = \"Acme Inc.\"\nstatus = \"suspended\"")
            .replace(
                "client_id = \"acme-cli\"",
                "client_id = \"acme-tool\"\nproximity = \"block\"\ntrusted_networks = [\"10.0.0.0/8\", \"192.0.2.7\"]\nverified = true\nmfa_max_age = \"8h\"",
            )
            .replace("deploy = \"Deploy to production\"", "admin = \"Do everything\"")
            .replace("{ domains = [\"acme.example\"] }", "{ groups = [\"staff\"] }")
            .replace("role = \"owner\"", "role = \"admin\"\nstatus = \"locked\"")
            .replace("ADA_PASSWORD", "ADA_OTHER_PASSWORD");
        assert_snapshot!(told(&apply(&db, &changed).await), @r#"
        ~ organization "acme"
            name: "Acme" → "Acme Inc."
            status: active → suspended
        ~ service "cli" of "acme"
            client_id: "acme-cli" → "acme-tool"
            scopes: {"read" = "Read your projects", "deploy" = "Deploy to production"} → {"read" = "Read your projects", "admin" = "Do everything"}
            proximity: warn → block
            trusted_networks: [] → ["10.0.0.0/8", "192.0.2.7/32"]
            verified: false → true
            mfa_max_age: none → 8h
        ~ provider "sso" of "acme"
            admit: domains ["acme.example"] → groups ["staff"]
        ~ user "ada@acme.example" of "acme"
            role: owner → admin
            status: active → locked
            password: changed
        "#);
        assert_eq!(db.text(ids).await, before);
        assert_eq!(told(&apply(&db, &changed).await), "");
        // An absent key has its default again.
        assert_snapshot!(told(&apply(&db, ACME).await), @r#"
        ~ organization "acme"
            name: "Acme Inc." → "Acme"
        ~ service "cli" of "acme"
            client_id: "acme-tool" → "acme-cli"
            scopes: {"read" = "Read your projects", "admin" = "Do everything"} → {"read" = "Read your projects", "deploy" = "Deploy to production"}
            proximity: block → warn
            trusted_networks: ["10.0.0.0/8", "192.0.2.7/32"] → []
            verified: true → false
            mfa_max_age: 8h → none
        ~ provider "sso" of "acme"
            admit: groups ["staff"] → domains ["acme.example"]
        ~ user "ada@acme.example" of "acme"
            role: admin → owner
            password: changed
        "#);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_tells_the_same_and_writes_nothing() {
    with_database(async |db| {
        let dry = Mode { dry_run: true, prune: true, ..Mode::default() };
        let before = db.dump().await;
        let would = db.apply(&read(ACME).unwrap(), dry).await;
        assert_eq!(db.dump().await, before);
        assert_eq!(told(&would), told(&apply(&db, ACME).await));
        let before = db.dump().await;
        let smaller = ACME.replace("slug = \"agent\"", "slug = \"other\"").replace("name = \"Ada\"", "");
        let would = db.apply(&read(&smaller).unwrap(), dry).await;
        assert_eq!(would.len(), 3, "{}", told(&would));
        assert_eq!(db.dump().await, before);
    })
    .await;
}

#[tokio::test]
async fn an_event_is_written_for_every_change_and_for_no_other() {
    with_database(async |db| {
        let changes = apply(&db, ACME).await;
        let count = "SELECT count(*)::text FROM audit_event WHERE kind = 'administered'";
        assert_eq!(db.text(count).await, changes.len().to_string());
        apply(&db, &ACME.replace("interval = 5", "interval = 7")).await;
        assert_snapshot!(
            db.text(
                "SELECT detail::text FROM audit_event e JOIN service s ON s.id = e.service_id
                 WHERE s.slug = 'cli' AND e.organization_id = s.organization_id AND detail->>'action' = 'changed'"
            )
            .await,
            @r#"{"by": "apply", "name": "cli", "what": "service", "action": "changed", "fields": {"interval": {"to": "7", "from": "5"}}}"#
        );
    })
    .await;
}

#[tokio::test]
async fn two_services_can_swap_their_client_ids() {
    with_database(async |db| {
        let text = |one: &str, two: &str| {
            format!(
                "[[organization]]\nslug = \"acme\"\n
                 [[organization.service]]\nslug = \"one\"\nclient_id = \"{one}\"\nclient_secret = {{ env = \"ONE\" }}\n
                 [[organization.service]]\nslug = \"two\"\nclient_id = \"{two}\"\n"
            )
        };
        apply(&db, &text("a", "b")).await;
        assert_snapshot!(told(&apply(&db, &text("b", "a")).await), @r#"
        ~ service "one" of "acme"
            client_id: "a" → "b"
        ~ service "two" of "acme"
            client_id: "b" → "a"
        "#);
        assert_eq!(told(&apply(&db, &text("b", "a")).await), "");
    })
    .await;
}

#[tokio::test]
async fn a_client_id_of_a_service_outside_the_file_is_refused_and_nothing_is_written() {
    with_database(async |db| {
        apply(&db, ACME).await;
        let before = db.dump().await;
        let other =
            "[[organization]]\nslug = \"other\"\n[[organization.service]]\nslug = \"x\"\nclient_id = \"acme-cli\"";
        let error = db.try_apply(&read(other).unwrap(), Mode::default()).await.unwrap_err();
        assert_snapshot!(error, @r#"these client ids are taken: "acme-cli" (service "cli" of organization "acme"); choose others, or have those services renamed or pruned"#);
        assert_eq!(db.dump().await, before);
    })
    .await;
}

#[tokio::test]
async fn two_at_once_do_it_once() {
    with_database(async |db| {
        let runs = (0..4).map(|_| {
            let db = db.clone();
            tokio::spawn(async move { apply(&db, ACME).await.len() })
        });
        let mut changes: Vec<usize> = Vec::new();
        for run in runs.collect::<Vec<_>>() {
            changes.push(run.await.unwrap());
        }
        changes.sort_unstable();
        assert_eq!(changes, [0, 0, 0, 7]);
    })
    .await;
}

#[tokio::test]
async fn locks_and_suspensions_stay_unless_the_file_speaks_of_them() {
    with_database(async |db| {
        apply(&db, ACME).await;
        db.execute("UPDATE app_user SET status = 'locked' WHERE email = 'ada@acme.example'").await;
        db.execute("UPDATE organization SET status = 'suspended'").await;
        assert_eq!(told(&apply(&db, ACME).await), "");
        let spoken = ACME
            .replace("role = \"owner\"", "role = \"owner\"\nstatus = \"active\"")
            .replace("mfa = \"required\"", "status = \"active\"");
        assert_snapshot!(told(&apply(&db, &spoken).await), @r#"
        ~ organization "acme"
            status: suspended → active
        ~ user "ada@acme.example" of "acme"
            status: locked → active
        "#);
    })
    .await;
}

#[tokio::test]
async fn who_accepted_an_invitation_is_not_invited_again() {
    with_database(async |db| {
        apply(&db, ACME).await;
        link(&db).await;
        assert_eq!(told(&apply(&db, ACME).await), "");
        let locked = ACME.replace("email = \"bob@acme.example\"", "email = \"bob@acme.example\"\nstatus = \"locked\"");
        apply(&db, &locked).await;
        let unlocked =
            ACME.replace("email = \"bob@acme.example\"", "email = \"bob@acme.example\"\nstatus = \"invited\"");
        assert_snapshot!(told(&apply(&db, &unlocked).await), @r#"
        ~ user "bob@acme.example" of "acme"
            status: locked → active
        "#);
    })
    .await;
}

#[tokio::test]
async fn another_issuer_knows_other_people() {
    with_database(async |db| {
        apply(&db, ACME).await;
        link(&db).await;
        let moved = ACME.replace("https://login.acme.example", "https://sso.acme.example");
        assert_snapshot!(told(&apply(&db, &moved).await), @r#"
        ~ provider "sso" of "acme"
            name: "login.acme.example" → "sso.acme.example"
            issuer: "https://login.acme.example" → "https://sso.acme.example"
            linked accounts: 1 → none, since a subject of another issuer is another person
        ~ user "bob@acme.example" of "acme"
            status: active → invited
        "#);
        assert_eq!(db.text("SELECT count(*)::text FROM identity").await, "0");
        assert_eq!(told(&apply(&db, &moved).await), "");
    })
    .await;
}

/// Bob accepts his invitation through the provider.
async fn link(db: &super::Database) {
    db.execute(
        "INSERT INTO identity (id, user_id, provider_id, subject, created_at, last_sign_in_at)
         SELECT gen_random_uuid(), u.id, p.id, 'b-1', now(), now()
         FROM app_user u, provider p WHERE u.email = 'bob@acme.example' AND p.slug = 'sso'",
    )
    .await;
    db.execute("UPDATE app_user SET status = 'active', email_verified = true WHERE email = 'bob@acme.example'").await;
}
