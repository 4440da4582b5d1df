//! `/setup`: how an installation gets its first owner.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use countersign::setup::link;
use futures_util::future::join_all;

use crate::api::with_header;
use crate::support::app::{App, form_request};
use crate::support::{Browser, Device, Page};

const EMAIL: &str = "grace@acme.example";
const PASSWORD: &str = "correct horse battery";
const FORM: [(&str, &str); 4] =
    [("email", EMAIL), ("name", "Grace"), ("password", PASSWORD), ("password_again", PASSWORD)];

/// The link that a start of the server prints, as a path.
async fn printed(app: &App) -> String {
    let url = link::issue(&app.installation).await.unwrap().expect("there is no owner");
    url.expose().strip_prefix(app.issuer()).unwrap().to_owned()
}

/// Fills in the form; the page that comes is that of the authenticator.
async fn fill_in(browser: &mut Browser<'_>, link: &str) -> Page {
    let page = browser.open(link).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    send(browser, &page, "/setup", &FORM).await
}

/// Sends a form with the fields that its page carries.
async fn send(browser: &mut Browser<'_>, page: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
    let carried: Vec<(&str, String)> =
        ["token", "candidate"].into_iter().filter_map(|name| Some((name, page.field(name)?))).collect();
    let carried: Vec<(&str, &str)> = carried.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.submit(page, path, &[fields, &carried[..]].concat()).await
}

/// The code that the authenticator shows which was set up by this page.
fn code(app: &App, page: &Page) -> String {
    app.totp(&page.says("code.secret").concat())
}

async fn become_owner(app: &App) -> (Page, String) {
    let mut browser = Browser::new(app);
    let page = fill_in(&mut browser, &printed(app).await).await;
    let secret = page.says("code.secret").concat();
    let page = send(&mut browser, &page, "/setup/authenticator", &[("code", &app.totp(&secret))]).await;
    assert_eq!(page.says("h1"), ["Save your recovery codes"], "{}", page.text());
    (page, secret)
}

async fn owners(app: &App) -> i64 {
    let owners = "SELECT count(*) FROM app_user WHERE role = 'owner'";
    sqlx::query_scalar(owners).fetch_one(&app.installation.pool).await.unwrap()
}

#[tokio::test]
async fn whoever_opens_the_link_becomes_the_owner_and_logs_in() {
    let app = App::acme().await;
    let (page, secret) = become_owner(&app).await;
    assert_eq!(page.says("ol.codes li").len(), 10);
    assert_eq!(page.attribute(".actions a", "href").unwrap(), "/setup/done");
    let mut browser = Browser::new(&app);
    let next = browser.open("/setup/done").await;
    assert!(next.text().contains("countersign login https://auth.acme.example --admin"));
    assert!(link::issue(&app.installation).await.unwrap().is_none(), "no start prints another");

    // The account works at once: the administration's own client logs in with it.
    app.advance(30);
    let device = Device::ask_as(&app, "platform-admin-cli", "openid email admin:read").await;
    let page = browser.enter(&device.user_code).await;
    let page = browser.sign_in(&page, EMAIL, PASSWORD).await;
    let page = browser.prove(&page, &app.totp(&secret)).await;
    let done = browser.approve(&page).await;
    assert_eq!(done.path, "/activate/done", "{}", done.text());
    let claims = device.poll().await.claims("access_token");
    assert_eq!((claims["org"].as_str(), claims["email"].as_str()), (Some("platform"), Some(EMAIL)));

    let events = app.events().await;
    let made = events.iter().find(|event| event.kind == "owner_made").unwrap();
    assert!(made.user_id.is_some() && made.ip.is_some());
    assert_eq!(made.detail, serde_json::json!({ "by": "setup link" }));
}

#[tokio::test]
async fn what_only_looks_at_the_link_uses_nothing_up() {
    let app = App::acme().await;
    let link = printed(&app).await;
    for _ in 0..150 {
        assert_eq!(app.get(&link).await.status, StatusCode::OK);
    }
    let head = Request::head(&link).body(Body::empty()).unwrap();
    assert_eq!(app.send(head).await.status, StatusCode::OK);
    let mut browser = Browser::new(&app);
    let page = fill_in(&mut browser, &link).await;
    assert_eq!(page.says("h1"), ["Set up an authenticator"]);
    assert_eq!(owners(&app).await, 0);
}

#[tokio::test]
async fn who_stops_half_way_has_made_nothing_and_may_begin_again() {
    let app = App::acme().await;
    let link = printed(&app).await;
    let people = "SELECT count(*) FROM app_user";
    let before: i64 = sqlx::query_scalar(people).fetch_one(&app.installation.pool).await.unwrap();
    fill_in(&mut Browser::new(&app), &link).await;
    let mut browser = Browser::new(&app);
    let page = fill_in(&mut browser, &link).await;
    let shown = page.says("code.secret");
    let wrong = if code(&app, &page) == "000000" { "000001" } else { "000000" };
    let again = send(&mut browser, &page, "/setup/authenticator", &[("code", wrong)]).await;
    assert_eq!((again.status, again.says("code.secret")), (StatusCode::BAD_REQUEST, shown), "the same key once more");
    let after: i64 = sqlx::query_scalar(people).fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(after, before);
    let done = send(&mut browser, &again, "/setup/authenticator", &[("code", &code(&app, &page))]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    assert_eq!(owners(&app).await, 1);
}

#[tokio::test]
async fn a_link_is_good_for_half_an_hour_until_the_next_start_and_for_one_owner() {
    let app = App::acme().await;
    let first = printed(&app).await;
    let second = printed(&app).await;
    let mut browser = Browser::new(&app);
    let replaced = browser.open(&first).await;
    assert_eq!((replaced.status, replaced.says("h1")), (StatusCode::GONE, vec!["There is a newer setup link".into()]));
    let page = fill_in(&mut browser, &second).await;
    app.advance(30 * 60 - 1);
    assert_eq!(browser.open(&second).await.status, StatusCode::OK);
    app.advance(1);
    let late = send(&mut browser, &page, "/setup/authenticator", &[("code", &code(&app, &page))]).await;
    assert_eq!((late.status, late.says("h1")), (StatusCode::GONE, vec!["This setup link has expired".into()]));
    assert!(late.text().contains("Start the server again") && late.text().contains("countersign setup"));
    assert_eq!(owners(&app).await, 0);

    let third = printed(&app).await;
    let page = fill_in(&mut browser, &third).await;
    let by = send(&mut browser, &page, "/setup/authenticator", &[("code", &code(&app, &page))]).await;
    assert_eq!(by.status, StatusCode::OK);
    let used = browser.open(&third).await;
    assert_eq!((used.status, used.says("h1")), (StatusCode::GONE, vec!["This server is set up already".into()]));
    assert_eq!(used.attribute(".actions a", "href").unwrap(), "/account/platform");
    let again = send(&mut browser, &page, "/setup/authenticator", &[("code", &code(&app, &page))]).await;
    assert_eq!((again.status, owners(&app).await), (StatusCode::GONE, 1), "once");
}

#[tokio::test]
async fn of_64_at_once_one_becomes_the_owner() {
    let app = App::acme().await;
    let link = printed(&app).await;
    let pages: Vec<Page> = {
        // One after the other: it is the last step that they race for.
        let mut pages = Vec::new();
        for _ in 0..8 {
            pages.push(fill_in(&mut Browser::new(&app), &link).await);
        }
        pages
    };
    let other = app.another_node().await;
    let requests = (0..64).map(|nth: usize| {
        let (page, node) = (&pages[nth % 8], if nth.is_multiple_of(2) { &app } else { &other });
        async move {
            let mut browser = Browser::new(node);
            loop {
                let done = send(&mut browser, page, "/setup/authenticator", &[("code", &code(node, page))]).await;
                // Beaten to the hasher, or to a connection.
                if done.status != StatusCode::SERVICE_UNAVAILABLE {
                    return done;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let answers = join_all(requests).await;
    let won = answers.iter().filter(|page| page.status == StatusCode::OK).count();
    let lost = answers.iter().filter(|page| page.status == StatusCode::GONE).count();
    assert_eq!((won, lost), (1, 63));
    assert_eq!(owners(&app).await, 1);
    assert_eq!(app.audit().await["owner_made"], 1);
}

/// Whatever a caller of the database's functions believes, there is no second one.
#[tokio::test]
async fn the_database_itself_refuses_a_second_first_owner() {
    let app = App::acme().await;
    become_owner(&app).await;
    let call =
        "SELECT make_owner(gen_random_uuid(), 'eve@acme.example', '', 'x', gen_random_uuid(), now(), NULL, false)";
    let outcome: String = sqlx::query_scalar(call).fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!((outcome.as_str(), owners(&app).await), ("owned", 1));
    let call = "SELECT print_setup_link(gen_random_uuid(), decode(repeat('00', 32), 'hex'), now(), now())";
    let printed: Option<uuid::Uuid> = sqlx::query_scalar(call).fetch_one(&app.installation.pool).await.unwrap();
    assert_eq!(printed, None);
}

#[tokio::test]
async fn guesses_are_bounded_tell_nothing_and_keep_nobody_out() {
    let app = App::acme().await;
    let link = printed(&app).await;
    let mut last = StatusCode::OK;
    for nth in 0..105_u8 {
        let guess = format!("csu_{}", countersign::secrets::base64url(&[nth; 32]));
        let page = Browser::new(&app).open(&format!("/setup?token={guess}")).await;
        assert!(matches!(page.status, StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS), "{}", page.status);
        last = page.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let guess = format!("/setup?token=csu_{}", countersign::secrets::base64url(&[150; 32]));
    let page = Browser::new(&app).open(&guess).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.answer.header("retry-after").is_some());
    let elsewhere = Browser::behind_proxy(&app, "203.0.113.9").open(&guess).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND, "another network has not guessed yet");
    // The right one comes from the network of those who guess, and waits for nothing: to its last step.
    let mut browser = Browser::new(&app);
    let page = fill_in(&mut browser, &link).await;
    let wrong = if code(&app, &page) == "000000" { "000001" } else { "000000" };
    let again = send(&mut browser, &page, "/setup/authenticator", &[("code", wrong)]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "the code was wrong, and not the link");
    let refused = app.audit().await["refused"];
    assert!((100..=104).contains(&refused), "{refused}");
    // What could be no link costs nothing and is written nowhere.
    for none in ["", "csu_", "csu_AAAA", "%00", &"x".repeat(4000)] {
        assert_eq!(app.get(&format!("/setup?token={none}")).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(app.audit().await["refused"], refused);
    // After an owner is there, a made-up link looks like it did before.
    app.advance(3600);
    become_owner(&app).await;
    let guess = format!("/setup?token=csu_{}", countersign::secrets::base64url(&[200; 32]));
    assert_eq!(app.get(&guess).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn forms_of_elsewhere_and_other_links_are_refused() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    let page = fill_in(&mut browser, &printed(&app).await).await;
    let (candidate, old) = (page.field("candidate").unwrap(), code(&app, &page));
    // What was sealed for one link is nothing at another.
    let link = printed(&app).await;
    let token = link.split_once('=').unwrap().1;
    let fields = [("token", token), ("candidate", candidate.as_str()), ("code", old.as_str())];
    let answer = app.post("/setup/authenticator", &fields).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
    let form: Vec<(&str, &str)> = FORM.into_iter().chain([("token", token)]).collect();
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let answer = app.send(with_header(form_request("/setup", &form), name, value)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let elsewhere = with_header(Request::get(&link).body(Body::empty()).unwrap(), "host", "evil.example");
    assert_eq!(app.send(elsewhere).await.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(owners(&app).await, 0);
}

#[tokio::test]
async fn what_is_wrong_with_the_form_is_said_and_what_was_typed_stays() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    let page = browser.open(&printed(&app).await).await;
    let fields = [("email", "grace"), ("name", "Grace"), ("password", "short"), ("password_again", "")];
    let page = send(&mut browser, &page, "/setup", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!((page.field("email").as_deref(), page.field("name").as_deref()), (Some("grace"), Some("Grace")));
    assert!(!page.html.contains("short"));
    assert!(page.text().contains("Enter your email address") && page.text().contains("at least 8 characters"));
    let page = send(&mut browser, &page, "/setup", &FORM).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
}

#[tokio::test]
async fn somebody_of_the_platform_is_not_overwritten() {
    let app = App::acme().await;
    let member = format!("[[organization]]\nslug = \"platform\"\n[[organization.user]]\nemail = \"{EMAIL}\"\n");
    app.apply(&member).await;
    let mut browser = Browser::new(&app);
    let page = fill_in(&mut browser, &printed(&app).await).await;
    let page = send(&mut browser, &page, "/setup/authenticator", &[("code", &code(&app, &page))]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text().contains("somebody with this address already"), "{}", page.text());
    assert_eq!(owners(&app).await, 0);
    // The link goes on, with another address.
    let form = [("email", "hopper@acme.example"), ("password", PASSWORD), ("password_again", PASSWORD)];
    let page = send(&mut browser, &page, "/setup", &form).await;
    let page = send(&mut browser, &page, "/setup/authenticator", &[("code", &code(&app, &page))]).await;
    assert_eq!((page.status, owners(&app).await), (StatusCode::OK, 1));
}

/// An owner by `apply` counts, whether or not they ever signed in.
#[tokio::test]
async fn where_apply_named_an_owner_no_link_is_printed() {
    let app = App::acme().await;
    let link = printed(&app).await;
    let owner = format!(
        "[[organization]]\nslug = \"platform\"\n[[organization.user]]\nemail = \"{EMAIL}\"\nrole = \"owner\"\n"
    );
    app.apply(&owner).await;
    assert!(link::issue(&app.installation).await.unwrap().is_none());
    assert_eq!(app.get(&link).await.status, StatusCode::GONE);
}

/// Neither the audit nor any table holds the token, the password or the key.
#[tokio::test]
async fn the_database_holds_no_secret_of_it() {
    let app = App::acme().await;
    let link = printed(&app).await;
    let token = link.split_once('=').unwrap().1.to_owned();
    let mut browser = Browser::new(&app);
    let page = fill_in(&mut browser, &link).await;
    let secret = page.says("code.secret").concat();
    let page = send(&mut browser, &page, "/setup/authenticator", &[("code", &app.totp(&secret))]).await;
    let codes = page.says("ol.codes code");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&app.installation.pool)
    .await
    .unwrap();
    assert!(tables.len() > 20);
    let owner = app.owner();
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t")))
            .fetch_all(&owner)
            .await
            .unwrap();
        let rows = rows.concat();
        for secret in
            [&token, token.trim_start_matches("csu_"), PASSWORD, &secret, &codes[0], &codes[0].replace('-', "")]
        {
            assert!(!rows.contains(secret), "{table} holds {secret}");
        }
    }
    owner.close().await;
}
