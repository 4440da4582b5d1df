//! The configuration as whoever sets up a server meets it: files and variables go in, words come out.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a `countersign.toml`, of which nobody else can read a thing.
fn scene(toml: &str) -> TempDir {
    let scene = tempfile::tempdir().unwrap();
    write(&scene, "countersign.toml", 0o600, toml);
    scene
}

fn write(scene: &TempDir, name: &str, mode: u32, text: &str) {
    let path = scene.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs the program in the scene with these variables and no other; its exit code, and what it said on both streams.
fn run(scene: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(scene.path()).args(arguments).stdin(Stdio::null()).env_clear();
    let Output { status, stdout, stderr } = command.envs(environment.iter().copied()).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

/// What is said of a configuration that can't be used. `serve` says the same as `config check`, and nothing is begun.
fn told(scene: &TempDir, environment: &[(&str, &str)]) -> String {
    let (code, _, of_check) = run(scene, &["config", "check"], environment);
    assert_eq!(code, 1, "{of_check}");
    for other in [&["serve"][..], &["config", "show"], &["config", "show", "--json"]] {
        assert_eq!(run(scene, other, environment), (1, String::new(), of_check.clone()), "{other:?}");
    }
    of_check
}

const URL: (&str, &str) = ("COUNTERSIGN_PUBLIC_URL", "https://login.acme.example");

#[test]
fn every_fault_is_told_at_once_with_its_place_and_what_to_do() {
    let scene = scene(
        r#"
public_url = "http://login.acme.example"
listem = "127.0.0.1:8080"
rotation = "90d"
data_dir = 3
drain = "2h"

[databse]
url = "postgres://db/countersign"

[database]
max_connections = "hunter2"
owner_url = "postgres://owner:hunter2@db/countersign"

[log]
format = "xml"

[limits]
requests_per_client = -1
"#,
    );
    let environment = [
        ("COUNTERSIGN_TRUSTED_PROXIES", "10.0.0.0/8,hunter2"),
        ("COUNTERSIGN_TELEMETRY_LISTENS", "127.0.0.1:9090"),
        ("COUNTERSIGN_MAIL_SMTP_FILE", "nowhere"),
        ("COUNTERSIGN_SECRETS", "aHVudGVyMg=="),
        ("COUNTERSIGN_SERVICE_HOST", "10.0.0.7"),
    ];
    let told = told(&scene, &environment);
    assert!(!told.contains("hunter2") && !told.contains("aHVudGVyMg"), "{told}");
    assert_snapshot!(told, @r#"
    countersign: the configuration has 15 faults
      countersign.toml:2: public_url: the public URL must be https:// (http:// is for loopback only); write it as in public_url = "https://login.acme.example"
      countersign.toml:3: listem: unknown key; did you mean listen?
      countersign.toml:4: rotation: unknown key; did you mean keys.rotation?
      countersign.toml:5: data_dir: it must be a path, and not a number; write it as in data_dir = "/var/lib/countersign"
      countersign.toml:6: drain: it must be an hour ("1h") at most; write it as in drain = "15s"
      countersign.toml:8: databse: unknown section; did you mean database?
      countersign.toml:12: database.max_connections: it must be a whole number from 1 to 4294967295, and not text; write it as in database.max_connections = 10
      countersign.toml:13: database.owner_url: it is set without database.url, which the server itself uses; set database.url too
      countersign.toml:16: log.format: it must be "text" or "json"; write it as in log.format = "text"
      countersign.toml:19: limits.requests_per_client: it must be a whole number from 0 to 4294967295; write it as in limits.requests_per_client = 10000
      COUNTERSIGN_MAIL_SMTP_FILE: mail.smtp: the file can't be read: No such file or directory (os error 2); the variable must hold the path of a file with the value
      COUNTERSIGN_SECRETS: secrets: secrets[0] can't be used: it is shorter than 32 bytes; write it as in COUNTERSIGN_SECRETS=base64 of at least 32 bytes
      COUNTERSIGN_SERVICE_HOST: this environment variable names no setting; Kubernetes invents it for a Service named countersign: set enableServiceLinks: false in the pod
      COUNTERSIGN_TELEMETRY_LISTENS: this environment variable names no setting; did you mean COUNTERSIGN_TELEMETRY_LISTEN?
      COUNTERSIGN_TRUSTED_PROXIES: trusted_proxies: it must be a list of networks; write it as in COUNTERSIGN_TRUSTED_PROXIES=10.0.0.7/32,fd00::7/128
    "#);
}

#[test]
fn a_wrong_type_names_its_key_and_its_line() {
    for (line, said) in [
        (
            "listen = 8080",
            "countersign.toml:2: listen: it must be an IP address and a port, and not a number; write it as in listen = \"127.0.0.1:8080\"",
        ),
        (
            "drain = 15",
            "countersign.toml:2: drain: it must be a time span, and not a number; write it as in drain = \"15s\"",
        ),
        (
            "phishing.people = true",
            "countersign.toml:2: phishing.people: it must be a whole number from 0 to 4294967295, and not true or false; write it as in phishing.people = 5",
        ),
        (
            "secrets = \"x\"",
            "countersign.toml:2: secrets: it must be a list of text, and not text; write it as in secrets = [\"base64 of at least 32 bytes\"]",
        ),
        (
            "trusted_proxies = [\"10.0.0.0/8\", 1]",
            "countersign.toml:2: trusted_proxies: it must be a list of networks, each of them text; write it as in trusted_proxies = [\"10.0.0.7/32\", \"fd00::7/128\"]",
        ),
        (
            "log = \"json\"",
            "countersign.toml:2: log: it must be a section, and not text; write [log] in a line of its own, and its settings below",
        ),
        ("listen = [", "countersign.toml:2: this is not TOML: "),
    ] {
        let told = told(&scene(&format!("public_url = \"https://a.example\"\n{line}")), &[]);
        assert!(told.starts_with(&format!("countersign: {said}")), "{told}");
    }
}

#[test]
fn what_does_not_go_together_is_told() {
    for (text, said) in [
        (
            "telemetry.listen = \"127.0.0.1:8080\"",
            "countersign.toml:2: telemetry.listen: it must have an address or a port of its own",
        ),
        (
            "database.owner_url = \"postgres://db/x\"",
            "countersign.toml:2: database.owner_url: it is set without database.url",
        ),
        (
            "database.listen_url = \"postgres://db/x\"",
            "countersign.toml:2: database.listen_url: it is set without database.url",
        ),
        ("mail.from = \"login@acme.example\"", "countersign.toml:2: mail.from: it is set without mail.smtp"),
        ("mail.smtp = \"smtp://localhost\"", "countersign.toml:2: mail.smtp: it is set without mail.from"),
    ] {
        let told = told(&scene(&format!("public_url = \"https://a.example\"\n{text}")), &[]);
        assert!(told.starts_with(&format!("countersign: {said}")) && told.contains("; "), "{told}");
    }
    let both = scene("");
    write(&both, "url", 0o600, URL.1);
    let told = told(&both, &[URL, ("COUNTERSIGN_PUBLIC_URL_FILE", "url")]);
    assert_snapshot!(told, @"countersign: COUNTERSIGN_PUBLIC_URL_FILE (url): public_url: COUNTERSIGN_PUBLIC_URL is set as well; set one of them, not both");
}

#[test]
fn what_is_missing_is_told_with_the_line_to_write() {
    assert_snapshot!(told(&scene("listen = \"127.0.0.1:8080\""), &[]), @r#"countersign: public_url: it is needed, and set nowhere; write public_url = "https://login.acme.example" in countersign.toml, or set COUNTERSIGN_PUBLIC_URL"#);
    // A file that can't be read says nothing of what is missing in it.
    assert_snapshot!(told(&scene(""), &[("COUNTERSIGN_CONFIG", "other.toml")]), @"countersign: other.toml: it can't be read: No such file or directory (os error 2)");
}

#[test]
fn a_check_says_what_it_looked_at_and_warns_of_secrets_that_everybody_can_read() {
    let scene = scene("public_url = \"https://login.acme.example\"\n[mail]\nfrom = \"login@acme.example\"\n");
    write(&scene, "smtp", 0o644, "smtps://u:hunter2@mail.acme.example\n");
    write(&scene, "url", 0o640, "postgres://u:hunter2@db/countersign");
    let environment = [("COUNTERSIGN_MAIL_SMTP_FILE", "smtp"), ("COUNTERSIGN_DATABASE_URL_FILE", "url")];
    let (code, stdout, stderr) = run(&scene, &["config", "check"], &environment);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_snapshot!(stdout, @r#"
    countersign.toml: 2 settings
    environment: 2 settings
    defaults: 25 settings
    warning: smtp: every account of this machine can read this file, which holds secrets: chmod o-r
    the configuration can be used
    "#);

    write(&scene, "smtp", 0o600, "ftp://u:hunter2@mail.acme.example\n");
    let (code, _, stderr) = run(&scene, &["config", "check"], &environment);
    assert!(code == 1 && stderr.contains("mail.smtp begins with smtps://") && !stderr.contains("hunter2"), "{stderr}");
    let (code, _, stderr) = run(
        &scene,
        &["config", "check"],
        &[("COUNTERSIGN_GEO_DATABASE", "none.mmdb"), ("COUNTERSIGN_MAIL_SMTP", "smtp://localhost")],
    );
    assert!(code == 1 && stderr.contains("geo.database can't be used: none.mmdb can't be read"), "{stderr}");
}

#[test]
fn show_tells_each_value_and_where_it_comes_from_and_masks_secrets() {
    let scene = scene("public_url = \"https://login.acme.example\"\n\n[limits]\nrequests_per_client = 7\n");
    write(&scene, "url", 0o600, "postgres://u:hunter2@db/countersign");
    let environment = [
        ("COUNTERSIGN_DATABASE_URL_FILE", "url"),
        ("COUNTERSIGN_LIMITS_REQUESTS_PER_CLIENT", "8"),
        ("COUNTERSIGN_SECRETS", "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnRlcjI="),
        ("COUNTERSIGN_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
    ];
    let (code, stdout, stderr) = run(&scene, &["config", "show"], &environment);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(!stdout.contains("hunter2") && !stdout.contains("aHVudGVy"), "{stdout}");
    assert_snapshot!(stdout, @r#"
    public_url                     "https://login.acme.example"  countersign.toml:1
    listen                         "127.0.0.1:8080"              default
    drain                          "15s"                         default
    data_dir                       "/var/lib/countersign"        default
    secrets                        (secret)                      COUNTERSIGN_SECRETS
    trusted_proxies                ["10.0.0.0/8", "fd00::/8"]    COUNTERSIGN_TRUSTED_PROXIES
    database.url                   (secret)                      COUNTERSIGN_DATABASE_URL_FILE (url)
    database.owner_url             none                          default
    database.listen_url            as database.url               default
    database.max_connections       10                            default
    keys.rotation                  "90d"                         default
    geo.database                   none                          default
    phishing.people                5                             default
    phishing.within                "1h"                          default
    limits.requests_per_address    300                           default
    limits.requests_per_client     8                             COUNTERSIGN_LIMITS_REQUESTS_PER_CLIENT
    limits.live_codes_per_address  500                           default
    limits.live_codes_per_client   100000                        default
    retention.grants               "7d"                          default
    retention.sessions             "90d"                         default
    retention.audit                for ever                      default
    mail.smtp                      none                          default
    mail.from                      none                          default
    outbound.allow                 []                            default
    log.format                     "text"                        default
    log.filter                     "info"                        default
    telemetry.listen               none                          default
    tls.certificate                none                          default
    tls.key                        none                          default
    "#);

    let (code, stdout, _) = run(&scene, &["config", "show", "--json"], &environment);
    assert!(code == 0 && !stdout.contains("hunter2") && !stdout.contains("aHVudGVy"), "{stdout}");
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    let of = |key: &str| shown.as_array().unwrap().iter().find(|shown| shown["key"] == key).unwrap().to_string();
    let all =
        ["public_url", "listen", "database.url", "database.owner_url", "limits.requests_per_client"].map(of).join("\n");
    assert_snapshot!(all, @r#"
    {"key":"public_url","origin":{"file":"countersign.toml","from":"file","line":1},"secret":false,"set":true,"value":"https://login.acme.example"}
    {"key":"listen","origin":{"from":"default"},"secret":false,"set":false,"value":"127.0.0.1:8080"}
    {"key":"database.url","origin":{"file":"url","from":"environment_file","variable":"COUNTERSIGN_DATABASE_URL_FILE"},"secret":true,"set":true,"value":null}
    {"key":"database.owner_url","origin":{"from":"default"},"secret":true,"set":false,"value":null}
    {"key":"limits.requests_per_client","origin":{"from":"environment","variable":"COUNTERSIGN_LIMITS_REQUESTS_PER_CLIENT"},"secret":false,"set":true,"value":8}
    "#);
}

#[test]
fn the_schema_is_printed_for_editors() {
    let (code, stdout, stderr) = run(&scene("nonsense"), &["config", "schema"], &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_snapshot!(format!("{:#}", schema["properties"]["keys"]), @r#"
    {
      "additionalProperties": false,
      "properties": {
        "rotation": {
          "default": "90d",
          "description": "How long a signing key signs before the next one does. In the environment: COUNTERSIGN_KEYS_ROTATION",
          "examples": [
            "90d"
          ],
          "pattern": "^(0|([0-9]+ *[A-Za-zµ]+ *)+)$",
          "type": "string"
        }
      },
      "type": "object"
    }
    "#);
}

#[test]
fn usage_that_is_wrong_is_told_with_another_exit_code() {
    let (code, _, stderr) = run(&scene(""), &["config", "guess"], &[]);
    assert!(code == 2 && stderr.contains("Usage: countersign config"), "{stderr}");
}
