//! What is about the database of this machine otherwise: the audit, and the keys that sign.

use super::{Person, app};

#[tokio::test]
async fn what_happened_is_listed_the_newest_first() {
    let app = app().await;
    let admin = Person::logged_in(&app, "admin@acme.example").await;
    admin.does(&["user", "invite", "bea@acme.example"]).await;
    // Events have a place in the chain, and so in the list, after a second or so.
    let listed = async {
        loop {
            let (code, out, err) = admin.runs(&["audit", "list", "--kind", "administered"]).await;
            assert_eq!(code, 0, "{err}");
            if out.contains("bea@acme.example") {
                return out;
            }
            app.tidy_up().await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let listed = tokio::time::timeout(std::time::Duration::from_mins(1), listed).await.unwrap();
    assert!(listed.starts_with("AT "), "{listed}");
    assert!(listed.lines().nth(1).unwrap().contains("bea@acme.example"), "{listed}");
    let events = admin.reads(&["audit", "list", "--user", "admin@acme.example", "--since", "1h"]).await;
    let kinds: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert!(kinds.contains(&"approved".into()), "{kinds:?}");
    let none = admin.reads(&["audit", "list", "--service", "spare"]).await;
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn owners_of_the_platform_see_rotate_and_retire_keys() {
    let app = app().await;
    let owner = Person::logged_in(&app, "owner@platform.example").await;
    let server = ["--server", app.issuer()];
    let keys = async |arguments: &[&str]| owner.runs(&[&["keys"], arguments, &server].concat()).await;
    let (code, before, err) = keys(&["list"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(before.starts_with("ALGORITHM  STAGE") && before.contains("signing"), "{before}");
    let (code, after, err) = keys(&["rotate"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(after.contains("published"), "{after}");
    let (code, _, err) = keys(&["rotate"]).await;
    assert_eq!(code, 9, "{err}");
    let new = after.lines().find(|line| line.contains("published")).unwrap();
    let kid = new.split_whitespace().last().unwrap();
    let (code, out, err) = keys(&["retire", kid]).await;
    assert_eq!((code, out), (0, format!("{kid} is taken out. Other servers notice within a minute.\n")), "{err}");
    let (code, _, err) = keys(&["retire", kid]).await;
    assert_eq!(code, 4, "{err}");
    let (code, _, err) = keys(&["rotate", "--now"]).await;
    assert_eq!(code, 1, "{err}");

    let admin = Person::logged_in(&app, "owner@acme.example").await;
    let (code, _, err) = admin.runs(&[&["keys", "list"], &server[..]].concat()).await;
    assert_eq!(code, 3, "{err}");
}
