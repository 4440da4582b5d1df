//! What is said when it doesn't go: in words that say what to do, and with the exit code that is documented.

use std::time::Duration;

use insta::assert_snapshot;
use tokio::net::TcpListener;

use super::{Person, app, by_the_clock, directory_of_all};
use crate::support::database::database;
use crate::support::proxy::{Proxy, Weather};
use crate::support::{App, free_port};

#[tokio::test]
async fn who_is_not_logged_in_is_told_how() {
    let app = app().await;
    let nobody = Person::new(&app);
    let (code, out, err) = nobody.runs(&["service", "list"]).await;
    assert_eq!((code, out.as_str()), (7, ""));
    assert_snapshot!(err, @"No login administers. Log in: countersign login URL --admin, and with --org SLUG to administer your own organization only");
    let (code, _, err) = nobody.runs(&["service", "list", "--server", app.issuer()]).await;
    assert_eq!(code, 7);
    assert!(err.starts_with("No login to SERVER administers. Log in: countersign login SERVER --admin"), "{err}");
    let (code, out, _) = nobody.runs(&["service", "list", "--json"]).await;
    assert_eq!(code, 7);
    assert!(out.starts_with(r#"{"error":"not_logged_in","#), "{out}");
}

#[tokio::test]
async fn who_was_signed_out_or_may_not_is_told_so() {
    let app = app().await;
    let member = Person::logged_in(&app, "member@acme.example").await;
    let (code, _, err) = member.runs(&["service", "list"]).await;
    assert_eq!(code, 3);
    assert_snapshot!(err, @"You may not do that to services of acme. Members administer nothing: an owner can make you an admin.");

    let reader = Person::new(&app);
    reader.log_in("owner@acme.example", &["--org", "acme", "--scope", "admin:read"]).await;
    reader.does(&["service", "list"]).await;
    let (code, _, err) = reader.runs(&["service", "update", "cli", "--name", "Mine"]).await;
    assert_eq!(code, 3);
    assert_snapshot!(err, @"This login was not granted what that takes. Log in again: countersign login SERVER --admin --org acme");

    let admin = Person::logged_in(&app, "admin@acme.example").await;
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    owner.does(&["user", "lock", "admin@acme.example"]).await;
    let (code, _, err) = admin.runs(&["service", "list"]).await;
    assert_eq!(code, 7);
    assert!(err.trim_end().ends_with("Log in again: countersign login SERVER --admin --org acme"), "{err}");
    let (code, _, err) = admin.runs(&["service", "list"]).await;
    assert_eq!(code, 7, "the login is forgotten: {err}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_has_no_database_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let app = App::of(by_the_clock(App::parts(database().await, &issuer))).await;
    app.apply(&directory_of_all()).await;
    let proxy = Proxy::to(&app.installation.pool).await;
    let pool = proxy.pool(&app.installation.pool, 8);
    let node = App::of(by_the_clock(App::parts(pool, &issuer))).await;
    node.serve(listener);
    let owner = Person::logged_in(&app, "owner@acme.example").await;
    owner.does(&["service", "list"]).await;

    proxy.set(Weather::Cut);
    let away = async {
        loop {
            let (code, out, err) = owner.runs(&["service", "list"]).await;
            if err.contains("can't reach its database") {
                return (code, out, err);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (code, out, err) = tokio::time::timeout(Duration::from_mins(1), away).await.unwrap();
    assert_eq!((code, out.as_str()), (5, ""));
    assert_snapshot!(err, @"The server can't reach its database. Nothing was changed, as far as is known: try again in a few seconds. Asked again in 5 s, it may answer.");

    // The same login, at an address where nobody listens.
    let nowhere = format!("http://localhost:{}", free_port());
    let file = owner.home.path().join("config/countersign/credentials.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replace(&issuer, &nowhere)).unwrap();
    let (code, _, err) = owner.runs(&["service", "list"]).await;
    assert_eq!(
        (code, err.replace(&nowhere, "NOWHERE")),
        (5, "Can't reach NOWHERE: Connection refused (os error 111).\n".to_owned())
    );
}
