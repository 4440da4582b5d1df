//! Owners of `platform`: organizations, and things of each of them.

use insta::assert_snapshot;

use super::{Person, app};

#[tokio::test]
async fn an_organization_is_made_suspended_and_deleted() {
    let app = app().await;
    let owner = Person::new(&app);
    let shown = owner.log_in("owner@platform.example", &[]).await;
    assert!(shown.contains("Signed in. Granted: openid email admin:read admin:write offline_access"), "{shown}");
    let who = owner.does(&["whoami"]).await;
    assert!(who.starts_with("owner@platform.example\n  organization  platform\n  service       admin-cli\n"), "{who}");
    let list = owner.does(&["org", "list"]).await;
    assert_snapshot!(list, @"
    SLUG      NAME      STATUS  MFA
    acme      acme      active  off
    other     other     active  off
    platform  platform  active  off
    ");
    let made = owner.does(&["org", "create", "third", "--name", "The Third", "--mfa", "if_enrolled"]).await;
    assert_snapshot!(made, @"
    Made organization third. Say how its people sign in: countersign provider create NAME --kind KIND --org third
    Give it a first owner: countersign user invite EMAIL --role owner --org third
    Where KIND is password, say --password-file FILE as well: without a first one nobody signs in
    They administer it after: countersign login SERVER --admin --org third
    ");
    let again = owner.does(&["org", "create", "third", "--name", "The Third", "--mfa", "if_enrolled"]).await;
    assert_eq!(again, "organization third was there already, just so.\n");

    let invited = owner.does(&["user", "invite", "dee@third.example", "--role", "owner", "--org", "third"]).await;
    let nobody = "Nobody can sign in to third yet: countersign provider create NAME --kind KIND --org third\n";
    assert!(invited.ends_with(nobody), "{invited}");
    let (code, _, err) = owner.runs(&["org", "delete", "third", "--yes"]).await;
    assert_eq!(code, 9);
    assert_snapshot!(err, @"organization third: It still has users, providers, webhooks, or services besides admin-cli: delete those first.");
    let shown = owner.does(&["org", "suspend", "third", "--yes"]).await;
    assert_eq!(shown, "Suspended organization third.\n");
    let shown = owner.does(&["org", "show", "third"]).await;
    assert!(shown.starts_with("slug    third\nname    The Third\nstatus  suspended\nmfa     if_enrolled\n"), "{shown}");
    owner.does(&["org", "activate", "third"]).await;
    owner.does(&["org", "update", "third", "--name", "Third"]).await;
    assert_eq!(owner.reads(&["org", "show", "third"]).await["name"], "Third");
}

#[tokio::test]
async fn the_login_of_an_organization_comes_before_the_platforms() {
    let app = app().await;
    let both = Person::logged_in(&app, "owner@platform.example").await;
    both.log_in("admin@acme.example", &["--org", "acme"]).await;
    // Only the platform's reaches `other`; in `acme` somebody is an admin, and no owner.
    both.does(&["service", "list", "--org", "other"]).await;
    let (code, _, err) = both.runs(&["org", "update", "acme", "--name", "Acme"]).await;
    assert_eq!(code, 3, "{err}");
    let all = both.reads(&["org", "list"]).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "the platform's sees all");
    let last = both.reads(&["service", "show", "cli"]).await;
    assert_eq!(last["organization"], "acme", "without a word it is the last login");
}
