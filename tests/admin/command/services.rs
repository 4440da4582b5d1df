//! A service from its making to its end.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use super::{Person, app, steady};

#[tokio::test]
async fn an_owner_makes_a_service_looks_changes_and_deletes_it() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;

    let create = ["service", "create", "deploy", "--name", "Acme Deploy", "--scope", "ship=Ship your projects"];
    let made = owner.does(&[&create[..], &["--default-scope", "ship", "--set", "interval=7"]].concat()).await;
    assert_snapshot!(made, @r#"
    Made service deploy of acme.

      client_id      acme-deploy
      issuer         SERVER
      device login   SERVER/auth/device/code
      token          SERVER/auth/token

    Try it:

      countersign login SERVER --client-id acme-deploy
      curl -d client_id=acme-deploy SERVER/auth/device/code

    In the configuration of an OpenID or OAuth library:

      issuer = "SERVER"
      client_id = "acme-deploy"
      scope = "ship offline_access"
    "#);

    let list = owner.does(&["service", "list"]).await;
    assert_snapshot!(list, @"
    SLUG       NAME                        CLIENT ID       LOGIN  SECRET  SCOPES
    admin-cli  Countersign administration  acme-admin-cli  yes    no      admin:read admin:write
    cli        cli                         acme-cli        yes    no      read
    deploy     Acme Deploy                 acme-deploy     yes    no      ship
    spare      spare                       acme-spare      no     no
    ");

    let change = ["service", "update", "deploy", "--set", "code_lifetime=5m", "--name", "Deploy"];
    let changed = owner.does(&change).await;
    assert_snapshot!(steady(&changed), @"
    slug                   deploy
    name                   Deploy
    organization           acme
    client_id              acme-deploy
    confidential           no
    device_login           yes
    scopes                 ship  Ship your projects
    default_scopes         ship
    access_token_lifetime  15m
    activation_uri         –
    code_lifetime          5m
    created_at             TIME
    dpop                   optional
    factor                 –
    id                     ID
    id_token_algorithm     RS256
    interval               7
    max_age                –
    mfa                    –
    mfa_max_age            –
    prefill                yes
    proximity              warn
    refresh                offline_access
    refresh_absolute       90d
    refresh_idle           30d
    required_scopes        –
    resource_server        no
    resources              –
    trusted_networks       –
    verification           off
    verified               no
    ");

    // In a terminal it asks. No is no, and so is Ctrl-C.
    let mut terminal = owner.at_terminal(&["service", "delete", "deploy"], 120);
    let asked = terminal.shows("[y/N] ").await;
    assert_eq!(asked, format!("Delete service deploy of acme and sign its devices out? At {}. [y/N] ", app.issuer()));
    terminal.types("n");
    let (code, shown) = terminal.ends().await;
    assert_eq!((code, shown.lines().last()), (1, Some("Nothing was changed.")));
    let terminal = owner.at_terminal(&["service", "delete", "deploy"], 120);
    terminal.shows("[y/N] ").await;
    terminal.interrupts();
    assert_eq!(terminal.ends().await.0, 130);
    let (code, out, err) = owner.runs(&["service", "delete", "deploy"]).await;
    assert_eq!((code, out.as_str()), (2, ""), "a script is told what to say");
    assert!(err.contains("say --yes"), "{err}");
    assert_eq!(owner.reads(&["service", "show", "deploy"]).await["name"], "Deploy");

    let mut terminal = owner.at_terminal(&["service", "delete", "deploy"], 120);
    terminal.shows("[y/N] ").await;
    terminal.types("y");
    let (code, shown) = terminal.ends().await;
    assert_eq!((code, shown.lines().last()), (0, Some("Deleted service deploy of acme.")));
    let (code, _, err) = owner.runs(&["service", "show", "deploy"]).await;
    assert_eq!((code, err.as_str()), (4, "There is no service deploy of acme, or none that you may administer.\n"));
}

#[tokio::test]
async fn people_log_in_to_a_new_service_unless_something_else_is_said() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    for (slug, arguments, on) in [
        ("as-always", &[][..], true),
        ("set-off", &["--set", "device_login=false"], false),
        ("set-on", &["--set", "device_login=true"], true),
        ("as-the-api", &["--set", "device_login=null"], false),
        ("off", &["--no-device-login"], false),
        ("off-for-sure", &["--no-device-login", "--set", "device_login=true"], false),
    ] {
        let made = owner.reads(&[&["service", "create", slug], arguments].concat()).await;
        assert_eq!(made["device_login"], on, "{slug}: {made}");
    }
}

#[tokio::test]
async fn a_secret_is_told_once_and_taken_from_no_command_line() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let made = owner.does(&["service", "create", "agent", "--confidential"]).await;
    let secret = made.lines().find_map(|line| line.trim().strip_prefix("client_secret  ")).unwrap();
    let secret = secret.split(' ').next().unwrap();
    assert_eq!(secret.len(), 43, "{made}");
    assert!(made.contains("curl -u acme-agent -d ''") && !made.contains("countersign login"), "{made}");
    let asked = |secret: String| {
        let app = &app;
        async move {
            let form = [("client_id", "acme-agent"), ("client_secret", secret.as_str())];
            app.post("/auth/device/code", &form).await.status.as_u16()
        }
    };
    assert_eq!(asked(secret.to_owned()).await, 200, "it is the secret");
    assert!(!owner.does(&["service", "show", "agent"]).await.contains(secret));

    let (code, _, err) = owner.runs(&["service", "rotate-secret", "agent"]).await;
    assert_eq!(code, 2, "{err}");
    let other = owner.reads(&["service", "rotate-secret", "agent", "--yes"]).await;
    let other = other["client_secret"].as_str().unwrap().to_owned();
    assert_eq!((asked(secret.to_owned()).await, asked(other).await), (400, 200));

    let file = owner.home.path().join("secret");
    std::fs::write(&file, "a-secret-out-of-a-file-of-mine\n").unwrap();
    let update = ["service", "update", "agent", "--client-secret-file", file.to_str().unwrap()];
    let (code, _, err) = owner.runs(&update).await;
    assert!(code == 0 && err.contains("every account of this machine can read this file"), "{err}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    owner.does(&update).await;
    assert_eq!(asked("a-secret-out-of-a-file-of-mine".to_owned()).await, 200);

    // Typed in a terminal, it isn't shown.
    let mut terminal = owner.at_terminal(&["service", "update", "agent", "--client-secret-file", "-"], 120);
    terminal.shows("client secret: ").await;
    terminal.types("typed-by-somebody-who-knows-it");
    let (code, shown) = terminal.ends().await;
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("typed-by"), "{shown}");
    assert_eq!(asked("typed-by-somebody-who-knows-it".to_owned()).await, 200);

    let (code, _, err) =
        owner.runs(&["service", "update", "agent", "--set", "client_secret=on-the-command-line"]).await;
    assert_eq!(code, 2);
    assert!(err.contains("a secret doesn't belong on the command line"), "{err}");
}

#[tokio::test]
async fn who_was_overtaken_is_told_so_and_what_to_do() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let seen = owner.does(&["service", "show", "cli", "--etag"]).await;
    owner.does(&["service", "update", "cli", "--name", "Somebody else's"]).await;
    let update = ["service", "update", "cli", "--name", "Mine", "--if-match", seen.trim().trim_matches('"')];
    let (code, out, err) = owner.runs(&update).await;
    assert_eq!((code, out.as_str()), (8, ""));
    assert_snapshot!(err, @"service cli of acme was changed meanwhile, and nothing was done to it now. See how it is: countersign service show cli --org acme. If you still mean it, run this again.");
    let (code, out, err) = owner.runs(&[&update[..], &["--json"]].concat()).await;
    assert_eq!((code, err.as_str()), (8, ""));
    let problem: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&problem["status"], problem["type"].as_str().unwrap()), (&412.into(), "SERVER/api/v1#stale"));
    let delete = ["service", "delete", "cli", "--yes", "--if-match", seen.trim()];
    assert_eq!(owner.runs(&delete).await.0, 8);
    // Without its quotation marks one of 64 looks like an option.
    let webhook = "0190163d-8694-739b-aea5-966c26f8ad91";
    for (command, expected) in [
        (&["service", "update", "cli", "--name", "Mine"][..], 8),
        (&["service", "delete", "cli", "--yes"], 8),
        (&["user", "update", "owner@acme.example", "--name", "Mine"], 8),
        (&["provider", "update", "password", "--name", "Mine"], 8),
        (&["org", "update", "acme", "--name", "Mine"], 8),
        (&["webhook", "update", webhook, "--event", "approved"], 4),
    ] {
        let (code, _, err) = owner.runs(&[command, &["--if-match", "-A8"]].concat()).await;
        assert_eq!(code, expected, "{command:?} {err}");
    }
    assert_eq!(owner.reads(&["service", "show", "cli"]).await["name"], "Somebody else's");
    owner.does(&["service", "update", "cli", "--name", "Mine", "--if-match", "*"]).await;
}

#[tokio::test]
async fn lists_go_over_all_pages_and_as_far_as_is_wanted() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let people: String = (0..230)
        .map(|number| format!("[[organization.user]]\nemail = \"crowd-{number}@acme.example\"\n"))
        .collect::<Vec<_>>()
        .concat();
    app.apply(&format!("[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n{people}")).await;
    let all = owner.reads(&["user", "list"]).await;
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next"]), (234, &serde_json::Value::Null));
    let some = owner.reads(&["user", "list", "--limit", "120"]).await;
    assert_eq!(some["items"].as_array().unwrap().len(), 120);
    assert!(some["next"].is_string());
    assert_eq!(some["items"].as_array().unwrap()[..], all["items"].as_array().unwrap()[..120]);
    let (code, out, err) = owner.runs(&["user", "list", "--limit", "3"]).await;
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 4, "These are the first 3; there are more.\n"));
}

#[tokio::test]
async fn what_does_not_hold_is_named() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let update = ["service", "update", "cli", "--set", "interval=0", "--set", "proximity=near", "--set", "colour=red"];
    let (code, out, err) = owner.runs(&update).await;
    assert_eq!((code, out.as_str()), (6, ""));
    assert_snapshot!(err, @r#"
    service cli of acme: nothing was changed.
      colour: unknown key "colour"
      interval: 0 must be between 1 and 255
      proximity: "near" is no proximity; it is one of off, warn, block
    "#);
    let (code, _, err) = owner.runs(&["service", "update", "cli"]).await;
    assert_eq!((code, err.as_str()), (2, "error: say what is to be changed; --help lists what can be\n"));
    let (code, _, err) = owner.runs(&["service", "create", "cli", "--name", "Another"]).await;
    assert_eq!(code, 9);
    assert_snapshot!(err, @"service cli of acme: There is a service with this slug, and it is another one than this says.");
    let (code, _, err) = owner.runs(&["service", "delete", "admin-cli", "--yes"]).await;
    assert_eq!(code, 9, "{err}");
}
