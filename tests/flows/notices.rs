//! Whoever approves is told, by mail and by the organization's webhooks, whatever those do.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::DateTime;
use serde_json::json;

use crate::support::app::{ACME, form_request};
use crate::support::hook::{Hook, Reply};
use crate::support::mail_server::{MailServer, Mood};
use crate::support::{App, Browser, Device};

/// A row of the outbox: attempts, delivered, given up, trouble, seconds until it is due.
type Row = (i16, bool, bool, Option<String>, f64);

async fn rows(app: &App) -> Vec<Row> {
    sqlx::query_as(
        "SELECT attempts, delivered_at IS NOT NULL, given_up_at IS NOT NULL, trouble,
                extract(epoch FROM due_at - $1)::float8 FROM notice ORDER BY id",
    )
    .bind(app.installation.clock.now())
    .fetch_all(&app.installation.pool)
    .await
    .unwrap()
}

/// Waits until the only row is as wanted.
async fn until(app: &App, wanted: impl Fn(&Row) -> bool) -> Row {
    for _ in 0..600 {
        let rows = rows(app).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        if wanted(&rows[0]) {
            return rows[0].clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it stays {:?}", rows(app).await);
}

async fn approve(app: &App) -> Device<'_> {
    let device = Device::ask(app, "read").await;
    Browser::new(app).approve_code(&device.user_code).await;
    device
}

#[tokio::test]
async fn the_person_gets_a_mail_that_says_what_was_approved_when_and_where() {
    let server = MailServer::start().await;
    let app = App::with_settings(ACME, server.settings()).await;
    let form = [("client_id", "acme-cli"), ("scope", "read deploy"), ("device_name", "build-box.acme.example")];
    let mut request = form_request("/auth/device/code", &form);
    request.headers_mut().insert("user-agent", "curl/8.5.0".parse().unwrap());
    let answer = app.send(crate::support::actors::forwarded("203.0.113.66", request)).await;
    let mut browser = Browser::behind_proxy(&app, "192.0.2.7");
    let confirm = browser.enter_and_sign_in(&answer.text("user_code")).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");

    let [mail] = server.first(1).await.try_into().unwrap();
    assert_eq!((mail.from.as_str(), &*mail.to), ("login@acme.example", &["ada@acme.example".to_owned()][..]));
    assert_eq!(mail.header("Subject"), "Acme CLI may act as you now");
    assert_eq!(mail.header("From"), "\"Acme sign-in\" <login@acme.example>");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.header("Content-Type").starts_with("multipart/alternative"));
    let date = DateTime::parse_from_rfc2822(&mail.header("Date")).unwrap();
    assert_eq!(date.timestamp(), app.installation.clock.now().timestamp());
    let now = app.installation.clock.now().format("%-d %B %Y, %H:%M UTC").to_string();
    let (text, html) = (mail.part("text/plain"), mail.part("text/html"));
    for said in ["Acme CLI", "of Acme may act as you", "ada@acme.example", &now, "Read your projects"] {
        assert!(text.contains(said) && html.contains(said), "{said}: {text}\n{html}");
    }
    for said in ["Deploy to production", "curl", "203.0.113.66", "192.0.2.7", "/account/acme", "auth.acme.example"] {
        assert!(text.contains(said) && html.contains(said), "{said}: {text}\n{html}");
    }
    // What the device calls itself is a claim, and no link.
    let name = "build-box\u{200c}.acme\u{200c}.example";
    assert!(text.contains(&format!("Says it is: “\u{2068}{name}\u{2069}” (name not checked)")), "{text}");
    assert!(html.contains(&format!("“<bdi>{name}</bdi>” (name not checked)")), "{html}");
    assert!(!text.contains("build-box.acme"), "{text}");
    let links = html.matches("href=").count();
    assert_eq!((links, html.matches("<img").count(), html.matches("<script").count()), (2, 0, 0), "{html}");
    let whole = mail.link();
    assert!(html.contains(whole.split('?').nth(1).unwrap()), "one link in both");
    until(&app, |row| row.1).await;
}

#[tokio::test]
async fn a_device_can_not_write_into_the_mail() {
    let server = MailServer::start().await;
    let app = App::with_settings(ACME, server.settings()).await;
    let name = "x\r\nBcc: eve@evil.example\r\n\r\n<b>hi</b> https://evil.example";
    let form = [("client_id", "acme-cli"), ("scope", "read"), ("device_name", name)];
    let mut request = form_request("/auth/device/code", &form);
    request.headers_mut().insert("user-agent", "evil.example/1 <script>".parse().unwrap());
    let answer = app.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    Browser::new(&app).approve_code(&answer.text("user_code")).await;
    let [mail] = server.first(1).await.try_into().unwrap();
    assert_eq!(mail.to, ["ada@acme.example"]);
    assert!(
        mail.headers().iter().all(|header| !header.contains("eve@") && !header.starts_with("Bcc")),
        "{:?}",
        mail.headers()
    );
    let (text, html) = (mail.part("text/plain"), mail.part("text/html"));
    assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    assert!(!html.contains("<b>hi") && !html.contains("<script"), "{html}");
    for part in [&text, &html] {
        assert!(!part.contains("evil.example") && !part.contains("https://evil"), "{part}");
    }
}

#[tokio::test]
async fn whoever_has_no_address_that_somebody_verified_gets_none() {
    let (server, hook) = (MailServer::start().await, Hook::start().await);
    let app = App::with_settings(&(ACME.to_owned() + &hook.toml()), server.settings()).await;
    app.execute("UPDATE app_user SET email_verified = false").await;
    approve(&app).await;
    hook.first(1).await;
    assert_eq!(rows(&app).await.len(), 1);
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn an_organizations_webhook_is_told_and_knows_by_whom() {
    let hook = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    let device = approve(&app).await;
    let [message] = hook.first(1).await.try_into().unwrap();
    let said = message.verified();
    assert_eq!(message.header("content-type"), "application/json");
    assert!(message.header("webhook-id").starts_with("msg_") && !message.header("webhook-id").contains('.'));
    let sent: i64 = message.header("webhook-timestamp").parse().unwrap();
    assert_eq!(sent, app.installation.clock.now().timestamp());
    let (kind, data) = (said["type"].as_str().unwrap(), &said["data"]);
    assert_eq!(kind, "device_login.approved");
    assert!(DateTime::parse_from_rfc3339(said["timestamp"].as_str().unwrap()).is_ok());
    assert_eq!(data["organization"]["slug"], "acme");
    assert_eq!(data["service"], json!({ "slug": "cli", "client_id": "acme-cli", "name": "Acme CLI" }));
    assert_eq!(data["user"]["email"], "ada@acme.example");
    assert_eq!(data["scopes"], json!([{ "name": "read", "description": "Read your projects" }]));
    assert_eq!((&data["device"]["ip"], &data["nearness"]), (&json!("127.0.0.1"), &json!("same_address")));
    let url: url::Url = data["report_url"].as_str().unwrap().parse().unwrap();
    assert_eq!((url.host_str().unwrap(), url.path()), ("auth.acme.example", "/activate/report"));
    let codes = [&device.device_code, &device.user_code];
    assert!(codes.iter().all(|code| !message.body.contains(*code)), "{}", message.body);
    until(&app, |row| row.1).await;
}

#[tokio::test]
async fn nobody_is_told_of_what_was_not_approved_or_what_they_did_not_want() {
    let hook = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &hook.toml() + "events = [\"reported\"]\n")).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    browser.decide(&confirm, "deny").await;
    approve(&app).await;
    assert!(rows(&app).await.is_empty() && hook.messages().is_empty());
}

#[tokio::test]
async fn an_approval_and_its_notice_are_there_together_or_not_at_all() {
    let hook = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let confirm = browser.enter_and_sign_in(&device.user_code).await;
    app.execute("ALTER TABLE notice ADD CONSTRAINT full_up CHECK (false)").await;
    assert_eq!(browser.approve(&confirm).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(device.poll().await.error(), "authorization_pending");
    app.execute("ALTER TABLE notice DROP CONSTRAINT full_up").await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(hook.first(1).await.len(), 1);
}

#[tokio::test]
async fn what_a_webhook_did_not_take_is_told_again_later_and_later_under_one_id() {
    let hook = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    hook.next([Reply::Status(500), Reply::Redirect, Reply::Status(404), Reply::Endless]);
    approve(&app).await;
    for (attempt, trouble, wait) in [(1, "answered 500", 5), (2, "answered 307", 300), (3, "answered 404", 1800)] {
        let row = until(&app, |row| row.0 == attempt && row.3.as_ref().is_some_and(|why| why.ends_with(trouble))).await;
        assert_eq!((row.1, row.2), (false, false));
        assert!((row.4 - f64::from(wait)).abs() < 1.0, "{row:?}");
        app.advance(i64::from(wait));
        app.notices.wake();
    }
    // Whatever it says, 200 is enough.
    let row = until(&app, |row| row.1).await;
    assert_eq!((row.0, row.3), (4, None));
    let messages = hook.first(4).await;
    assert_eq!(messages.len(), 4);
    let ids: Vec<&str> = messages.iter().map(|message| message.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let times: Vec<i64> = messages.iter().map(|m| m.header("webhook-timestamp").parse().unwrap()).collect();
    assert_eq!([times[1] - times[0], times[2] - times[1], times[3] - times[2]], [5, 300, 1800]);
    for message in &messages {
        message.verified();
    }
    app.advance(8 * 24 * 3600);
    app.tidy_up().await;
    assert!(rows(&app).await.is_empty(), "kept for a week");
}

#[tokio::test]
async fn after_three_days_it_is_given_up_and_a_receiver_that_is_gone_at_once() {
    let hook = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    hook.next([Reply::Status(503); 10]);
    approve(&app).await;
    let begun = app.installation.clock.now();
    let row = loop {
        let row = until(&app, |row| row.3.is_some()).await;
        if row.2 {
            break row;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a day at most")]
        app.advance(row.4.ceil() as i64);
        app.notices.wake();
        let attempt = row.0;
        until(&app, |row| row.0 > attempt).await;
    };
    assert_eq!((row.0, hook.messages().len()), (10, 10));
    assert!((app.installation.clock.now() - begun).num_hours() >= 72);

    let gone = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &gone.toml())).await;
    gone.next([Reply::Status(410)]);
    approve(&app).await;
    assert_eq!(until(&app, |row| row.2).await.0, 1);
}

#[tokio::test]
async fn a_webhook_that_never_answers_holds_up_nobody() {
    let (slow, quick) = (Hook::start().await, Hook::start().await);
    let app = App::with(&(ACME.to_owned() + &slow.toml() + &quick.toml())).await;
    slow.next([Reply::Never; 20]);
    for _ in 0..12 {
        let device = approve(&app).await;
        assert_eq!(device.poll().await.status, StatusCode::OK);
    }
    assert_eq!(quick.first(12).await.len(), 12);
    assert!(slow.messages().len() <= 2, "one at a time");
}

/// A notice like one that is there, with an id of its own.
async fn another_like_it(app: &App) {
    app.execute(
        "INSERT INTO notice (id, organization_id, kind, grant_id, webhook_id, email, content, created_at, due_at)
         SELECT '00000000-0000-7000-8000-000000000007', organization_id, kind, grant_id, webhook_id, email, content,
             created_at, due_at FROM notice LIMIT 1",
    )
    .await;
}

#[tokio::test]
async fn many_webhooks_that_never_answer_and_what_waits_for_them_hold_up_nobody() {
    let (hanging, quick) = (Hook::start().await, Hook::start().await);
    hanging.next([Reply::Never; 1000]);
    let many: String = (0..70)
        .map(|n| {
            let mut hook = hanging.clone();
            hook.url = format!("{}/{n}", hanging.url);
            hook.toml()
        })
        .collect();
    let many = ACME.to_owned() + &many;
    let app = App::with(&many).await;
    for _ in 0..3 {
        approve(&app).await;
        app.advance(1);
    }
    app.apply(&(many + &quick.toml())).await;
    approve(&app).await;
    assert_eq!(quick.first(1).await.len(), 1);
}

#[tokio::test]
async fn what_nobody_delivers_is_given_up_in_the_end_and_said() {
    let hook = Hook::start().await;
    let mut app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    app.kill_tasks().await;
    approve(&app).await;

    // Its node dies of it, again and again.
    for attempt in 1..=20 {
        let taken = app.notices.take_for_webhooks(&app.installation, 8, &[]).await.unwrap();
        assert_eq!(taken.iter().map(|due| due.attempt).collect::<Vec<_>>(), [attempt]);
        app.tidy_up().await;
        assert!(!rows(&app).await[0].2, "it is under way");
        app.advance(121);
    }
    assert!(app.notices.take_for_webhooks(&app.installation, 8, &[]).await.unwrap().is_empty());
    app.tidy_up().await;
    assert!(rows(&app).await[0].2);
    app.execute("DELETE FROM notice").await;

    // More than a batch for whom nobody has time, and a mail where mails are sent no more.
    approve(&app).await;
    app.execute(
        "INSERT INTO notice (id, organization_id, kind, grant_id, webhook_id, content, created_at, due_at)
         SELECT gen_random_uuid(), organization_id, kind, grant_id, webhook_id, content, created_at, due_at
         FROM notice, generate_series(1, 1100)",
    )
    .await;
    another_like_it(&app).await;
    app.execute(
        "UPDATE notice SET webhook_id = NULL, email = 'ada@acme.example' WHERE id = '00000000-0000-7000-8000-000000000007'",
    )
    .await;
    app.advance(4 * 24 * 3600 - 60);
    app.tidy_up().await;
    assert!(rows(&app).await.iter().all(|row| !row.2), "not yet");
    app.advance(61);
    assert!(app.notices.take_for_webhooks(&app.installation, 8, &[]).await.unwrap().is_empty());
    app.tidy_up().await;
    let given_up = rows(&app).await;
    assert!(given_up.len() == 1102 && given_up.iter().all(|row| row.2));
    app.advance(7 * 24 * 3600 + 1);
    app.tidy_up().await;
    assert!(rows(&app).await.is_empty(), "with the address");
}

#[tokio::test]
async fn what_a_newer_program_put_waits_for_one_and_holds_up_nobody() {
    let hook = Hook::start().await;
    let mut app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    app.kill_tasks().await;
    approve(&app).await;
    app.execute("ALTER TABLE notice DROP CONSTRAINT notice_kind_check").await;
    another_like_it(&app).await;
    app.execute(
        "UPDATE notice SET kind = 'renewed', due_at = due_at - interval '1 hour'
         WHERE id = '00000000-0000-7000-8000-000000000007'",
    )
    .await;
    let taken = app.notices.take_for_webhooks(&app.installation, 8, &[]).await.unwrap();
    assert_eq!(taken.len(), 1);
    let attempts: i16 = sqlx::query_scalar("SELECT attempts FROM notice WHERE kind = 'renewed'")
        .fetch_one(&app.installation.pool)
        .await
        .unwrap();
    assert_eq!(attempts, 0);
}

#[tokio::test]
async fn mails_that_can_not_be_taken_hold_up_no_webhook() {
    let (server, hook) = (MailServer::start().await, Hook::start().await);
    let app = App::with_settings(&(ACME.to_owned() + &hook.toml()), server.settings()).await;
    // To take a mail fails from here on.
    app.execute("ALTER TABLE notice ADD CONSTRAINT no_mail CHECK (email IS NULL OR attempts = 0)").await;
    approve(&app).await;
    assert_eq!(hook.first(1).await.len(), 1);
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn what_became_of_notices_is_counted() {
    let hook = Hook::start().await;
    let app = App::with(&(ACME.to_owned() + &hook.toml())).await;
    hook.next([Reply::Status(500), Reply::Status(410)]);
    approve(&app).await;
    until(&app, |row| row.3.is_some()).await;
    app.advance(5);
    app.notices.wake();
    until(&app, |row| row.2).await;
    approve(&app).await;
    hook.first(3).await;
    for outcome in ["failed", "given_up", "delivered"] {
        let series = format!("notices_total{{channel=\"webhook\",outcome=\"{outcome}\"}}");
        // It is noted first, and counted then.
        for _ in 0..600 {
            if app.metric(&series).await == Some(1.0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(app.metric(&series).await, Some(1.0), "{series}");
    }
}

#[tokio::test]
async fn a_mail_server_on_a_bad_day_gets_the_mail_in_the_end() {
    let server = MailServer::start().await;
    let app = App::with_settings(ACME, server.settings()).await;
    server.next([Mood::Refuses(450), Mood::HangsUp, Mood::Refuses(550)]);
    approve(&app).await;
    for (attempt, wait) in [(1, 5), (2, 300), (3, 1800)] {
        let row = until(&app, |row| row.0 == attempt && row.3.is_some()).await;
        let why = row.3.unwrap();
        assert!(why.starts_with("the mail server") && !why.contains("ada"), "{why}");
        app.advance(wait);
        app.notices.wake();
    }
    let [mail] = server.first(1).await.try_into().unwrap();
    assert_eq!(server.moods_left(), 0);
    assert!(mail.header("Message-ID").ends_with("@acme.example>"));
    assert_eq!(until(&app, |row| row.1).await.0, 4);
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_holds_up_neither_the_next_mail_nor_a_login() {
    let server = MailServer::start().await;
    let app = App::with_settings(ACME, server.settings()).await;
    server.next([Mood::Silent, Mood::Silent]);
    for _ in 0..4 {
        let device = approve(&app).await;
        assert_eq!(device.poll().await.status, StatusCode::OK);
    }
    assert_eq!(server.first(2).await.len(), 2);
}

#[tokio::test]
async fn what_a_killed_node_had_taken_is_told_by_another_when_its_lease_is_over() {
    let server = MailServer::start().await;
    let mut app = App::with_settings(ACME, server.settings()).await;
    app.kill_tasks().await;
    approve(&app).await;
    let taken = app.notices.take_mails(&app.installation, 4).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert!(app.notices.take_mails(&app.installation, 4).await.unwrap().is_empty(), "it is somebody's");
    let other = app.another_node().await;
    other.advance(119);
    other.notices.wake();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.mails().is_empty());
    other.advance(2);
    other.notices.wake();
    let [mail] = server.first(1).await.try_into().unwrap();
    assert!(mail.header("Message-ID").contains(&taken[0].id.to_string()));
    assert_eq!(until(&app, |row| row.1).await.0, 2);
}

#[tokio::test]
async fn two_nodes_tell_once() {
    let (server, hook) = (MailServer::start().await, Hook::start().await);
    let one = App::with_settings(&(ACME.to_owned() + &hook.toml()), server.settings()).await;
    let other = one.another_node().await;
    for _ in 0..10 {
        let device = Device::ask(&one, "read").await;
        Browser::new(&other).approve_code(&device.user_code).await;
        one.notices.wake();
    }
    assert_eq!((server.first(10).await.len(), hook.first(10).await.len()), (10, 10));
    let attempts: i64 =
        sqlx::query_scalar("SELECT sum(attempts) FROM notice").fetch_one(&one.installation.pool).await.unwrap();
    assert_eq!(attempts, 20);
}
