//! `countersign audit`, its lines in other hands, and commands with a role of the server's own.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use countersign::postgres::managed::{Managed, Options};
use countersign::postgres::{self, PgPool};
use countersign::secrets::{InstallationSecret, Random};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Audit;
use super::roles::empty_database;
use crate::flows::commands::{Running, countersign, directory, run};
use crate::support::app::{ACME, secret_of_all};

fn url(options: &PgConnectOptions) -> String {
    let mut url = url::Url::parse("postgres://localhost").unwrap();
    url.set_username(options.get_username()).unwrap();
    url.set_path(options.get_database().unwrap());
    url.query_pairs_mut().append_pair("host", options.get_socket().unwrap().to_str().unwrap());
    url.set_port(Some(options.get_port())).unwrap();
    url.into()
}

/// What a server says at its start whose role could rewrite the audit.
const WARNING: &str = "set database.owner_url";

/// The command on this database, as this role.
fn on(scene: &Path, pool: &PgPool, arguments: &[&str]) -> Command {
    let mut command = countersign(scene, arguments);
    command
        .env("COUNTERSIGN_PUBLIC_URL", "http://localhost:8080")
        .env("COUNTERSIGN_SECRETS", secret_of_all().encode().expose())
        .env("COUNTERSIGN_DATABASE_URL", url(&pool.connect_options()));
    command
}

/// What the program in the documentation says of these lines, and its exit code.
async fn checked_by_the_documented_program(scene: &Path, lines: &str) -> (i32, String) {
    let documentation = fs::read_to_string("docs/audit.md").unwrap();
    let program = scene.join("check.py");
    fs::write(&program, program_text(&documentation)).unwrap();
    let mut process =
        Command::new("python3").arg(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn program_text(documentation: &str) -> &str {
    documentation.split_once("```python\n").unwrap().1.split_once("```").unwrap().0
}

#[tokio::test]
async fn an_export_is_checked_by_anybody() {
    let scene = directory();
    let (audit, organization) = Audit::with(5).await;
    audit.append(None).await;
    let (code, lines, stderr) = run(&mut on(scene.path(), &audit.installation.pool, &["audit", "export"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let read: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), 6, "what was just appended is in it");
    assert!(read[0].get("organization_id").is_none());
    assert_eq!(read[1]["organization_id"], organization.to_string());
    assert_eq!((&read[5]["position"], &read[5]["detail"]["number"]), (&5.into(), &1.5.into()));
    assert_eq!(read[1]["previous_hash"], "0".repeat(64));
    assert!(read.windows(2).skip(1).all(|pair| pair[0]["hash"] == pair[1]["previous_hash"]));

    let (code, said) = checked_by_the_documented_program(scene.path(), &lines).await;
    let head = read[5]["hash"].as_str().unwrap();
    assert!(code == 0 && said.contains(&format!("{organization} 5:{head}")), "{said}");
    let altered = lines.replacen("quoted", "mended", 2);
    let (code, said) = checked_by_the_documented_program(scene.path(), &altered).await;
    assert!(code == 1 && said.contains("1 was altered"), "{said}");
    let shortened: String =
        lines.lines().enumerate().filter(|(number, _)| *number != 3).map(|(_, line)| line.to_owned() + "\n").collect();
    let (code, said) = checked_by_the_documented_program(scene.path(), &shortened).await;
    assert!(code == 1 && said.contains("4 doesn't follow"), "{said}");

    // And by the command itself, which needs no installation for it.
    let file = |text: &str| {
        let path = scene.path().join("export.jsonl");
        fs::write(&path, text).unwrap();
        countersign(scene.path(), &["audit", "verify", "--file", path.to_str().unwrap()])
    };
    let (code, said, _) = run(&mut file(&lines)).await;
    assert!(code == 0 && said.contains(&format!("{organization}: 5 events, ok, head 5:{head}")), "{said}");
    let (code, said, _) = run(&mut file(&altered)).await;
    assert!(code == 1 && said.contains("BROKEN at position 1: the event was altered"), "{said}");
    let (code, said, _) = run(&mut file(&shortened)).await;
    assert!(code == 1 && said.contains("BROKEN at position 3: event and link are missing"), "{said}");
    let (code, _, said) = run(&mut file("{\"position\":1}\n")).await;
    assert!(code == 1 && said.contains("export.jsonl:1: this is no line of countersign audit export"), "{said}");
}

#[tokio::test]
async fn verify_says_where_a_chain_ends_and_where_it_is_broken() {
    let scene = directory();
    let (audit, _) = Audit::with(4).await;
    let of_acme = "INSERT INTO organization (id, slug, name, created_at)
                   VALUES ('00000000-0000-0000-0000-000000000007', 'acme', 'Acme', now())";
    audit.tamper(of_acme).await;
    let pool = &audit.installation.pool;
    let (code, said, _) = run(&mut on(scene.path(), pool, &["audit", "verify"])).await;
    assert!(code == 0 && said.starts_with("acme: 4 events, ok, head 4:"), "{said}");
    let head = said.trim().rsplit_once(' ').unwrap().1.to_owned();
    let (code, said, _) =
        run(&mut on(scene.path(), pool, &["audit", "verify", "--org", "acme", "--head", &head])).await;
    assert_eq!(code, 0, "{said}");
    let (code, said, _) = run(&mut on(scene.path(), pool, &["audit", "verify", "--json"])).await;
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &json["ok"], &json["chains"][0]["organization"]), (0, &true.into(), &"acme".into()));
    assert_eq!(head, format!("4:{}", json["chains"][0]["head"]["hash"].as_str().unwrap()));

    let other = head.replacen("4:", "5:", 1);
    let (code, said, _) = run(&mut on(scene.path(), pool, &["audit", "verify", "--head", &other])).await;
    assert!(code == 1 && said.contains(&format!("LOST HEAD {other}")), "{said}");

    audit
        .tamper(
            "UPDATE audit_event SET kind = 'denied' WHERE id = (SELECT event_id FROM audit_link WHERE position = 2)",
        )
        .await;
    audit
        .tamper(
            "INSERT INTO audit_event (id, at, kind) VALUES (gen_random_uuid(), now() - interval '1 hour', 'approved')",
        )
        .await;
    let (code, said, _) = run(&mut on(scene.path(), pool, &["audit", "verify"])).await;
    assert!(
        code == 1 && said.contains("acme: 4 events, BROKEN at position 2: the event was altered (event "),
        "{said}"
    );
    assert!(said.contains("(no organization): UNLINKED: 1 event without a place"), "{said}");
    let (code, said, _) = run(&mut on(scene.path(), pool, &["audit", "verify", "--json"])).await;
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["unlinked"][0]["events"], 1, "and it was left so: {json}");
    let broken = &json["chains"][0]["broken"];
    assert_eq!((code, &broken["position"], &broken["fault"]), (1, &2.into(), &"altered_event".into()), "{json}");
}

#[tokio::test]
async fn exports_are_of_the_time_and_the_organization_that_were_asked_for() {
    let scene = directory();
    let audit = Audit::new().await;
    let events = "INSERT INTO audit_event (id, at, kind, organization_id) SELECT gen_random_uuid(), at::timestamptz, 'approved', organization
        FROM (VALUES ('2026-11-01T12:00:00.5Z', '00000000-0000-0000-0000-000000000007'::uuid), ('2026-11-02', NULL), ('2026-11-03', NULL)) x(at, organization);
        INSERT INTO organization (id, slug, name, created_at) VALUES ('00000000-0000-0000-0000-000000000007', 'acme', 'Acme', now())";
    audit.tamper(events).await;
    audit.link().await;
    let export = async |arguments: &[&str]| {
        let arguments = [&["audit", "export"], arguments].concat();
        let (code, lines, stderr) = run(&mut on(scene.path(), &audit.installation.pool, &arguments)).await;
        let at = |line: &str| serde_json::from_str::<Value>(line).unwrap()["at"].as_str().unwrap().to_owned();
        (code, lines.lines().map(at).collect::<Vec<_>>(), stderr)
    };
    let (first, second, third) =
        ("2026-11-01T12:00:00.500000Z", "2026-11-02T00:00:00.000000Z", "2026-11-03T00:00:00.000000Z");
    assert_eq!(export(&["--since", "2026-11-02"]).await.1, [second, third]);
    assert_eq!(export(&["--since", "2026-11-02", "--until", "2026-11-03T00:00:00Z"]).await.1, [second]);
    assert_eq!(export(&["--until", "2026-11-01T13:00:00+01:00"]).await.1, Vec::<String>::new());
    assert_eq!(export(&["--org", "acme"]).await.1, [first]);
    for (arguments, told) in [
        (["--since", "yesterday"], "it is a time like 2026-11-25T12:00:00Z"),
        (["--org", "acne"], "there is no organization acne"),
    ] {
        let (code, lines, stderr) = export(&arguments).await;
        assert!(code > 0 && lines.is_empty() && stderr.contains(told), "{stderr}");
    }
}

#[tokio::test]
async fn no_command_gives_a_place_to_what_was_left_out() {
    let scene = directory();
    let (audit, _) = Audit::with(2).await;
    audit
        .tamper(
            "INSERT INTO audit_event (id, at, kind) VALUES (gen_random_uuid(), now() - interval '1 hour', 'approved')",
        )
        .await;
    for before in [&["audit", "verify"][..], &["keys", "list"], &["audit", "export"], &["keys", "rotate"]] {
        run(&mut on(scene.path(), &audit.installation.pool, before)).await;
        let (code, said, _) = run(&mut on(scene.path(), &audit.installation.pool, &["audit", "verify"])).await;
        assert!(code == 1 && said.contains("(no organization): UNLINKED: 1 event "), "after {before:?}: {said}");
    }
    let (_, said, _) = run(&mut on(scene.path(), &audit.installation.pool, &["audit", "verify"])).await;
    assert!(said.contains("(no organization): 1 event, ok"), "what the command itself did is linked: {said}");
}

#[tokio::test]
async fn an_export_of_a_time_follows_from_one_event_to_the_next_and_misses_none_that_is_gone() {
    let scene = directory();
    let audit = Audit::new().await;
    let events = "INSERT INTO audit_event (id, at, kind) SELECT gen_random_uuid(), at::timestamptz, 'approved'
                  FROM (VALUES ('2026-11-01'), ('2026-11-02'), ('2026-11-06'), ('2026-11-03'), ('2026-11-07')) x(at)";
    audit.tamper(events).await;
    audit.link().await;
    let export = async || {
        let arguments = ["audit", "export", "--since", "2026-11-02", "--until", "2026-11-04"];
        run(&mut on(scene.path(), &audit.installation.pool, &arguments)).await
    };
    let (code, lines, stderr) = export().await;
    assert_eq!((code, lines.lines().count()), (0, 3), "{lines}{stderr}");
    let (code, said) = checked_by_the_documented_program(scene.path(), &lines).await;
    assert_eq!(code, 0, "{said}");
    audit.tamper("DELETE FROM audit_event WHERE at = '2026-11-02'").await;
    let (code, lines, stderr) = export().await;
    assert_eq!((code, lines.lines().count()), (1, 2), "{lines}");
    assert!(stderr.contains("1 of the events are missing"), "{stderr}");
}

#[tokio::test]
async fn an_export_says_what_it_waited_for() {
    let scene = directory();
    let (audit, _) = Audit::with(1).await;
    let mut hanging = audit.owner.acquire().await.unwrap();
    hanging.execute("SELECT pg_advisory_lock(hashtext('countersign audit chain'))").await.unwrap();
    let (code, _, stderr) = run(&mut on(scene.path(), &audit.installation.pool, &["audit", "export"])).await;
    assert!(code == 1 && stderr.contains("another node holds the turn"), "{stderr}");
}

#[tokio::test]
async fn an_export_that_nobody_reads_to_its_end_ends_quietly() {
    let scene = directory();
    let audit = Audit::new().await;
    audit.tamper("INSERT INTO audit_event (id, at, kind) SELECT gen_random_uuid(), now(), 'approved' FROM generate_series(1, 3000)").await;
    let mut command = on(scene.path(), &audit.installation.pool, &["audit", "export"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[tokio::test]
async fn serve_warns_of_a_role_that_owns_the_audit_and_takes_one_that_does_not() {
    let scene = directory();
    let owner = empty_database("served").await;
    let server = owner.clone().username("server_of_served");
    let serve = |server: &PgConnectOptions, owner: Option<&PgConnectOptions>| {
        let mut command = on(scene.path(), &postgres::pool(server.clone(), 1), &["serve"]);
        command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0").env("COUNTERSIGN_LOG_FORMAT", "json");
        if let Some(owner) = owner {
            command.env("COUNTERSIGN_DATABASE_OWNER_URL", url(owner));
        }
        Running::start_log(command)
    };
    let mut alone = serve(&owner, None);
    alone.says(WARNING).await;
    alone.says("\"ready\"").await;
    assert_eq!(alone.end(Signal::TERM).await, Some(0));

    // Upgraded to two roles: the second one is made.
    let mut two = serve(&server, Some(&owner));
    let said = two.says_at_last("\"ready\"").await;
    assert!(!said.iter().any(|line| line.contains(WARNING)), "{said:#?}");
    assert_eq!(two.end(Signal::TERM).await, Some(0));

    // The commands go with the server's role alone, and what they did is linked when they end.
    let pool = postgres::pool(server.clone(), 1);
    fs::write(scene.path().join("acme.toml"), ACME).unwrap();
    for arguments in [&["apply", "acme.toml"][..], &["keys", "rotate"], &["keys", "list"], &["audit", "verify"]] {
        let (code, stdout, stderr) = run(&mut on(scene.path(), &pool, arguments)).await;
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    }
    let unlinked = "SELECT count(*) FROM audit_event WHERE id NOT IN (SELECT event_id FROM audit_link)";
    assert_eq!(sqlx::query_scalar::<_, i64>(unlinked).fetch_one(&pool).await.unwrap(), 0);

    for (variable, complaint) in [
        ("COUNTERSIGN_DATABASE_OWNER_URL", "database.owner_url: it is set without database.url"),
        ("COUNTERSIGN_DATABASE_LISTEN_URL", "database.listen_url: it is set without database.url"),
    ] {
        let mut nonsense = countersign(scene.path(), &["keys", "list"]);
        nonsense.env("COUNTERSIGN_PUBLIC_URL", "http://localhost").env(variable, url(&owner));
        let (code, _, stderr) = run(&mut nonsense).await;
        assert!(code == 1 && stderr.contains(complaint), "{stderr}");
    }
}

#[tokio::test]
async fn serve_has_the_audit_kept_as_it_is_set_or_says_who_can() {
    let scene = directory();
    let owner = empty_database("kept").await;
    let server = owner.clone().username("server_of_kept");
    let serve = |server: &PgConnectOptions, owner: Option<&PgConnectOptions>, audit: Option<&str>| {
        let mut command = on(scene.path(), &postgres::pool(server.clone(), 1), &["serve"]);
        command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0").env("COUNTERSIGN_LOG_FORMAT", "json");
        if let Some(owner) = owner {
            command.env("COUNTERSIGN_DATABASE_OWNER_URL", url(owner));
        }
        if let Some(audit) = audit {
            command.env("COUNTERSIGN_RETENTION_AUDIT", audit);
        }
        Running::start_log(command)
    };
    let pool = postgres::pool(owner.clone(), 1);
    let days = async || -> Option<i32> {
        sqlx::query_scalar("SELECT days FROM audit_retention").fetch_one(&pool).await.unwrap()
    };
    let mut two = serve(&server, Some(&owner), Some("400d"));
    two.says("\"ready\"").await;
    assert_eq!((two.end(Signal::TERM).await, days().await), (Some(0), Some(400)));

    let mut server_alone = serve(&server, None, Some("200d"));
    server_alone.says("UPDATE audit_retention SET days = 200").await;
    server_alone.says("\"ready\"").await;
    assert_eq!((server_alone.end(Signal::TERM).await, days().await), (Some(0), Some(400)));

    let mut one = serve(&owner, None, None);
    one.says("\"ready\"").await;
    assert_eq!((one.end(Signal::TERM).await, days().await), (Some(0), None));
    let said = "SELECT detail->>'days' FROM audit_event WHERE detail->>'retention' = 'audit' ORDER BY sequence";
    let said: Vec<Option<String>> = sqlx::query_scalar(said).fetch_all(&pool).await.unwrap();
    assert_eq!(said, [Some("400".to_owned()), None]);
}

#[tokio::test]
async fn a_data_directory_with_one_role_gets_the_second() {
    let scene = directory();
    let data_dir = scene.path().join("data");
    let options = Options { data_dir: data_dir.clone(), durable: false, max_connections: 20 };
    let managed = Managed::start(options).await.unwrap();
    let mut conn = PgConnection::connect(&managed.url("postgres")).await.unwrap();
    conn.execute("CREATE DATABASE countersign").await.unwrap();
    conn.close().await.unwrap();
    let pool = postgres::pool(managed.connect_options("countersign"), 1);
    postgres::migrate(&pool, None).await.unwrap();
    pool.close().await;
    managed.stop().await.unwrap();
    let secret = InstallationSecret::generate(&Random::system()).encode();
    fs::write(data_dir.join("installation-secret"), secret.expose()).unwrap();

    let on_data_dir = |arguments: &[&str]| {
        countersign(scene.path(), &[arguments, &["--data-dir", data_dir.to_str().unwrap()]].concat())
    };
    let (code, _, stderr) = run(&mut on_data_dir(&["keys", "rotate"])).await;
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = run(&mut on_data_dir(&["audit", "verify"])).await;
    assert!(code == 0 && stdout.starts_with("(no organization): 1 event, ok, head 1:"), "{stdout}{stderr}");
}
