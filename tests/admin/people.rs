//! Users.

use axum::http::StatusCode;
use serde_json::json;

use super::{Admin, app, fields, problem, token_of};
use crate::support::app::ADA_PASSWORD;

const USERS: &str = "/api/v1/organizations/acme/users";

#[tokio::test]
async fn somebody_is_invited_with_a_first_password_and_logs_in() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let body = json!({ "email": "New@acme.example", "name": "New", "password": ADA_PASSWORD });
    let made = admin.post(USERS, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert!(!made.body.contains(ADA_PASSWORD));
    assert_eq!((made.text("email"), made.text("role")), ("new@acme.example".into(), "member".into()));
    token_of(&app, "new@acme.example", "cli", "read").await;
    let invited = admin.post(USERS, json!({ "email": "later@acme.example" })).await;
    assert_eq!(invited.text("status"), "invited");
    let again = admin.post(USERS, json!({ "email": "later@acme.example" })).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, invited.body));
    assert_eq!(fields(&admin.post(USERS, json!({ "email": "nobody", "shoe": 1 })).await), ["shoe"]);
    assert_eq!(fields(&admin.post(USERS, json!({ "email": "nobody" })).await), ["email"]);
}

#[tokio::test]
async fn nobody_gives_more_than_they_have_and_admins_leave_owners_alone() {
    let app = app().await;
    let (owner, admin) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "admin@acme.example").await);
    let target = format!("{USERS}/{}", owner.id_of("target@acme.example").await);
    let up = admin.patch(&target, "*", json!({ "role": "owner" })).await;
    assert_eq!((up.status, problem(&up)), (StatusCode::FORBIDDEN, "forbidden".into()));
    let invite = admin.post(USERS, json!({ "email": "x@acme.example", "role": "owner" })).await;
    assert_eq!((invite.status, problem(&invite)), (StatusCode::FORBIDDEN, "forbidden".into()));
    assert_eq!(admin.patch(&target, "*", json!({ "role": "admin" })).await.status, StatusCode::OK);
    let path = format!("{USERS}/{}", owner.id_of("owner@acme.example").await);
    for deed in ["lock", "unlock", "reset-mfa"] {
        let refused = admin.act(&format!("{path}/{deed}")).await;
        assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "forbidden".into()), "{deed}");
    }
    assert_eq!(admin.delete(&path, "*").await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.patch(&path, "*", json!({ "name": "x" })).await.status, StatusCode::FORBIDDEN);
    let sessions = owner.get("/api/v1/organizations/acme/sessions").await.json();
    let of_owner = sessions["items"].as_array().unwrap().iter().find(|one| one["email"] == "owner@acme.example");
    let session = of_owner.unwrap()["id"].as_str().unwrap();
    let ended = admin.delete(&format!("/api/v1/organizations/acme/sessions/{session}"), "*").await;
    assert_eq!(ended.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_last_owner_stays_one_however_many_try_at_once() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let path = format!("{USERS}/{}", owner.id_of("owner@acme.example").await);
    for answer in [
        owner.patch(&path, "*", json!({ "role": "admin" })).await,
        owner.act(&format!("{path}/lock")).await,
        owner.delete(&path, "*").await,
    ] {
        assert_eq!((answer.status, problem(&answer)), (StatusCode::CONFLICT, "conflict".into()));
    }
    let second = format!("{USERS}/{}", owner.id_of("target@acme.example").await);
    assert_eq!(owner.patch(&second, "*", json!({ "role": "owner" })).await.status, StatusCode::OK);
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let demote = json!({ "role": "member" });
    let (one, other) =
        tokio::join!(platform.patch(&path, "*", demote.clone()), platform.patch(&second, "*", demote.clone()));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn an_owner_whose_password_is_taken_nowhere_any_more_is_not_one_who_can_sign_in() {
    let app = app().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let first = format!("{USERS}/{}", owner.id_of("owner@acme.example").await);
    let second = format!("{USERS}/{}", owner.id_of("target@acme.example").await);
    assert_eq!(owner.patch(&second, "*", json!({ "role": "owner" })).await.status, StatusCode::OK);
    let providers = "/api/v1/organizations/acme/providers";
    let sso =
        json!({ "slug": "sso", "kind": "oidc", "issuer": "https://sso.acme.example", "client_id": "countersign" });
    assert_eq!(owner.post(providers, sso).await.status, StatusCode::CREATED);
    app.execute(
        "INSERT INTO identity (id, user_id, provider_id, subject, created_at, last_sign_in_at)
         SELECT gen_random_uuid(), u.id, p.id, 'owner', now(), now()
         FROM app_user u JOIN provider p ON p.organization_id = u.organization_id AND p.slug = 'sso'
         WHERE u.email = 'owner@acme.example'",
    )
    .await;
    let gone = owner.delete(&format!("{providers}/password"), "*").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    assert_eq!(platform.get(&second).await.text("status"), "active", "which says nothing of where");
    for answer in [
        platform.patch(&first, "*", json!({ "role": "admin" })).await,
        platform.patch(&first, "*", json!({ "role": null })).await,
        platform.act(&format!("{first}/lock")).await,
        platform.delete(&first, "*").await,
    ] {
        assert_eq!((answer.status, problem(&answer)), (StatusCode::CONFLICT, "conflict".into()), "{}", answer.body);
    }
    // The other one is nobody's way in.
    assert_eq!(platform.patch(&second, "*", json!({ "role": "member" })).await.status, StatusCode::OK);
    // And where there is no way in at all, nothing is kept by keeping them.
    app.execute("DELETE FROM identity").await;
    assert_eq!(platform.patch(&first, "*", json!({ "role": "member" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn null_gives_a_user_the_default_role_and_no_name() {
    let app = app().await;
    let (owner, admin) =
        (Admin::log_in(&app, "owner@acme.example").await, Admin::log_in(&app, "admin@acme.example").await);
    let of = async |email: &str| format!("{USERS}/{}", owner.id_of(email).await);
    let member = of("member@acme.example").await;
    owner.patch(&member, "*", json!({ "role": "admin" })).await;
    let unnamed = owner.patch(&member, "*", json!({ "name": null })).await;
    assert_eq!((unnamed.text("name"), unnamed.text("role")), (String::new(), "admin".into()), "{}", unnamed.body);
    let demoted = owner.patch(&member, "*", json!({ "name": "Member", "role": null })).await;
    assert_eq!((demoted.text("name"), demoted.text("role")), ("Member".into(), "member".into()), "{}", demoted.body);
    assert_eq!(owner.get(&member).await.body, demoted.body);
    // By the rules for any other role.
    let first = of("owner@acme.example").await;
    assert_eq!(problem(&admin.patch(&first, "*", json!({ "role": null })).await), "forbidden");
    assert_eq!(problem(&owner.patch(&first, "*", json!({ "role": null })).await), "conflict");
    assert_eq!(fields(&owner.patch(&member, "*", json!({ "role": 1, "name": null })).await), ["role"]);
}

#[tokio::test]
async fn a_locked_user_is_signed_out_and_an_unlocked_one_is_as_before() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    token_of(&app, "member@acme.example", "cli", "read").await;
    let id = admin.id_of("member@acme.example").await;
    let sessions = format!("/api/v1/organizations/acme/sessions?user={id}");
    assert_eq!(admin.get(&sessions).await.json()["items"].as_array().unwrap().len(), 1);
    let locked = admin.act(&format!("{USERS}/{id}/lock")).await;
    assert_eq!(locked.text("status"), "locked", "{}", locked.body);
    assert!(admin.get(&sessions).await.json()["items"].as_array().unwrap().is_empty());
    assert_eq!(admin.act(&format!("{USERS}/{id}/unlock")).await.text("status"), "active");
    token_of(&app, "member@acme.example", "cli", "read").await;
    app.enrol("member@acme.example").await;
    let reset = admin.act(&format!("{USERS}/{id}/reset-mfa")).await;
    assert_eq!(reset.json(), json!({ "was_enrolled": true, "sessions_ended": 1 }));
    let gone = admin.delete(&format!("{USERS}/{id}"), "*").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    assert_eq!(admin.get(&format!("{USERS}/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_invitation_neither_changes_who_is_there_nor_tells_whether_a_password_is_theirs() {
    let app = app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    // The database folds ASCII only; what is written is folded as Unicode says.
    app.execute("UPDATE app_user SET email = 'öwner@acme.example' WHERE email = 'owner@acme.example'").await;
    for role in ["member", "admin"] {
        let body = json!({ "email": "ÖWNER@acme.example", "role": role, "password": "quite another password" });
        let refused = admin.post(USERS, body).await;
        assert_eq!((refused.status, problem(&refused)), (StatusCode::FORBIDDEN, "forbidden".into()));
    }
    let role: String = sqlx::query_scalar("SELECT role FROM app_user WHERE email = 'öwner@acme.example'")
        .fetch_one(&app.installation.pool)
        .await
        .unwrap();
    assert_eq!(role, "owner");
    let mut answers = Vec::new();
    for password in [ADA_PASSWORD, "quite another password"] {
        let answer = admin.post(USERS, json!({ "email": "target@acme.example", "password": password })).await;
        answers.push((answer.status, answer.body));
    }
    assert_eq!(answers[0].0, StatusCode::CONFLICT);
    assert_eq!(answers[0], answers[1]);
}
