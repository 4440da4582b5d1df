//! Files that are applied from another machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use super::{Person, app};

const ACME: &str = "[[organization]]\nslug = \"acme\"\nmfa = \"off\"\n";

impl Person<'_> {
    /// Writes a file beside which the program runs.
    fn writes(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn an_owner_applies_a_file_from_their_machine() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    owner.writes("agent.secret", "a-secret-of-an-agent-of-acme\n");
    owner.writes(
        "acme.toml",
        &format!(
            "{ACME}[[organization.service]]\nslug = \"agent\"\ndevice_login = true\nclient_secret = {{ file = \"agent.secret\" }}\n\
             [[organization.user]]\nemail = \"bea@acme.example\"\npassword = {{ env = \"BOB_PASSWORD\" }}\n"
        ),
    );
    let dry = owner.does(&["apply", "acme.toml", "--dry-run", "--server"]).await;
    assert_snapshot!(dry, @r#"
    + service "agent" of "acme"
        client_id: "acme-agent"
        device_login: true
        client_secret: set
    + user "bea@acme.example" of "acme"
        status: active
        password: set
    2 would be created, 0 changed, 0 deleted
    "#);
    let (code, _, err) = owner.runs(&["service", "show", "agent"]).await;
    assert_eq!(code, 4, "{err}");
    // The server may be named, before the files or after them.
    let applied = owner.does(&["apply", "--server", app.issuer(), "acme.toml"]).await;
    assert_eq!(applied, dry.replace("would be", "were"));
    let form = [("client_id", "acme-agent"), ("client_secret", "a-secret-of-an-agent-of-acme")];
    assert_eq!(app.post("/auth/device/code", &form).await.status.as_u16(), 200);
    assert_eq!(owner.does(&["apply", "acme.toml", "--server", app.issuer()]).await, "nothing to change\n");

    owner.writes("less.toml", &format!("{ACME}[[organization.service]]\nslug = \"cli\"\ninterval = 9\n"));
    let changed = owner.reads(&["apply", "less.toml", "--server"]).await;
    assert_eq!((&changed["dry_run"], &changed["changes"][0]["action"]), (&false.into(), &"changed".into()));

    // The platform's owners apply what is about several.
    let platform = Person::logged_in(&app, "owner@platform.example").await;
    platform.writes("acme.toml", ACME);
    platform.writes("third.toml", "[[organization]]\nslug = \"third\"\n");
    let made = platform.does(&["apply", "--server", app.issuer(), "acme.toml", "third.toml"]).await;
    assert_eq!(made, "+ organization \"third\"\n1 were created, 0 changed, 0 deleted\n");
}

#[tokio::test]
async fn what_stands_against_it_is_told_as_elsewhere() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    // Seen here, before anybody is asked.
    owner.writes("wrong.toml", &format!("{ACME}colour = \"red\"\n[[organization.user]]\nemail = \"b@acme.example\"\npassword = {{ env = \"NOT_SET\" }}\n"));
    let (code, out, err) = owner.runs(&["apply", "wrong.toml", "--server"]).await;
    assert_eq!((code, out.as_str()), (6, ""));
    assert_snapshot!(err, @r#"
    wrong.toml:4: organization "acme": unknown key "colour"
    wrong.toml:7: organization "acme", user "b@acme.example": password: the environment variable NOT_SET is not set
    "#);
    let (code, out, _) = owner.runs(&["apply", "wrong.toml", "--server", "--json"]).await;
    assert!(code == 6 && out.starts_with(r#"{"error":"invalid","error_description":"wrong.toml:4: "#), "{out}");

    owner.writes("other.toml", "[[organization]]\nslug = \"other\"\n");
    let (code, _, err) = owner.runs(&["apply", "other.toml", "--server"]).await;
    assert_eq!(code, 3);
    assert_snapshot!(err, @r#"You may not do that to files. The files speak of the organization "other", which isn't yours: only owners of the organization platform make or change others."#);
    owner.writes("taken.toml", &format!("{ACME}[[organization.service]]\nslug = \"x\"\nclient_id = \"other-cli\"\n"));
    let (code, _, err) = owner.runs(&["apply", "taken.toml", "--server"]).await;
    assert_eq!(code, 9);
    assert_snapshot!(err, @r#"files: Another service has this client_id: "other-cli". Choose another one."#);

    owner.writes("acme.toml", ACME);
    let (code, _, err) = owner.runs(&["apply", "acme.toml", "--server", "--data-dir", "."]).await;
    assert_eq!(code, 2);
    assert_snapshot!(err, @"error: --server is for an installation somewhere else, --config and --data-dir for one on this machine");
    let (code, _, err) = owner.runs(&["apply", "--server", "acme.toml"]).await;
    assert!(code == 2 && err.contains("say it with http:// or https://"), "{err}");
    let (code, _, err) = owner.runs(&["apply", "acme.toml", "--json"]).await;
    assert!(code == 2 && err.contains("--server"), "{err}");
    let nobody = Person::new(&app);
    nobody.writes("acme.toml", ACME);
    let (code, _, err) = nobody.runs(&["apply", "acme.toml", "--server"]).await;
    assert_eq!(code, 7, "{err}");
}

#[tokio::test]
async fn who_applies_a_file_at_a_terminal_is_warned_of_a_secret_that_all_can_read() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    owner.writes("agent.secret", "a-secret-of-an-agent-of-acme\n");
    fs::set_permissions(owner.home.path().join("agent.secret"), Permissions::from_mode(0o644)).unwrap();
    owner.writes(
        "acme.toml",
        &format!("{ACME}[[organization.service]]\nslug = \"agent\"\nclient_secret = {{ file = \"agent.secret\" }}\n"),
    );
    let (code, shown) = owner.at_terminal(&["apply", "acme.toml", "--server"], 200).ends().await;
    assert_eq!(code, 0, "{shown}");
    assert!(shown.starts_with("warning: agent.secret: every account of this machine can read this file"), "{shown}");
    assert!(shown.contains("client_secret: set") && !shown.contains("a-secret-of"), "{shown}");
}
