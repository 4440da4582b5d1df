//! `countersign doctor` beside a live installation: all is well, and then each kind of trouble is made for real.

#![expect(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on has failed")]

mod front;
#[path = "../support/ports.rs"]
mod ports;
mod scene;

use axum::http::StatusCode;
use chrono::{TimeDelta, Utc};
use countersign::cli::doctor::{self, Finding, Outcome};
use countersign::clock::Clock;
use countersign::config::Config;
use insta::assert_snapshot;
use serde_json::Value;
use sqlx::Executor as _;

use front::{Ca, Front, Habits, Now as _};
use ports::free_port;
use scene::Scene;

/// What depends on the machine that runs the tests.
const OF_THE_MACHINE: [&str; 2] = ["open files", "disk"];

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_installation_is_well_in_every_respect() {
    let scene = Scene::start().await;
    let said = scene.doctor_with(&["--json"], &[]).await;
    let report: Value = serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text));
    let findings: Vec<&Value> = report["findings"].as_array().unwrap().iter().collect();
    for finding in &findings {
        let machine = OF_THE_MACHINE.iter().any(|check| finding["check"] == *check);
        assert!(machine || finding["outcome"] == "ok", "{finding}");
        assert_eq!(finding["mend"].is_null(), finding["outcome"] == "ok", "{finding}");
    }
    assert_eq!((said.code, &report["failures"]), (0, &Value::from(0)));
    let text = scene.doctor().await;
    let until = (Utc::now_of_the_tests() + TimeDelta::days(60)).format("%Y-%m-%d").to_string();
    let due = (Utc::now_of_the_tests() + TimeDelta::days(90)).format("%Y-%m-%d").to_string();
    let version = text.of("database version").split_once("PostgreSQL ").unwrap().1.to_owned();
    let steady: Vec<String> = text
        .text
        .lines()
        .filter(|line| {
            line.starts_with("ok ") && !line.contains("ok       open files") && !line.contains("ok       disk")
        })
        .map(|line| line.replace(&until, "UNTIL").replace("(60 days)", "(DAYS)").replace("(59 days)", "(DAYS)"))
        .map(|line| line.replace(&due, "DUE").replace(&version, "VERSION"))
        .collect();
    assert_snapshot!(steady.join("\n"), @r#"
    ok       configuration: it can be used
    ok       trusted proxies: X-Forwarded-For counts from 1 network
    ok       issuer name: localhost has an address, and answers on port FRONT
    ok       issuer certificate: it is valid until UNTIL (DAYS)
    ok       issuer metadata: it names public_url as its issuer
    ok       issuer HSTS: browsers are told to come by HTTPS only
    ok       issuer clock: it agrees with that of the issuer
    ok       issuer host: the server is told the name of public_url
    ok       forwarded headers: a name that a client makes up is not believed
    ok       installation secret: it is in the data directory
    ok       database: it can be reached
    ok       database version: PostgreSQL VERSION
    ok       database clock: it agrees with that of PostgreSQL
    ok       database durability: what is committed is on disk (synchronous_commit = on)
    ok       database migrations: every one of this program's is made
    ok       database role: the server's role can't change the audit
    ok       signing keys: they can be opened, and each algorithm has one
    ok       key rotation: the next keys are due on DUE
    ok       provider acme/sso: it answers, as what it is configured
    ok       webhook acme at localhost:HOOK: it can be reached; nothing was sent
    ok       mail: the mail server takes this program; nothing was sent
    ok       telemetry: the server at 127.0.0.1:TELEMETRY says that it is ready
    "#);
    // Nothing was sent, and nothing is, unless somebody asks for it.
    let told = scene.mail.told.lock().unwrap().clone();
    assert!(
        told.iter().any(|line| line.starts_with("EHLO")) && told.iter().all(|line| !line.starts_with("MAIL")),
        "{told:?}"
    );
    let said = scene.doctor_with(&["--send-mail-to", "ada@acme.example"], &[]).await;
    assert_snapshot!(said.of("test mail"), @"ok       test mail: the mail server took a mail to ada@acme.example: look whether it arrives, and not as spam");
    let told = scene.mail.told.lock().unwrap().join("\n");
    assert!(told.contains("RCPT TO:<ada@acme.example>") && told.contains("Subject: Mails of localhost:"), "{told}");
    let said = scene.doctor_with(&["--send-mail-to", "nobody"], &[]).await;
    assert!(said.code == 1 && said.of("test mail").contains("that is no address"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_issuer_is_found() {
    let scene = Scene::start().await;
    let now = Utc::now_of_the_tests();
    scene.front.shows(&scene.ca, "localhost", now - TimeDelta::days(1));
    let said = scene.doctor().await;
    assert_eq!(said.code, 1);
    assert_snapshot!(said.of("issuer certificate"), @r#"
    FAILURE  issuer certificate: the certificate of localhost has run out
             → renew it, and have what answers there load the new one (certbot renew, and reload)
    "#);
    assert_snapshot!(said.of("issuer metadata"), @"skipped  issuer metadata: the issuer's TLS can't be trusted");
    scene.front.shows(&scene.ca, "localhost", now + TimeDelta::days(5));
    let said = scene.doctor().await;
    let warned = said.of("issuer certificate");
    assert!(said.code == 0 && warned.starts_with("warning  issuer certificate: it is valid until "), "{warned}");
    assert_snapshot!(warned.lines().last().unwrap(), @"         → renew it now, and look why nothing renewed it by itself");
    scene.front.shows(&scene.ca, "other.acme.example", now + TimeDelta::days(60));
    assert_snapshot!(scene.doctor().await.of("issuer certificate"), @r#"
    FAILURE  issuer certificate: the certificate of localhost is that of another name
             → use a certificate that has this name
    "#);
    let other_ca = Ca::write(&scene.directory.path().join("other-ca.pem"));
    scene.front.shows(&other_ca, "localhost", now + TimeDelta::days(60));
    assert_snapshot!(scene.doctor().await.of("issuer certificate"), @r#"
    FAILURE  issuer certificate: the certificate of localhost can't be trusted
             → use one of a public CA, with its whole chain
    "#);
    scene.front.shows(&scene.ca, "localhost", now + TimeDelta::days(60));

    scene.front.does(Habits { mute: true, ..Habits::default() });
    assert_snapshot!(scene.doctor().await.of("issuer certificate"), @r#"
    FAILURE  issuer certificate: the TLS handshake with localhost failed
             → look at what listens there: it speaks no TLS 1.2 or 1.3
    "#);
    scene.front.does(Habits { date: Some(Utc::now_of_the_tests() - TimeDelta::seconds(630)), ..Habits::default() });
    let said = scene.doctor().await;
    let clock = said.of("issuer clock");
    assert!(clock.starts_with("FAILURE  issuer clock: this machine's clock is 10m"), "{clock}");
    assert_snapshot!(clock.lines().last().unwrap(), @"         → have one time service set both clocks (chrony, systemd-timesyncd: timedatectl set-ntp true), here and where the issuer runs");
    scene.front.does(Habits { no_server: true, ..Habits::default() });
    assert_snapshot!(scene.doctor().await.of("issuer metadata"), @r#"
    FAILURE  issuer metadata: its metadata is answered with 502 Bad Gateway
             → start countersign serve, and have what is in front pass requests to it (listen is 127.0.0.1:LISTEN); its log says why it is not ready
    "#);
    scene.front.does(Habits { other_host: true, ..Habits::default() });
    assert_snapshot!(scene.doctor().await.of("issuer host"), @r#"
    FAILURE  issuer host: the server is told another name than that of public_url, and gives out no pages
             → have what is in front pass on the header Host as it came, or set X-Forwarded-Host, and list its address in trusted_proxies
    "#);
    scene.front.does(Habits { passes_on: true, ..Habits::default() });
    assert_snapshot!(scene.doctor().await.of("forwarded headers"), @r#"
    warning  forwarded headers: what is in front passes on X-Forwarded-Host as a client made it up, and the server believes it
             → have it set X-Forwarded-Host and X-Forwarded-For itself, or remove them from what comes in
    "#);
    scene.front.does(Habits::default());

    // Another name leads to the same server.
    let other = Front::start(&scene.ca, scene.listen).await;
    let url = format!("https://localhost:{}", other.port);
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_PUBLIC_URL", &url)]).await;
    assert_snapshot!(said.of("issuer metadata").replace(&other.port.to_string(), "OTHER"), @r#"
    FAILURE  issuer metadata: its metadata names the issuer https://localhost:FRONT, and public_url is https://localhost:OTHER
             → give server and doctor the same public_url, and look whether this name leads to another installation
    "#);
    let closed = format!("https://localhost:{}", free_port());
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_PUBLIC_URL", &closed)]).await;
    assert_snapshot!(said.of("issuer name").replace(closed.rsplit_once(':').unwrap().1, "CLOSED"), @r#"
    FAILURE  issuer name: localhost refuses connections on port CLOSED
             → start what listens there, and let this machine through to port CLOSED (firewall)
    "#);
    // A name that can't be (RFC 2606).
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_PUBLIC_URL", "https://login.invalid")]).await;
    let told = said.of("issuer name");
    assert!(
        told.starts_with("FAILURE  issuer name: ") && told.contains("login.invalid") && told.contains("→"),
        "{told}"
    );
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_TRUSTED_PROXIES", "")]).await;
    assert_snapshot!(said.of("trusted proxies"), @r#"
    warning  trusted proxies: trusted_proxies is empty, and something in front speaks TLS: its address counts as everybody's
             → list the address from which it connects, such as trusted_proxies = ["127.0.0.1/32"]
    "#);
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_TRUSTED_PROXIES", "0.0.0.0/0")]).await;
    assert_snapshot!(said.of("trusted proxies"), @r#"
    FAILURE  trusted proxies: trusted_proxies trusts every address: anybody can choose the address that is shown and limited
             → list only the networks of your own proxies
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_database_is_found() {
    let mut scene = Scene::start().await;
    let mut owner = scene.owner().await;
    owner.execute("ALTER ROLE countersign_server SET synchronous_commit = off").await.unwrap();
    assert_snapshot!(scene.doctor().await.of("database durability"), @r#"
    warning  database durability: synchronous_commit is off: what was answered last can be undone by a crash, so a code could be redeemed twice
             → synchronous_commit = on in postgresql.conf, and ALTER ROLE … RESET synchronous_commit where a role has its own
    "#);
    owner.execute("ALTER ROLE countersign_server RESET synchronous_commit").await.unwrap();
    let taken = "CREATE TABLE kept AS SELECT * FROM _sqlx_migrations ORDER BY version DESC LIMIT 1;
                 DELETE FROM _sqlx_migrations WHERE version = (SELECT version FROM kept)";
    owner.execute(sqlx::raw_sql(taken)).await.unwrap();
    let said = scene.doctor().await;
    assert_snapshot!(said.of("database migrations"), @r#"
    FAILURE  database migrations: 1 of this program's are not made
             → restart countersign serve with this version: it makes them at its start, as database.owner_url if that is set
    "#);
    assert_snapshot!(said.of("signing keys"), @"skipped  signing keys: the migrations have to be made first");
    owner.execute(sqlx::raw_sql("INSERT INTO _sqlx_migrations SELECT * FROM kept; DROP TABLE kept")).await.unwrap();
    owner.execute("UPDATE _sqlx_migrations SET version = version + 1000000000000 WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await.unwrap();
    assert!(
        scene.doctor().await.of("database migrations").starts_with("FAILURE  database migrations: 1 of this program's")
    );
    owner.execute("UPDATE _sqlx_migrations SET version = version - 1000000000000 WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await.unwrap();

    // As the role that owns everything.
    let url = std::fs::read_to_string(scene.directory.path().join("data/database-url")).unwrap();
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_DATABASE_URL", url.trim())]).await;
    assert_snapshot!(said.of("database role"), @r#"
    warning  database role: the server's role owns the audit and could rewrite it
             → make a second role and set database.owner_url (docs/operations.md, Two database roles)
    "#);
    let said =
        scene.doctor_with(&[], &[("COUNTERSIGN_SECRETS", "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnRlcjI=")]).await;
    let told = said.of("signing keys");
    assert!(
        told.starts_with("FAILURE  signing keys: ") && told.contains("can't be opened with the installation's secret"),
        "{told}"
    );
    assert_snapshot!(told.lines().last().unwrap(), @"         → give secrets the one that the database was made with, as a second one if need be (docs/operations.md, Rotating the secret)");
    assert_snapshot!(said.of("provider"), @r#"
    FAILURE  provider acme/sso: its client_secret can't be opened with the installation's secret
             → countersign apply its file again, or give secrets the one that it was sealed with
    "#);
    assert_snapshot!(said.of("webhook"), @r#"
    FAILURE  webhook acme at localhost:HOOK: its secret can't be opened with the installation's secret
             → countersign apply its file again, or give secrets the one that it was sealed with
    "#);

    // The same looks with a clock that is wrong, and one that stands half a year later.
    let config = Config::load(Some(&scene.directory.path().join("countersign.toml")), std::iter::empty()).unwrap();
    let at = async |ahead: TimeDelta| -> Vec<Finding> {
        doctor::examine(&config, &Clock::manual(Utc::now_of_the_tests() + ahead), None, |_| {}).await
    };
    let found =
        |findings: &[Finding], check: &str| findings.iter().find(|finding| finding.check == check).unwrap().to_string();
    let behind = at(TimeDelta::minutes(-5)).await;
    let told = found(&behind, "database clock");
    assert!(
        told.starts_with("FAILURE  database clock: this machine's clock is ")
            && told.contains("behind that of PostgreSQL"),
        "{told}"
    );
    assert_snapshot!(told.lines().last().unwrap(), @"         → have one time service set both clocks (chrony, systemd-timesyncd: timedatectl set-ntp true), here and where PostgreSQL runs");
    let later = at(TimeDelta::days(180)).await;
    let told = found(&later, "key rotation");
    assert!(told.starts_with("warning  key rotation: the next keys were due on "), "{told}");
    assert_snapshot!(told.lines().last().unwrap(), @"         → start countersign serve with this keys.rotation and look at its log, or countersign keys rotate");
    assert!(later.iter().any(|finding| finding.outcome == Outcome::Ok));

    drop(owner);
    scene.stop_server().await;
    let said = scene.doctor().await;
    assert_eq!(said.code, 1);
    let told = said.of("database:");
    assert!(told.starts_with("FAILURE  database: it can't be reached: "), "{told}");
    assert_snapshot!(told.lines().last().unwrap(), @"         → start countersign serve, which starts it; if it runs, look at its log and at postgres.log in data_dir");
    assert_snapshot!(said.of("key rotation"), @"skipped  key rotation: the database can't be reached");
    assert_snapshot!(said.of("telemetry"), @r#"
    FAILURE  telemetry: no server answers at 127.0.0.1:TELEMETRY
             → start countersign serve on this machine, with this telemetry.listen
    "#);
    let closed = free_port();
    let url = format!("postgres://u:hunter2@127.0.0.1:{closed}/countersign");
    let told = scene.doctor_with(&[], &[("COUNTERSIGN_DATABASE_URL", &url)]).await.of("database:");
    assert_snapshot!(told, @r#"
    FAILURE  database: it can't be reached: error communicating with database: Connection refused (os error 111)
             → start PostgreSQL, look at host and port of database.url, and let this machine through (firewall, listen_addresses)
    "#);
    let elsewhere = scene.directory.path().join("elsewhere").display().to_string();
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_DATA_DIR", &elsewhere)]).await;
    assert_snapshot!(said.of("database:"), @r#"
    FAILURE  database: the managed PostgreSQL was never started
             → start countersign serve, which starts it, and look at its log and at postgres.log in data_dir
    "#);
    assert_snapshot!(said.of("installation secret"), @r#"
    FAILURE  installation secret: there is none yet
             → start countersign serve once, which makes one, or give secrets; for a database that is in use, the one it was made with
    "#);
    assert!(!std::path::Path::new(&elsewhere).exists(), "nothing is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_what_is_outside_is_found() {
    let scene = Scene::start().await;
    scene.issuer.is_called("https://other.acme.example");
    assert_snapshot!(scene.doctor().await.of("provider"), @r#"
    FAILURE  provider acme/sso: the provider's settings don't work: the metadata of http://127.0.0.1:SSO names another issuer: write the issuer exactly as it does, trailing slash or not
             → correct issuer or api_url of this provider and countersign apply it
    "#);
    scene.issuer.is_called(&scene.issuer.url());
    scene.issuer.answers(StatusCode::NOT_FOUND);
    assert_snapshot!(scene.doctor().await.of("provider"), @r#"
    FAILURE  provider acme/sso: the provider's settings don't work: discovery at http://127.0.0.1:SSO answered 404 Not Found or something other than JSON: is that the issuer?
             → correct issuer or api_url of this provider and countersign apply it
    "#);
    scene.issuer.answers(StatusCode::BAD_GATEWAY);
    assert_snapshot!(scene.doctor().await.of("provider"), @r#"
    FAILURE  provider acme/sso: the provider at 127.0.0.1:SSO can't be reached: it answered 502 Bad Gateway
             → let this machine through to it (firewall, DNS), and look whether its certificate is one that this machine trusts
    "#);
    scene.issuer.answers(StatusCode::OK);
    let (code, told) = scene.apply("[[organization]]\nslug = \"bare\"").await;
    assert_eq!(code, 0, "{told}");
    assert_snapshot!(scene.doctor().await.of("provider bare"), @r#"
    warning  provider bare: it has none, and nobody can sign in to it
             → give it one and countersign apply it, or countersign provider create
    "#);
    let (code, told) = scene.apply("[[organization]]\nslug = \"bare\"\nstatus = \"suspended\"").await;
    assert_eq!(code, 0, "{told}");
    let said = scene.doctor().await;
    assert!(!said.text.contains("bare"), "nobody is to sign in to it: {}", said.text);

    scene.hook.shows(&scene.ca, "localhost", Utc::now_of_the_tests() - TimeDelta::days(1));
    assert_snapshot!(scene.doctor().await.of("webhook"), @r#"
    FAILURE  webhook acme at localhost:HOOK: the certificate of localhost has run out
             → renew it, and have what answers there load the new one (certbot renew, and reload)
    "#);
    scene.hook.does(Habits { mute: true, ..Habits::default() });
    assert_snapshot!(scene.doctor().await.of("webhook"), @r#"
    FAILURE  webhook acme at localhost:HOOK: the TLS handshake with localhost failed
             → look at what listens there: it speaks no TLS 1.2 or 1.3
    "#);

    let dead = format!("smtp://127.0.0.1:{}", free_port());
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_MAIL_SMTP", &dead)]).await;
    assert_eq!(said.code, 1);
    assert_snapshot!(said.of("mail"), @r#"
    FAILURE  mail: the mail server can't be reached
             → look at host and port of mail.smtp (smtps:// is 465, smtp:// is 587), and let this machine through (firewall)
    "#);
    *scene.mail.refuses_logins.lock().unwrap() = true;
    let with_login = format!("smtp://ada:hunter2@127.0.0.1:{}", scene.mail.port);
    assert_snapshot!(scene.doctor_with(&[], &[("COUNTERSIGN_MAIL_SMTP", &with_login)]).await.of("mail"), @r#"
    FAILURE  mail: the mail server answered 535
             → correct user and password in mail.smtp, percent-encoded (@ is %40)
    "#);
    // A certificate that only this test's CA vouches for: mails go to servers that everybody trusts.
    let tls = format!("smtps://localhost:{}", scene.front.port);
    assert_snapshot!(scene.doctor_with(&[], &[("COUNTERSIGN_MAIL_SMTP", &tls)]).await.of("mail"), @r#"
    FAILURE  mail: the mail server's TLS can't be trusted
             → give the mail server a certificate of a public CA with its name, and that name to mail.smtp
    "#);
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_TELEMETRY_LISTEN", &format!("127.0.0.1:{}", free_port()))]).await;
    assert_snapshot!(said.of("telemetry").lines().last().unwrap(), @"         → start countersign serve on this machine, with this telemetry.listen");

    let said = scene.doctor_with(&[], &[("COUNTERSIGN_GEO_DATABASE", "missing.mmdb")]).await;
    assert_snapshot!(said.of("configuration"), @r#"
    FAILURE  configuration: geo.database can't be used: missing.mmdb can't be read: No such file or directory (os error 2)
             → give geo.database a readable file in MaxMind's format, or leave it out
    "#);
    std::fs::write(scene.directory.path().join("open"), "smtp://127.0.0.1:1").unwrap();
    let said =
        scene.doctor_with(&[], &[("COUNTERSIGN_MAIL_SMTP_FILE", "open"), ("COUNTERSIGN_LISTEN", "everywhere")]).await;
    assert_eq!(said.code, 2, "a configuration that can't be used is another matter");
    assert_snapshot!(said.text, @r#"
    FAILURE  configuration: COUNTERSIGN_LISTEN: listen: it must be an IP address and a port; write it as in COUNTERSIGN_LISTEN=127.0.0.1:8080
             → countersign config check tells the same
    0 ok, 0 warnings, 1 failures, 0 skipped
    "#);
    let said = scene.doctor_with(&[], &[("COUNTERSIGN_MAIL_SMTP_FILE", "open")]).await;
    assert_snapshot!(said.of("secret file"), @r#"
    warning  secret file open: every account of this machine can read this file, which holds secrets
             → chmod o-r open
    "#);
}
