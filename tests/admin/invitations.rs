//! Whoever is invited is told by mail, and nobody is buried in mails.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::{Admin, directory_of_all, fields, problem};
use crate::support::App;
use crate::support::app::ADA_PASSWORD;
use crate::support::mail_server::{Mail, MailServer, Mood};

const USERS: &str = "/api/v1/organizations/acme/users";

async fn app_with_mail() -> (MailServer, App) {
    let server = MailServer::start().await;
    let app = App::with_settings(&directory_of_all(), server.settings()).await;
    (server, app)
}

/// The first so many invitations, once they are there: those who administer are mailed what they approved as well.
async fn invitations(server: &MailServer, count: usize) -> Vec<Mail> {
    let wait = async {
        loop {
            let mut mails = server.mails();
            mails.retain(|mail| mail.header("Subject").starts_with("You are invited"));
            if mails.len() >= count {
                return mails;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mails = tokio::time::timeout(Duration::from_secs(30), wait).await;
    mails.unwrap_or_else(|_| panic!("no {count} invitations came: {:?}", server.mails()))
}

/// What both halves of a mail say.
fn halves(mail: &Mail) -> [String; 2] {
    ["text/plain", "text/html"].map(|kind| mail.part(kind))
}

/// Who was mailed, as the audit has it.
async fn mailed(app: &App) -> Vec<String> {
    let mailed = "SELECT detail->>'name' FROM audit_event WHERE kind = 'administered' AND detail->>'action' = 'mailed' ORDER BY sequence";
    sqlx::query_scalar(mailed).fetch_all(&app.installation.pool).await.unwrap()
}

#[tokio::test]
async fn whoever_is_invited_is_told_by_whom_to_what_and_where_they_sign_in() {
    let (server, app) = app_with_mail().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let made = admin.post(USERS, json!({ "email": "Bea@partner.example", "name": "Bea", "role": "admin" })).await;
    assert_eq!((made.status, &made.json()["mail_queued"]), (StatusCode::CREATED, &json!(true)), "{}", made.body);
    let shown = admin.get(&format!("{USERS}/{}", made.text("id"))).await;
    assert_eq!(made.header("etag"), shown.header("etag"), "the same version, whatever was mailed");

    let [mail] = invitations(&server, 1).await.try_into().unwrap();
    assert_eq!(mail.to, ["bea@partner.example"]);
    assert_eq!(mail.header("Subject"), "You are invited to acme");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    for half in halves(&mail) {
        for said in [
            "admin@acme.example",
            "bea@partner.example",
            "as an admin",
            "https://auth.acme.example/account/acme",
            "Then there is nothing to do",
        ] {
            assert!(half.contains(said), "{said} in {half}");
        }
        // Nor is it said that they can sign in where nothing but passwords may be taken.
        let honest = "asked for a password there and see no other way to sign in, tell whoever invited you";
        assert!(half.contains(honest) && !half.contains("first password"), "{half}");
        assert_eq!(half.matches("://").count(), 1, "one link in {half}");
    }
    assert_eq!(mailed(&app).await, ["bea@partner.example"]);

    // Somebody with a first password is told that it comes otherwise, and not what it is.
    let body = json!({ "email": "cay@partner.example", "password": ADA_PASSWORD });
    assert_eq!(admin.post(USERS, body).await.json()["mail_queued"], true);
    let mails = invitations(&server, 2).await;
    for half in halves(&mails[1]) {
        assert!(half.contains("Your first password comes from") && !half.contains(ADA_PASSWORD), "{half}");
        assert!(!half.contains("no other way"), "{half}");
    }
}

#[tokio::test]
async fn nobody_is_told_who_should_not_be_or_is_in() {
    let (server, app) = app_with_mail().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let quiet = admin.post(USERS, json!({ "email": "bea@partner.example", "mail": false })).await;
    assert_eq!((quiet.status, &quiet.json()["mail_queued"]), (StatusCode::CREATED, &json!(false)));
    let active = admin.post(USERS, json!({ "email": "target@acme.example" })).await;
    assert_eq!((active.status, &active.json()["mail_queued"]), (StatusCode::OK, &json!(false)));
    assert_eq!(admin.post(USERS, json!({ "email": "target@acme.example", "role": "admin" })).await.status, 409);
    assert_eq!(fields(&admin.post(USERS, json!({ "email": "dan@partner.example", "mail": "yes" })).await), ["mail"]);
    let elsewhere = Admin::log_in(&app, "owner@other.example").await;
    assert_eq!(elsewhere.post(USERS, json!({ "email": "x@partner.example" })).await.status, StatusCode::NOT_FOUND);
    assert!(mailed(&app).await.is_empty());

    // Who is deleted before the mail server took it isn't told either.
    server.first(2).await;
    server.next([Mood::HangsUp]);
    let made = admin.post(USERS, json!({ "email": "eve@partner.example" })).await;
    assert_eq!(made.json()["mail_queued"], true);
    while server.moods_left() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gone = admin.delete(&format!("{USERS}/{}", made.text("id")), "*").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    let waiting = "SELECT count(*) FROM notice WHERE kind = 'invited'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn who_never_came_is_told_again_a_few_times_an_hour() {
    let (server, app) = app_with_mail().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    let other = Admin::log_in(&app, "admin@other.example").await;
    let body = json!({ "email": "bea@partner.example" });
    for (nth, status) in [StatusCode::CREATED, StatusCode::OK, StatusCode::OK].into_iter().enumerate() {
        let answer = admin.post(USERS, body.clone()).await;
        assert_eq!((answer.status, &answer.json()["mail_queued"]), (status, &json!(true)), "{nth}: {}", answer.body);
    }
    let fourth = admin.post(USERS, body.clone()).await;
    assert_eq!((fourth.status, &fourth.json()["mail_queued"]), (StatusCode::OK, &json!(false)));
    // However the address is written.
    let insisting = json!({ "email": "BEA@partner.example", "mail": true });
    let refused = admin.post(USERS, insisting.clone()).await;
    assert_eq!((refused.status, problem(&refused)), (StatusCode::TOO_MANY_REQUESTS, "too-many-requests".into()));
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3601).contains(&wait), "{wait}");
    // What one organization sends keeps no other from inviting somebody.
    assert_eq!(other.post("/api/v1/organizations/other/users", insisting).await.json()["mail_queued"], true);
    assert_eq!(invitations(&server, 4).await.len(), 4);
    app.advance(3601);
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    assert_eq!(admin.post(USERS, body).await.json()["mail_queued"], true);
    assert_eq!(invitations(&server, 5).await.len(), 5);
}

#[tokio::test]
async fn all_organizations_together_leave_an_address_in_peace() {
    let (_server, app) = app_with_mail().await;
    let platform = Admin::log_in(&app, "owner@platform.example").await;
    let body = json!({ "email": "bea@partner.example" });
    let mut queued = 0;
    for nth in 0..7 {
        let made = platform.post("/api/v1/organizations", json!({ "slug": format!("org-{nth}"), "name": "Org" })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let users = format!("/api/v1/organizations/org-{nth}/users");
        for _ in 0..3 {
            let answer = platform.post(&users, body.clone()).await;
            queued += i32::from(answer.json()["mail_queued"] == true);
        }
    }
    assert_eq!(queued, 20);
    let insisting = json!({ "email": "bea@partner.example", "mail": true });
    let refused = platform.post("/api/v1/organizations/acme/users", insisting).await;
    assert_eq!(refused.header("retry-after"), Some("3600"), "and not when others sent theirs");
}

#[tokio::test]
async fn an_organization_sends_so_many_and_what_was_not_sent_costs_nothing() {
    let (_server, app) = app_with_mail().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    for _ in 0..5 {
        // Nothing comes of these.
        assert_eq!(admin.post(USERS, json!({ "email": "nobody" })).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(admin.post(USERS, json!({ "email": "target@acme.example" })).await.status, StatusCode::OK);
        let above = json!({ "email": "x@partner.example", "role": "owner" });
        assert_eq!(admin.post(USERS, above).await.status, StatusCode::FORBIDDEN);
    }
    for nth in 0..100 {
        let answer = admin.post(USERS, json!({ "email": format!("p{nth}@partner.example"), "mail": true })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{nth}: {}", answer.body);
    }
    let more = admin.post(USERS, json!({ "email": "more@partner.example", "mail": true })).await;
    assert_eq!(problem(&more), "too-many-requests");
    let without = admin.post(USERS, json!({ "email": "more@partner.example" })).await;
    assert_eq!((without.status, &without.json()["mail_queued"]), (StatusCode::CREATED, &json!(false)));
}

#[tokio::test]
async fn of_what_an_inviter_chooses_nothing_becomes_a_link_or_a_line() {
    let (server, app) = app_with_mail().await;
    let owner = Admin::log_in(&app, "owner@acme.example").await;
    let name = "evil.example says https://evil.example/win call +1 888 555 0199 now, and more than anybody reads";
    let renamed = owner.patch("/api/v1/organizations/acme", "*", json!({ "name": name })).await;
    assert_eq!(renamed.status, StatusCode::OK, "{}", renamed.body);
    app.execute("UPDATE app_user SET email_verified = false, name = '<a href=\"https://evil.example\">x</a>'").await;
    let body = json!({ "email": "bea@partner.example", "name": "Click https://evil.example" });
    assert_eq!(owner.post(USERS, body).await.json()["mail_queued"], true);
    let [mail] = invitations(&server, 1).await.try_into().unwrap();
    for half in halves(&mail) {
        assert!(
            !half.contains("evil.example") && !half.contains("https://evil") && !half.contains("<a href=\"https://e"),
            "{half}"
        );
        assert!(!half.contains("Click") && !half.contains("anybody reads") && half.contains('…'), "{half}");
        assert!(!half.contains("owner@acme.example"), "nobody has verified that it is theirs: {half}");
    }
    assert!(!mail.header("Subject").contains("evil.example"));
}

#[tokio::test]
async fn where_no_mails_are_sent_nobody_waits_for_one() {
    let app = super::app().await;
    let admin = Admin::log_in(&app, "admin@acme.example").await;
    assert_eq!(fields(&admin.post(USERS, json!({ "email": "bea@partner.example", "mail": true })).await), ["mail"]);
    let made = admin.post(USERS, json!({ "email": "bea@partner.example" })).await;
    assert_eq!((made.status, &made.json()["mail_queued"]), (StatusCode::CREATED, &json!(false)));
}
