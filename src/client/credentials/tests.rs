//! The file: who can read it, what stands in it, what is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use chrono::{DateTime, TimeDelta};
use serde_json::Value;

use super::*;

/// `{"sub":"u1","email":"ada@acme.example"}` and `{"sub":"u2"}`, as the middle of an id token.
const ADA: &str = "e30.eyJzdWIiOiJ1MSIsImVtYWlsIjoiYWRhQGFjbWUuZXhhbXBsZSJ9.c2ln";
const BOB: &str = "e30.eyJzdWIiOiJ1MiJ9.c2ln";

fn signed_in(client_id: &str, access_token: &str, id_token: Option<&str>) -> SignedIn {
    SignedIn {
        issuer: "https://acme.example".to_owned(),
        client_id: client_id.to_owned(),
        asked_scope: Some("read".to_owned()),
        tokens: Tokens {
            access_token: access_token.to_owned().into(),
            token_type: "Bearer".to_owned(),
            expires_in: Some(std::time::Duration::from_mins(15)),
            scope: None,
            refresh_token: Some("refresh".to_owned().into()),
            id_token: id_token.map(|token| token.to_owned().into()),
        },
        key: None,
    }
}

fn credentials(configuration: &tempfile::TempDir) -> Credentials {
    Credentials::under(configuration.path(), Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn contents(credentials: &Credentials) -> Value {
    serde_json::from_slice(&fs::read(credentials.path()).unwrap()).unwrap()
}

#[tokio::test]
async fn only_the_owner_can_read_it_and_logins_stand_beside_each_other() {
    let configuration = tempfile::tempdir().unwrap();
    let directory = configuration.path().join("countersign");
    fs::create_dir(&directory).unwrap();
    let credentials = credentials(&configuration);
    for (client, token) in [("a", "1"), ("b", "2"), ("a", "3")] {
        let kept_in = credentials.save(&signed_in(client, token, None)).await.unwrap();
        assert_eq!(kept_in, KeptIn::File(credentials.path().to_owned()));
    }
    assert_eq!((mode(&directory), mode(credentials.path())), (0o700, 0o600));
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        assert!(path.extension().is_some_and(|end| end == "lock" || end == "json"), "nothing temporary: {path:?}");
    }
    let logins = contents(&credentials)["logins"].as_array().unwrap().clone();
    assert_eq!(logins.len(), 2);
    assert_eq!((&logins[0]["client_id"], &logins[1]["client_id"]), (&"a".into(), &"b".into()));
    assert_eq!(logins[0]["tokens"]["access_token"], "3");
    assert_eq!(logins[0]["tokens"]["expires_at"], "2027-01-15T08:15:00Z");
    assert_eq!(logins[0]["scope"], "read");
}

#[tokio::test]
async fn two_accounts_of_one_client_are_two_logins_and_one_without_a_name_gives_way() {
    let configuration = tempfile::tempdir().unwrap();
    let credentials = credentials(&configuration);
    for id_token in [None, Some(ADA), Some(BOB), Some(ADA)] {
        credentials.save(&signed_in("a", "token", id_token)).await.unwrap();
    }
    let accounts: Vec<_> = credentials.logins().unwrap().into_iter().map(|login| login.account.unwrap()).collect();
    assert_eq!(accounts, ["ada@acme.example", "u2"]);
}

#[tokio::test]
async fn a_refresh_keeps_what_its_answer_does_not_mention() {
    let configuration = tempfile::tempdir().unwrap();
    let credentials = credentials(&configuration);
    credentials.save(&signed_in("a", "old", Some(ADA))).await.unwrap();
    let key = credentials.logins().unwrap().remove(0).key;
    let old = credentials.tokens(&key).await.unwrap().unwrap();
    assert!(old.good_for(TimeDelta::minutes(14), credentials.clock.now()));
    assert!(!old.good_for(TimeDelta::minutes(15), credentials.clock.now()));

    let answered = Tokens { refresh_token: None, ..signed_in("a", "new", None).tokens };
    credentials.refreshed(&key, &old, &answered).await.unwrap();
    let new = credentials.tokens(&key).await.unwrap().unwrap();
    assert_eq!(new.access_token.expose(), "new");
    assert_eq!(new.refresh_token.unwrap().expose(), "refresh");
    assert_eq!(new.id_token.unwrap().expose(), ADA);

    credentials.forget(&key).await.unwrap();
    assert!(credentials.tokens(&key).await.unwrap().is_none());
    // What a refresh brings for a login that is gone is not kept.
    credentials.refreshed(&key, &old, &answered).await.unwrap();
    assert!(credentials.logins().unwrap().is_empty());
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let configuration = tempfile::tempdir().unwrap();
    let credentials = credentials(&configuration);
    credentials.prepare().unwrap();
    for foreign in ["not JSON", r#"{"version":3,"logins":[]}"#, r#"{"version":1}"#] {
        fs::write(credentials.path(), foreign).unwrap();
        assert!(matches!(credentials.prepare(), Err(CredentialsError::NotOurs(_))));
        assert!(credentials.logins().is_err());
        assert_eq!(fs::read_to_string(credentials.path()).unwrap(), foreign);
    }
}

#[tokio::test]
async fn the_first_form_of_the_file_is_read_and_what_a_later_version_adds_is_kept() {
    let configuration = tempfile::tempdir().unwrap();
    let credentials = credentials(&configuration);
    credentials.prepare().unwrap();
    let first = r#"{"version":1,"issuers":{"https://acme.example":{"old":{"access_token":"1","token_type":"Bearer",
        "refresh_token":null,"id_token":null,"scope":"read","obtained_at":"2027-01-15T08:00:00Z","expires_at":null}}}}"#;
    fs::write(credentials.path(), first).unwrap();
    let logins = credentials.logins().unwrap();
    assert_eq!((logins[0].key.client_id.as_str(), logins[0].scope.as_deref()), ("old", Some("read")));
    assert_eq!(credentials.tokens(&logins[0].key).await.unwrap().unwrap().access_token.expose(), "1");

    credentials.save(&signed_in("new", "2", None)).await.unwrap();
    let mut text = contents(&credentials);
    text["logins"][0]["colour"] = "blue".into();
    fs::write(credentials.path(), text.to_string()).unwrap();
    credentials.save(&signed_in("third", "3", None)).await.unwrap();
    assert_eq!(contents(&credentials)["logins"][0]["colour"], "blue");
}

#[tokio::test]
async fn tokens_in_a_keyring_that_is_switched_off_are_told_to_be_there() {
    let configuration = tempfile::tempdir().unwrap();
    let credentials = credentials(&configuration);
    credentials.save(&signed_in("a", "1", None)).await.unwrap();
    let mut text = contents(&credentials);
    text["logins"][0].as_object_mut().unwrap().remove("tokens");
    fs::write(credentials.path(), text.to_string()).unwrap();
    let login = credentials.logins().unwrap().remove(0);
    assert_eq!(login.kept_in, KeptIn::Keyring);
    let error = credentials.tokens(&login.key).await.unwrap_err().to_string();
    assert!(error.contains("switched off"), "{error}");
}
