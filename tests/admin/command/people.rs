//! People, their devices, and logins in progress.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use super::{Person, app, app_with, steady};
use crate::support::mail_server::MailServer;
use crate::support::{Browser, Device};

#[tokio::test]
async fn somebody_is_invited_changed_locked_and_deleted() {
    let app = app().await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    let (code, out, err) = admin.runs(&["user", "invite", "bea@acme.example", "--name", "Bea"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_snapshot!(out, @"
    Invited bea@acme.example to acme as member.
    Once they can, they sign in with this address, here to see their devices:
      SERVER/account/acme
    They can't sign in yet: acme takes nothing but passwords, and they have none. Invite them anew, with a first one:
      countersign user delete bea@acme.example --org acme
      countersign user invite bea@acme.example --role member --password-file FILE --org acme
    Or give acme another provider:
      countersign provider create NAME --kind KIND --org acme
    ");
    let again = admin.does(&["user", "invite", "bea@acme.example", "--name", "Bea"]).await;
    assert!(again.starts_with("bea@acme.example is in acme already, just so: member, invited."), "{again}");

    let mut terminal = admin.at_terminal(&["user", "create", "cay@acme.example", "--password-file", "-"], 120);
    terminal.shows("password: ").await;
    terminal.types("cay's own password");
    let (code, shown) = terminal.ends().await;
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("the password that you gave") && !shown.contains("cay's own"), "{shown}");
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, "cay@acme.example", "cay's own password").await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, 200);

    let list = steady(&admin.does(&["user", "list"]).await);
    // Their order is that of ids, and so by chance where time stands still.
    let mut rows: Vec<&str> = list.lines().collect();
    rows[1..].sort_unstable();
    assert_snapshot!(rows.join("\n"), @"
    EMAIL                NAME    ROLE    STATUS   MFA  ID
    admin@acme.example   admin   admin   active   no   ID
    bea@acme.example     Bea     member  invited  no   ID
    cay@acme.example             member  active   no   ID
    member@acme.example  member  member  active   no   ID
    owner@acme.example   owner   owner   active   no   ID
    target@acme.example          member  active   no   ID
    ");
    let changed = admin.does(&["user", "update", "cay@acme.example", "--role", "admin", "--name", "Cay"]).await;
    assert!(changed.contains("role               admin\n"), "{changed}");
    let locked = admin.does(&["user", "lock", "cay@acme.example"]).await;
    assert_eq!(locked, "Locked user cay@acme.example of acme, and signed them out everywhere.\n");
    assert_eq!(admin.reads(&["user", "show", "cay@acme.example"]).await["status"], "locked");
    admin.does(&["user", "unlock", "cay@acme.example"]).await;
    let reset = admin.does(&["user", "reset-mfa", "cay@acme.example", "--yes"]).await;
    assert_eq!(reset, "user cay@acme.example of acme had no second factor. Devices signed out: 0.\n");
    let gone = admin.does(&["user", "delete", "cay@acme.example", "--yes"]).await;
    assert_eq!(gone, "Deleted user cay@acme.example of acme.\n");
    let (code, _, err) = admin.runs(&["user", "show", "cay@acme.example"]).await;
    assert_eq!(
        (code, err.as_str()),
        (4, "There is no user cay@acme.example of acme, or none that you may administer.\n")
    );

    // Above an admin's own role.
    let (code, _, err) = admin.runs(&["user", "update", "owner@acme.example", "--role", "member"]).await;
    assert_eq!(code, 3);
    assert_snapshot!(err, @"You may not do that to user owner@acme.example of acme. An owner is changed by owners only.");
}

#[tokio::test]
async fn whoever_is_invited_where_mails_are_sent_gets_one_unless_that_is_not_wanted() {
    let server = MailServer::start().await;
    let app = app_with(server.settings()).await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    let out = admin.does(&["user", "invite", "bea@acme.example"]).await;
    assert_snapshot!(out.lines().take(4).collect::<Vec<_>>().join("\n"), @"
    Invited bea@acme.example to acme as member.
    A mail was sent to bea@acme.example, which says where they sign in:
      SERVER/account/acme
    They can't sign in yet: acme takes nothing but passwords, and they have none. Invite them anew, with a first one:
    ");
    assert_eq!(admin.reads(&["user", "invite", "bea@acme.example", "--mail"]).await["mail_queued"], true);
    let quiet = admin.does(&["user", "invite", "cay@acme.example", "--no-mail"]).await;
    assert!(quiet.contains("they sign in with this address"), "{quiet}");
    // What was queued arrives; the admin is told of their own login besides.
    let to: Vec<String> = server.first(3).await.into_iter().flat_map(|mail| mail.to).collect();
    assert_eq!(to.iter().filter(|to| *to == "bea@acme.example").count(), 2, "{to:?}");
}

#[tokio::test]
async fn who_invites_is_told_whether_whom_they_invited_can_sign_in() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    let dead_end = owner.does(&["user", "invite", "bea@acme.example", "--role", "admin"]).await;
    assert!(dead_end.contains("They can't sign in yet: acme takes nothing but passwords"), "{dead_end}");
    // What it says to do is what helps.
    owner.does(&["user", "delete", "bea@acme.example", "--yes"]).await;
    let file = owner.home.path().join("first");
    std::fs::write(&file, "bea's own password").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with_password = ["--role", "admin", "--password-file", file.to_str().unwrap()];
    let helped = owner.does(&[&["user", "invite", "bea@acme.example"], &with_password[..]].concat()).await;
    assert!(!helped.contains("yet") && helped.contains("the password that you gave"), "{helped}");
    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, "bea@acme.example", "bea's own password").await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");

    let sso = ["provider", "create", "sso", "--kind", "oidc", "--issuer", "https://login.acme.example"];
    owner.does(&[&sso[..], &["--client-id", "countersign"]].concat()).await;
    let elsewhere = owner.does(&["user", "invite", "cay@acme.example"]).await;
    assert_snapshot!(elsewhere, @"
    Invited cay@acme.example to acme as member.
    They sign in with this address, here to see their devices:
      SERVER/account/acme
    ");
    // Where no passwords are taken, one is of no use.
    app.execute("DELETE FROM provider WHERE kind = 'password'").await;
    let useless = [&["user", "invite", "dee@acme.example"], &with_password[2..]].concat();
    let told = owner.does(&useless).await;
    assert!(told.ends_with("countersign provider create NAME --kind password --org acme\n"), "{told}");
    assert!(told.contains("Their password is of no use yet"), "{told}");
}

#[tokio::test]
async fn a_table_fits_its_terminal_and_is_plain_where_that_is_wanted() {
    let app = app().await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    let long = "Somebody whose name goes on and on and on and on and on";
    admin.does(&["user", "invite", "long@acme.example", "--name", long]).await;
    let (code, shown) = admin.at_terminal(&["user", "list"], 100).ends().await;
    assert_eq!(code, 0);
    let (bold, rest) = shown.split_once('\n').unwrap();
    assert!(bold.starts_with("\u{1b}[1mEMAIL ") && bold.ends_with("\u{1b}[0m"), "{bold:?}");
    assert!(rest.lines().all(|line| line.chars().count() <= 100) && rest.contains('…'), "{rest}");
    let mut command = admin.command(&["user", "list"]);
    command.env("NO_COLOR", "1");
    let (_, shown) = crate::support::Terminal::start(command, 100).ends().await;
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert!(admin.does(&["user", "list"]).await.contains(long), "a pipe takes it whole");
}

#[tokio::test]
async fn devices_are_seen_and_signed_out_and_logins_denied() {
    let app = app().await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    let (code, out, err) = admin.runs(&["grant", "list"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "There are none.\n"));

    let device = Device::ask_as(&app, "acme-cli", "read").await;
    let list = admin.does(&["grant", "list"]).await;
    assert!(list.contains("cli") && list.contains("pending"), "{list}");
    assert!(!list.contains(&device.user_code), "{list}");
    let grant = admin.reads(&["grant", "list"]).await["items"][0]["id"].as_str().unwrap().to_owned();
    let denied = admin.does(&["grant", "deny", &grant]).await;
    assert_eq!(denied, format!("Denied grant {grant} of acme.\n"));
    assert_eq!(device.poll_held().await.error(), "access_denied");
    let (code, _, err) = admin.runs(&["grant", "deny", &grant]).await;
    assert_eq!(code, 4, "{err}");

    let token = super::super::token_of(&app, "member@acme.example", "cli", "read").await;
    let list = admin.does(&["session", "list", "--user", "member@acme.example"]).await;
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("member@acme.example  cli"), "{list}");
    let sessions = admin.reads(&["session", "list", "--user", "member@acme.example"]).await;
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    let shown = admin.reads(&["session", "show", &session]).await;
    assert_eq!(shown, sessions["items"][0]);
    let ended = admin.does(&["session", "revoke", &session]).await;
    assert_eq!(ended, format!("Signed out: session {session} of acme.\n"));
    let (code, _, _) = admin.runs(&["session", "show", &session]).await;
    assert_eq!(code, 4);
    drop(token);
}
