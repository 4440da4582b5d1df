//! "This wasn't me": what the link of a notice does, and what it doesn't.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use countersign::device::codes;
use countersign::notice::link;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::app::{ACME, AGENT_SECRET, Answer, BOB_PASSWORD, form_request};
use crate::support::hook::Hook;
use crate::support::{App, Browser, Device, Page};

const SCOPE: &str = "read offline_access";

/// The token of the link for the approval of this device's code.
fn token(app: &App, device: &Device<'_>) -> String {
    let keyring = &app.installation.keyring;
    let grant = codes::read_device_code(keyring, &device.device_code, "acme-cli").unwrap();
    link::token(keyring, grant).expose().to_owned()
}

fn path(token: &str) -> String {
    format!("/activate/report?token={token}")
}

/// Presses the button, in a browser that was never here.
async fn press(app: &App, token: &str) -> Page {
    let mut browser = Browser::new(app);
    let page = browser.open("/activate/report").await;
    browser.submit(&page, "/activate/report", &[("token", token)]).await
}

/// The same by somebody who presses again when the page says that something went wrong and that pressing twice does no
/// harm: of 64 at once some wait too long for a connection to the database.
async fn press_until_told(app: &App, token: &str) -> Page {
    loop {
        let page = press(app, token).await;
        if page.status != StatusCode::SERVICE_UNAVAILABLE {
            return page;
        }
    }
}

async fn refresh(app: &App, tokens: &Answer) -> Answer {
    let refresh_token = tokens.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", "acme-cli"), ("refresh_token", &*refresh_token)];
    app.post("/auth/token", &form).await
}

/// A device that was approved and signed in, its tokens, and the token of the link.
async fn signed_in(app: &App) -> (Answer, String) {
    let device = Device::ask(app, SCOPE).await;
    let token = token(app, &device);
    Browser::new(app).approve_code(&device.user_code).await;
    let tokens = device.poll().await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    (tokens, token)
}

async fn counts(app: &App) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM report), (SELECT count(*) FROM browser_sign_in),
                (SELECT count(*) FROM session WHERE revoked_at IS NULL)",
    )
    .fetch_one(&app.installation.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn whoever_opens_the_link_changes_nothing_however_often() {
    let app = App::acme().await;
    let (tokens, token) = signed_in(&app).await;
    for method in [Method::GET, Method::HEAD, Method::GET, Method::HEAD, Method::GET] {
        let request = Request::builder().method(&method).uri(path(&token)).body(Body::empty()).unwrap();
        let answer = app.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("set-cookie"), None, "nothing is left in a browser either");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(&method).uri(path(&token)).body(Body::empty()).unwrap();
        assert_eq!(app.send(request).await.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(counts(&app).await, (0, 1, 1));
    assert_eq!(refresh(&app, &tokens).await.status, StatusCode::OK);
    let page = Browser::new(&app).open(&path(&token)).await;
    assert_eq!(page.says("h1"), ["Wasn’t it you?"]);
    assert_eq!(page.says("button"), ["This wasn’t me: sign that device out"]);
    assert_eq!(page.attribute("meta[name=robots]", "content").as_deref(), Some("noindex"));
    assert!(page.text().contains("Acme CLI of Acme") && !page.text().contains("ada@"), "{}", page.text());
    let (beginning, end) = token.split_at(30);
    // What mail programs add to a link, and the line break that some put into one.
    for odd in
        [format!("{}&utm_source=mail", path(&token)), format!("/activate/report?x=y&token={beginning}%0A%20{end}")]
    {
        assert_eq!(Browser::new(&app).open(&odd).await.says("h1"), ["Wasn’t it you?"], "{odd}");
    }
}

#[tokio::test]
async fn the_button_ends_what_came_of_the_approval_and_nothing_else_of_the_persons() {
    let hook = Hook::start().await;
    let api = "
[[organization.service]]
slug = \"api\"
client_id = \"acme-api\"
client_secret = { env = \"AGENT_SECRET\" }
resource_server = true
[[organization.user]]
email = \"bob@acme.example\"
password = { env = \"BOB_PASSWORD\" }
";
    let app = App::with(&format!("{ACME}{api}{}events = [\"reported\"]\n", hook.toml())).await;
    let (mine, _) = signed_in(&app).await;
    let (theirs, token) = signed_in(&app).await;
    // Ada's codes: one that she is about to decide on, one that she approved; and one of nobody.
    let (open, approved, free) =
        (Device::ask(&app, SCOPE).await, Device::ask(&app, SCOPE).await, Device::ask(&app, SCOPE).await);
    let mut deciding = Browser::new(&app);
    let confirm = deciding.enter_and_sign_in(&open.user_code).await;
    Browser::new(&app).approve_code(&approved.user_code).await;
    // Bob's.
    let (bobs, mut bob) = (Device::ask(&app, SCOPE).await, Browser::new(&app));
    let page = bob.enter(&bobs.user_code).await;
    let bobs_confirm = bob.sign_in(&page, "bob@acme.example", BOB_PASSWORD).await;

    let done = press(&app, &token).await;
    assert_eq!((done.status, done.says("h1")), (StatusCode::OK, vec!["It is undone".to_owned()]), "{}", done.text());
    assert_eq!(
        done.says("[role=status] li"),
        [
            "The device is signed out.",
            "2 open codes and approvals of yours are denied.",
            "You are signed out in 4 browsers."
        ]
    );
    let ended = refresh(&app, &theirs).await;
    assert_eq!(ended.error(), "invalid_grant");
    assert!(
        ended.text("error_description").contains("the person said that they had not approved it"),
        "{}",
        ended.body
    );
    for (tokens, active) in [(&theirs, false), (&mine, true)] {
        let token = tokens.text("access_token");
        let form = [("client_id", "acme-api"), ("client_secret", AGENT_SECRET), ("token", &*token)];
        assert_eq!(app.post("/auth/introspect", &form).await.json()["active"], json!(active));
    }
    assert_eq!(refresh(&app, &mine).await.status, StatusCode::OK, "another device of hers goes on");
    for denied in [&open, &approved] {
        assert_eq!(denied.poll().await.error(), "access_denied");
    }
    assert_eq!(free.poll().await.error(), "authorization_pending");
    assert_eq!(deciding.approve(&confirm).await.path, "/activate/done");
    assert_eq!(open.poll().await.error(), "access_denied");
    assert_eq!(deciding.open("/account/acme").await.path, "/account/acme/sign-in");
    // Bob goes on.
    assert_eq!(bob.approve(&bobs_confirm).await.path, "/activate/done");
    assert_eq!(bobs.poll().await.status, StatusCode::OK);

    let said = hook.first(1).await[0].verified();
    assert_eq!((said["type"].as_str().unwrap(), hook.messages().len()), ("device_login.reported", 1));
    let data = &said["data"];
    assert_eq!(
        (&data["user"]["email"], &data["ended"]["codes"], &data["ended"]["browsers"]),
        (&json!("ada@acme.example"), &json!(2), &json!(4))
    );
    assert!(data["ended"]["session"].is_string() && data.get("report_url").is_none(), "{data}");
    let audit = app.audit().await;
    assert_eq!((audit["reported"], audit["revoked"], audit["denied"]), (1, 1, 2));
    let reported = app.events().await.into_iter().find(|event| event.kind == "reported").unwrap();
    assert!(reported.grant_id.is_some() && reported.session_id.is_some() && reported.user_id.is_some());
    assert_eq!(reported.detail, json!({ "codes_denied": 2, "browsers_signed_out": 4 }));
}

#[tokio::test]
async fn pressed_again_or_opened_later_it_says_that_it_is_done() {
    let app = App::acme().await;
    let (_, token) = signed_in(&app).await;
    press(&app, &token).await;
    let at = app.installation.clock.now().format("%-d %B %Y, %H:%M UTC").to_string();
    // She signs in again, and that stays.
    let device = Device::ask(&app, SCOPE).await;
    Browser::new(&app).approve_code(&device.user_code).await;
    app.advance(600);
    for page in [press(&app, &token).await, Browser::new(&app).open(&path(&token)).await] {
        assert_eq!((page.status, page.says("h1")), (StatusCode::OK, vec!["It is undone already".to_owned()]));
        assert!(page.text().contains(&at), "{}", page.text());
        assert!(page.says("button").is_empty());
    }
    assert_eq!(counts(&app).await, (1, 1, 0));
    assert_eq!(device.poll().await.status, StatusCode::OK);
    assert_eq!(app.audit().await["reported"], 1);
}

#[tokio::test]
async fn an_approval_that_no_device_came_for_gives_no_tokens_any_more() {
    let app = App::acme().await;
    let device = Device::ask(&app, SCOPE).await;
    let token = token(&app, &device);
    Browser::new(&app).approve_code(&device.user_code).await;
    let done = press(&app, &token).await;
    assert_eq!(
        done.says("[role=status] li")[..2],
        ["The device gets nothing, or had been signed out before.", "1 open code or approval of yours is denied."]
    );
    assert_eq!(device.poll().await.error(), "access_denied");
    assert_eq!(counts(&app).await, (1, 0, 0));
}

#[tokio::test]
async fn a_poll_that_is_held_hears_of_it_at_once() {
    // It would look by itself after an interval.
    let app = App::with(&ACME.replacen("device_login = true", "device_login = true\ninterval = 60", 1)).await;
    let (_, token) = signed_in(&app).await;
    let device = Device::ask(&app, SCOPE).await;
    Browser::new(&app).enter_and_sign_in(&device.user_code).await;
    let mut held = device.poll_request();
    held.headers_mut().insert("prefer", HeaderValue::from_static("wait=30"));
    let held = async {
        let (begun, answer) = (std::time::Instant::now(), app.send(held).await);
        (begun.elapsed().as_secs(), answer.error())
    };
    let (told, _) = tokio::join!(held, async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        press(&app, &token).await
    });
    assert!(told.1 == "access_denied" && told.0 < 25, "{told:?}");
}

#[tokio::test]
async fn a_link_that_is_cut_made_up_foreign_or_too_old_does_nothing() {
    let app = App::acme().await;
    let (tokens, token) = signed_in(&app).await;
    let stranger = App::acme().await;
    let pending = Device::ask(&app, SCOPE).await;
    let never_approved = self::token(&app, &pending);
    let mut flipped = token.clone().into_bytes();
    flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let device_code = pending.device_code.replace("csd_", "csn_");
    for bad in
        ["", "x", "csn_", token.split_at(67).0, &flipped, &device_code, &tokens.text("refresh_token"), &never_approved]
    {
        for page in [Browser::new(&app).open(&path(bad)).await, press(&app, bad).await] {
            assert_eq!(
                (page.status, page.says("h1")),
                (StatusCode::NOT_FOUND, vec!["This link does not work".to_owned()]),
                "{bad}"
            );
        }
    }
    assert_eq!(
        Browser::new(&stranger).open(&path(&token)).await.status,
        StatusCode::NOT_FOUND,
        "its database has no such login"
    );
    app.advance(30 * 24 * 3600);
    assert_eq!(Browser::new(&app).open(&path(&token)).await.status, StatusCode::OK);
    app.advance(2 * 3600);
    for page in [Browser::new(&app).open(&path(&token)).await, press(&app, &token).await] {
        assert_eq!((page.status, page.says("h1")), (StatusCode::GONE, vec!["This link is too old".to_owned()]));
    }
    assert_eq!(counts(&app).await.0, 0);
}

#[tokio::test]
async fn another_sites_form_does_nothing_and_a_forged_link_asks_no_database() {
    let app = App::acme().await;
    let (_, token) = signed_in(&app).await;
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let mut request = form_request("/activate/report", &[("token", &token)]);
        request.headers_mut().insert(name, value.parse().unwrap());
        let answer = app.send(request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.body.contains("press the button on its page"), "{}", answer.body);
    }
    // In the query it is a link and not a form.
    assert_eq!(app.post(&path(&token), &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(counts(&app).await.0, 0);
    app.installation.pool.close().await;
    assert_eq!(Browser::new(&app).open(&path("csn_made-up")).await.status, StatusCode::NOT_FOUND);
    let away = Browser::new(&app).open(&path(&token)).await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.text().contains("pressing it twice does no harm"), "{}", away.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_at_once_one_does_it_and_no_poll_leaves_a_session_alive() {
    let app = App::acme().await;
    for _ in 0..4 {
        let device = Device::ask(&app, SCOPE).await;
        let token = token(&app, &device);
        Browser::new(&app).approve_code(&device.user_code).await;
        let presses = (0..32).map(|_| press_until_told(&app, &token));
        let polls = (0..32).map(|_| device.poll());
        let (pages, answers) = tokio::join!(join_all(presses), join_all(polls));
        let now: Vec<_> = pages.iter().filter(|page| page.says("h1") == ["It is undone"]).collect();
        let already = pages.iter().filter(|page| page.says("h1") == ["It is undone already"]).count();
        assert_eq!((now.len(), already), (1, 31));
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
        assert!(won.len() <= 1);
        for tokens in won {
            assert_eq!(refresh(&app, tokens).await.error(), "invalid_grant");
        }
        assert_eq!(counts(&app).await.2, 0, "no session is alive");
    }
    assert_eq!((app.audit().await["reported"], counts(&app).await.0), (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_at_the_same_moment_is_denied_or_does_not_happen() {
    let app = App::acme().await;
    for _ in 0..6 {
        let (_, token) = signed_in(&app).await;
        let device = Device::ask(&app, SCOPE).await;
        let mut browser = Browser::new(&app);
        let confirm = browser.enter_and_sign_in(&device.user_code).await;
        let (_, page) = tokio::join!(browser.approve(&confirm), press(&app, &token));
        assert_eq!(page.says("h1"), ["It is undone"]);
        assert_eq!(device.poll().await.error(), "access_denied");
    }
    assert_eq!(counts(&app).await.2, 0);
}

/// Others lock the same rows in other orders, and PostgreSQL takes one of them back.
#[tokio::test]
async fn who_is_taken_back_by_the_database_is_tried_once_more() {
    let app = App::acme().await;
    let (_, token) = signed_in(&app).await;
    for sql in [
        "CREATE SEQUENCE presses",
        "CREATE FUNCTION deadlock_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             IF nextval('public.presses') = 1 THEN RAISE 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END IF;
             RETURN NEW;
         END $$",
        "CREATE TRIGGER deadlock_once BEFORE INSERT ON report FOR EACH ROW EXECUTE FUNCTION deadlock_once()",
    ] {
        sqlx::query(sql).execute(&app.owner()).await.unwrap();
    }
    let page = press(&app, &token).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(counts(&app).await, (1, 0, 0));
    assert_eq!(app.audit().await["reported"], 1);
    let tries: i64 = sqlx::query_scalar("SELECT last_value FROM presses").fetch_one(&app.owner()).await.unwrap();
    assert_eq!(tries, 2);
}
