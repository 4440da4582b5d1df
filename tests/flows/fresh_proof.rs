//! Fresh proof: a service, or one of its scopes, asks for a recent sign-in, a second factor, or both.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::app::{ACME, ADA_PASSWORD, TOTP_SECRET};
use crate::support::{App, Browser, Device, Page};

const ADA: &str = "ada@acme.example";

/// [`ACME`], where no second factor is asked, with these keys for its service `cli` and these for its scope `deploy`.
pub fn asking(service: &str, deploy: &str) -> String {
    let client = "client_id = \"acme-cli\"";
    let toml = ACME.replace(client, &format!("{client}\n{service}"));
    let described = format!("deploy = {{ text = \"Deploy to production\"{deploy} }}");
    toml.replace("deploy = \"Deploy to production\"", &described)
}

/// What the scope `deploy` asks for in most tests.
pub const MFA_NOW: &str = ", max_age = \"0s\", factor = \"mfa\"";

/// A new device's code, typed into a browser.
async fn enter<'a>(app: &'a App, browser: &mut Browser<'_>, scope: &str) -> (Device<'a>, Page) {
    let device = Device::ask(app, scope).await;
    let page = browser.enter(&device.user_code).await;
    (device, page)
}

async fn sign_in(browser: &mut Browser<'_>, page: &Page) -> Page {
    assert_eq!(page.path, "/activate/sign-in", "{}", page.text());
    browser.sign_in(page, ADA, ADA_PASSWORD).await
}

/// A browser in which Ada has signed in, and approved a device that may read.
async fn left_signed_in(app: &App) -> Browser<'_> {
    let mut browser = Browser::new(app);
    let (_device, page) = enter(app, &mut browser, "read").await;
    let confirm = sign_in(&mut browser, &page).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done", "{}", confirm.text());
    browser
}

/// Types what Ada's authenticator shows next: a code is good once.
async fn prove(app: &App, browser: &mut Browser<'_>, page: &Page) -> Page {
    assert_eq!(page.path, "/activate/mfa", "{}", page.text());
    app.advance(30);
    browser.prove(page, &app.totp(TOTP_SECRET)).await
}

fn reason(page: &Page) -> String {
    page.says("main .note").join(" ")
}

#[tokio::test]
async fn a_sign_in_serves_as_long_as_the_service_allows() {
    let app = App::with(&asking("max_age = \"1h\"", "")).await;
    let mut browser = left_signed_in(&app).await;
    app.advance(3599);
    let (device, confirm) = enter(&app, &mut browser, "read").await;
    assert_eq!(confirm.path, "/activate/confirm");
    browser.approve(&confirm).await;
    let signed_in_at = app.installation.clock.now().timestamp() - 3599;
    assert_eq!(device.poll().await.claims("access_token")["auth_time"], signed_in_at);

    app.advance(2);
    let (device, page) = enter(&app, &mut browser, "read").await;
    assert_eq!(page.path, "/activate/sign-in");
    assert_eq!(reason(&page), "Acme CLI asks for a sign-in of the last hour. Sign in again.");
    assert!(page.text().contains(ADA), "it says as whom: {}", page.text());
    let confirm = sign_in(&mut browser, &page).await;
    browser.approve(&confirm).await;
    let claims = device.poll().await.claims("access_token");
    assert_eq!(claims["auth_time"], app.installation.clock.now().timestamp());
}

#[tokio::test]
async fn zero_is_a_sign_in_for_this_very_device() {
    let app = App::with(&asking("max_age = \"0s\"", "")).await;
    let mut browser = left_signed_in(&app).await;
    let (first, page) = enter(&app, &mut browser, "read").await;
    assert_eq!(reason(&page), "Acme CLI asks for a sign-in for this very device. Sign in again.");
    // Another tab, another device: a sign-in is for one of them.
    let (second, page) = enter(&app, &mut browser, "read").await;
    let confirm = sign_in(&mut browser, &page).await;
    assert_eq!(confirm.path, "/activate/confirm");
    let page = browser.enter(&first.user_code).await;
    assert_eq!(page.path, "/activate/sign-in", "it was for the other one");
    let fields = [("scope", "read"), ("mine", "yes"), ("decision", "approve")];
    assert_eq!(browser.submit(&page, "/activate/confirm", &fields).await.path, "/activate/sign-in");
    let confirm = sign_in(&mut browser, &page).await;
    browser.approve(&confirm).await;
    assert_eq!(first.poll().await.status, StatusCode::OK);
    assert_eq!(browser.enter(&second.user_code).await.path, "/activate/sign-in", "and now it is for the first");
    assert_eq!(second.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn deploying_needs_mfa_now_and_reading_does_not() {
    let app = App::with(&asking("mfa_max_age = \"8h\"", MFA_NOW)).await;
    app.enrol(ADA).await;
    let mut browser = left_signed_in(&app).await;
    for _ in 0..2 {
        let (device, page) = enter(&app, &mut browser, "read deploy").await;
        assert_eq!(reason(&page), "“Deploy to production” asks for a sign-in for this very device. Sign in again.");
        let page = sign_in(&mut browser, &page).await;
        assert_eq!(
            reason(&page),
            "“Deploy to production” asks you to verify that it is you, for this device.",
            "though one of the last 8 hours serves elsewhere"
        );
        let confirm = prove(&app, &mut browser, &page).await;
        assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
        let tokens = device.poll().await;
        assert_eq!(tokens.claims("access_token")["amr"], json!(["pwd", "otp", "mfa"]));
        assert_eq!(tokens.text("scope"), "read deploy");
    }
    let (device, confirm) = enter(&app, &mut browser, "read openid offline_access").await;
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.claims("access_token")["amr"], json!(["pwd"]), "nothing else was proven for it");
}

#[tokio::test]
async fn what_is_asked_counts_whatever_is_granted() {
    let app = App::with(&asking("", MFA_NOW)).await;
    app.enrol(ADA).await;
    let mut browser = left_signed_in(&app).await;
    let (device, page) = enter(&app, &mut browser, "read deploy").await;
    let only_reading = [("scope", "read"), ("mine", "yes"), ("decision", "approve")];
    assert_eq!(browser.submit(&page, "/activate/confirm", &only_reading).await.path, "/activate/sign-in");
    let page = sign_in(&mut browser, &page).await;
    assert_eq!(browser.submit(&page, "/activate/confirm", &only_reading).await.path, "/activate/mfa");
    let confirm = prove(&app, &mut browser, &page).await;
    assert_eq!(browser.submit(&confirm, "/activate/confirm", &only_reading).await.path, "/activate/done");
    assert_eq!(device.poll().await.text("scope"), "read");
}

#[tokio::test]
async fn the_strictest_of_service_and_scopes_counts() {
    let app = App::with(&asking("max_age = \"10m\"\nfactor = \"otp\"", ", max_age = \"5m\", factor = \"mfa\"")).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let (_device, page) = enter(&app, &mut browser, "read").await;
    let page = sign_in(&mut browser, &page).await;
    assert_eq!(reason(&page), "Acme CLI asks you to verify that it is you in the last 10 minutes.");
    app.advance(400);
    let (_device, page) = enter(&app, &mut browser, "read").await;
    assert_eq!(page.path, "/activate/mfa", "signed in less than ten minutes ago");
    let (_device, page) = enter(&app, &mut browser, "deploy").await;
    assert_eq!(reason(&page), "“Deploy to production” asks for a sign-in of the last 5 minutes. Sign in again.");
    let page = sign_in(&mut browser, &page).await;
    assert!(page.says("details").is_empty(), "the service wants an authenticator: {}", page.text());
}

#[tokio::test]
async fn an_authenticator_can_be_asked_for_and_a_recovery_code_does_not_do() {
    let app = App::with(&asking("factor = \"otp\"", "")).await;
    let mut browser = Browser::new(&app);
    let (first, page) = enter(&app, &mut browser, "read").await;
    let page = sign_in(&mut browser, &page).await;
    assert_eq!(page.says("h1"), ["Set up an authenticator"], "although no policy asks for a second factor");
    let secret = page.says(".secret").join("").replace(' ', "");
    let codes = browser.prove(&page, &app.totp(&secret)).await.says(".codes code");
    let confirm = browser.open("/activate/confirm").await;
    browser.approve(&confirm).await;
    assert_eq!(first.poll().await.claims("access_token")["amr"], json!(["pwd", "otp", "mfa"]));

    let (second, page) = enter(&app, &mut browser, "read").await;
    assert!(page.says("details").is_empty() && page.text().contains("A recovery code is not enough here"));
    let again = browser.prove(&page, &codes[0]).await;
    assert_eq!((again.path.as_str(), again.status), ("/activate/mfa", StatusCode::BAD_REQUEST));
    assert!(again.says("#code-error")[0].contains("A recovery code is not enough here"), "{}", again.text());
    assert_eq!(second.poll().await.error(), "authorization_pending");

    // Where any factor will do, the same code does: it was not used up. And the token says how it was proven.
    app.apply(&asking("factor = \"mfa\"", "")).await;
    let (third, page) = enter(&app, &mut browser, "read").await;
    assert_eq!(page.says("details").len(), 1);
    let confirm = browser.prove(&page, &codes[0]).await;
    browser.approve(&confirm).await;
    assert_eq!(third.poll().await.claims("access_token")["amr"], json!(["pwd", "mfa"]));
}

#[tokio::test]
async fn who_has_no_factor_sets_one_up_after_a_sign_in_for_this_login() {
    let app = App::with(&asking("", ", factor = \"otp\"")).await;
    let mut browser = left_signed_in(&app).await;
    app.advance(1);
    let (device, page) = enter(&app, &mut browser, "deploy").await;
    assert_eq!(reason(&page), "Sign in once more: then you can set up an authenticator.");
    let page = sign_in(&mut browser, &page).await;
    assert_eq!(page.says("h1"), ["Set up an authenticator"]);
    let secret = page.says(".secret").join("").replace(' ', "");
    assert_eq!(browser.prove(&page, &app.totp(&secret)).await.says(".codes code").len(), 10);
    let confirm = browser.open("/activate/confirm").await;
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn time_that_passes_before_the_decision_leads_back_to_what_is_missing() {
    let app = App::with(&asking("", ", max_age = \"5m\", factor = \"mfa\"")).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let (device, page) = enter(&app, &mut browser, "deploy").await;
    let page = sign_in(&mut browser, &page).await;
    app.advance(200);
    let confirm = prove(&app, &mut browser, &page).await;
    assert_eq!(confirm.path, "/activate/confirm");
    app.advance(71);
    let page = browser.approve(&confirm).await;
    assert_eq!(page.path, "/activate/sign-in", "the sign-in is 301 seconds old, the second factor 71");
    assert_eq!(reason(&page), "“Deploy to production” asks for a sign-in of the last 5 minutes. Sign in again.");
    let confirm = sign_in(&mut browser, &page).await;
    assert_eq!(confirm.path, "/activate/confirm", "the second factor serves");
    app.advance(230);
    let page = browser.approve(&confirm).await;
    assert_eq!(page.path, "/activate/mfa", "now it is 301 seconds old, and the sign-in 230");
    let reason = reason(&page);
    assert_eq!(reason, "“Deploy to production” asks you to verify that it is you in the last 5 minutes.");
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let confirm = prove(&app, &mut browser, &page).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    // Once it is decided, time may pass.
    app.advance(14);
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_time_runs_out_on_the_page_of_the_second_factor_and_no_code_is_used_up() {
    let app = App::with(&asking("max_age = \"5m\"\nfactor = \"mfa\"", "")).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let (_device, page) = enter(&app, &mut browser, "read").await;
    let page = sign_in(&mut browser, &page).await;
    app.advance(301);
    let code = app.totp(TOTP_SECRET);
    let page = browser.prove(&page, &code).await;
    let page = sign_in(&mut browser, &page).await;
    assert_eq!(browser.prove(&page, &code).await.path, "/activate/confirm");
}

#[tokio::test]
async fn to_deny_nothing_has_to_be_proven_again() {
    let app = App::with(&asking("max_age = \"5m\"", "")).await;
    let mut browser = Browser::new(&app);
    let (device, page) = enter(&app, &mut browser, "read").await;
    let confirm = sign_in(&mut browser, &page).await;
    app.advance(301);
    assert_eq!(browser.decide(&confirm, "deny").await.path, "/activate/done");
    assert_eq!(device.poll().await.error(), "access_denied");
}

#[tokio::test]
async fn a_proof_for_another_device_serves_as_long_as_everybody_allows() {
    let app = App::with(&asking("mfa = \"required\"\nmfa_max_age = \"8h\"", ", max_age = \"5m\"")).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let (_device, page) = enter(&app, &mut browser, "read").await;
    let page = sign_in(&mut browser, &page).await;
    let confirm = prove(&app, &mut browser, &page).await;
    browser.approve(&confirm).await;
    app.advance(240);
    let (device, confirm) = enter(&app, &mut browser, "deploy").await;
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    app.advance(61);
    let (later, page) = enter(&app, &mut browser, "deploy").await;
    assert_eq!(page.path, "/activate/sign-in", "five minutes are over");
    let page = sign_in(&mut browser, &page).await;
    assert_eq!(page.path, "/activate/mfa");
    assert_eq!(
        enter(&app, &mut browser, "read").await.1.path,
        "/activate/mfa",
        "another sign-in has proven nothing yet"
    );
    for device in [device, later] {
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
}

#[tokio::test]
async fn what_becomes_stricter_on_the_way_counts_at_the_decision() {
    let lax = asking("", "");
    for (strict, missing) in [
        (asking("max_age = \"0s\"", ""), "/activate/sign-in"),
        (asking("max_age = \"1m\"", ""), "/activate/sign-in"),
        (asking("factor = \"mfa\"", ""), "/activate/mfa"),
        (asking("", MFA_NOW), "/activate/sign-in"),
    ] {
        let app = App::with(&lax).await;
        app.enrol(ADA).await;
        let mut browser = left_signed_in(&app).await;
        app.advance(61);
        let (device, confirm) = enter(&app, &mut browser, "deploy").await;
        app.apply(&strict).await;
        assert_eq!(browser.approve(&confirm).await.path, missing, "{strict}");
        assert_eq!(device.poll().await.error(), "authorization_pending");
    }
}

#[tokio::test]
async fn what_becomes_laxer_on_the_way_changes_nothing_for_who_is_under_way() {
    let app = App::with(&asking("", MFA_NOW)).await;
    app.enrol(ADA).await;
    let mut browser = left_signed_in(&app).await;
    let (device, page) = enter(&app, &mut browser, "deploy").await;
    app.apply(&asking("", "")).await;
    let page = browser.open(&page.path).await;
    assert_eq!(reason(&page), "Acme CLI asks for a sign-in for this very device. Sign in again.");
    let page = sign_in(&mut browser, &page).await;
    let confirm = prove(&app, &mut browser, &page).await;
    browser.approve(&confirm).await;
    assert_eq!(device.poll().await.status, StatusCode::OK);
    assert_eq!(enter(&app, &mut browser, "deploy").await.1.path, "/activate/confirm", "the next one has it easier");
}

#[tokio::test]
async fn what_becomes_stricter_after_the_decision_counts_when_the_tokens_are_fetched() {
    let lax = asking("", "");
    for (strict, proven) in [
        (asking("max_age = \"1m\"", ""), false),
        (asking("max_age = \"0s\"", ""), false),
        (asking("factor = \"mfa\"", ""), false),
        (asking("", MFA_NOW), false),
        (asking("max_age = \"2m\"", ""), true),
    ] {
        let app = App::with(&lax).await;
        let mut browser = left_signed_in(&app).await;
        app.advance(61);
        let (device, confirm) = enter(&app, &mut browser, "deploy").await;
        browser.approve(&confirm).await;
        // What counts is how old the sign-in was at the decision.
        app.advance(120);
        app.apply(&strict).await;
        let expected = if proven { "" } else { "access_denied" };
        assert_eq!(device.poll().await.error(), expected, "{strict}");
    }
}

#[tokio::test]
async fn another_node_asks_for_the_same() {
    let app = App::with(&asking("", MFA_NOW)).await;
    app.enrol(ADA).await;
    let other = app.another_node().await;
    let mut browser = left_signed_in(&app).await;
    let device = Device::ask(&other, "deploy").await;
    let page = browser.enter(&device.user_code).await;
    let page = sign_in(&mut browser, &page).await;
    let mut there = Browser::new(&other);
    there.cookie.clone_from(&browser.cookie);
    assert_eq!(there.open("/activate/confirm").await.path, "/activate/mfa");
    let confirm = prove(&other, &mut there, &page).await;
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
    assert_eq!(device.poll_held().await.status, StatusCode::OK);
}

#[tokio::test]
async fn somebody_elses_proof_is_nobodys() {
    let toml = asking("", MFA_NOW)
        + "\n[[organization.user]]\nemail = \"bob@acme.example\"\nname = \"Bob\"\npassword = { env = \"BOB_PASSWORD\" }\n";
    let app = App::with(&toml).await;
    app.enrol(ADA).await;
    app.enrol("bob@acme.example").await;
    let mut browser = Browser::new(&app);
    let (device, page) = enter(&app, &mut browser, "deploy").await;
    let page = sign_in(&mut browser, &page).await;
    let confirm = prove(&app, &mut browser, &page).await;
    let page = browser.sign_out(&confirm).await;
    let page = browser.sign_in(&page, "bob@acme.example", crate::support::app::BOB_PASSWORD).await;
    assert_eq!(page.path, "/activate/mfa");
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

/// Every demand beside every state of what was proven: the pages let somebody decide exactly where the SQL of the approval
/// would take it.
#[tokio::test]
async fn pages_and_database_agree() {
    let app = App::with(&ACME.replace("mfa = \"off\"", "mfa = \"if_enrolled\"")).await;
    let mut browser = left_signed_in(&app).await;
    app.advance(3600);
    let (_device, page) = enter(&app, &mut browser, "read deploy").await;
    assert_eq!(page.path, "/activate/confirm");
    let pool = &app.installation.pool;
    let now = app.installation.clock.now();
    let ages = "UPDATE device_grant SET claimed_at = $1 - interval '8 minutes' WHERE state = 'claimed'";
    sqlx::query(ages).bind(now).execute(pool).await.unwrap();
    let own = "(SELECT id FROM device_grant WHERE state = 'claimed')";
    let sign_ins = ["proven_at = NULL, grant_id = NULL", "proven_at = $1 - interval '1 minute', grant_id = NULL"];
    let sign_ins = sign_ins.map(str::to_owned).into_iter().chain(
        ["1 minute", "7 minutes", "9 minutes"]
            .map(|age| format!("proven_at = $1 - interval '{age}', grant_id = {own}")),
    );
    let factor = |age: &str, amr: &str, borrowed: bool| {
        format!(
            "mfa_at = $1 - interval '{age}', mfa_amr = '{amr}', mfa_borrowed = {borrowed}, mfa_user_id = \
                 (SELECT user_id FROM browser_sign_in)"
        )
    };
    let factors = [
        "mfa_user_id = NULL, mfa_at = NULL, mfa_amr = '{}', mfa_borrowed = false".to_owned(),
        factor("1 minute", "{otp,mfa}", false),
        factor("7 minutes", "{otp,mfa}", false),
        factor("1 minute", "{mfa}", false),
        factor("1 minute", "{otp,mfa}", true),
    ];
    let services = ["NULL, NULL", "0, NULL", "300, NULL", "NULL, 'mfa'", "600, 'otp'"];
    let scopes = ["", ", {}", ", {\"max_age\": 0, \"factor\": \"mfa\"}", ", {\"max_age\": 300, \"factor\": \"otp\"}"];
    let (mut yes, mut no) = (0, 0);
    for sign_in in sign_ins {
        let sql = format!("UPDATE browser_sign_in SET {sign_in}");
        let binds = sign_in.contains("$1");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        if binds { query.bind(now) } else { query }.execute(pool).await.unwrap();
        for factor in &factors {
            let query =
                sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE device_grant SET {factor} WHERE state = 'claimed'")));
            if factor.contains("$1") { query.bind(now) } else { query }.execute(pool).await.unwrap();
            for (service, scope) in services.iter().flat_map(|service| scopes.map(|scope| (service, scope))) {
                let sql = format!(
                    "UPDATE service SET (max_age_seconds, factor) = ({service}),
                         scopes = '[[\"read\", \"R\"], [\"deploy\", \"D\"{scope}]]' WHERE client_id = 'acme-cli'"
                );
                sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
                // A page may be shown by what was so a moment ago; here it is to know.
                app.services.forget();
                let by_page = browser.open("/activate/confirm").await.path == "/activate/confirm";
                let by_database: bool = sqlx::query_scalar(
                    "SELECT coalesce(proven_as_asked(g, s, o.mfa, b.user_id, b.proven_at, b.grant_id, $1), false)
                     FROM device_grant g JOIN service s ON s.id = g.service_id
                          JOIN organization o ON o.id = g.organization_id, browser_sign_in b
                     WHERE g.state = 'claimed'",
                )
                .bind(now)
                .fetch_one(pool)
                .await
                .unwrap();
                assert_eq!(by_page, by_database, "{sign_in}; {factor}; {service}; {scope}");
                if by_page { yes += 1 } else { no += 1 }
            }
        }
    }
    assert!(yes > 100 && no > 100, "{yes} and {no}");
}

/// What a person proves, what they decide and what they report lock the same rows: the sign-in first, then the login.
#[tokio::test]
async fn a_proof_holds_the_sign_in_before_the_login() {
    let app = App::with(&asking("mfa = \"required\"\nmfa_max_age = \"12h\"", "")).await;
    app.enrol(ADA).await;
    let mut browser = Browser::new(&app);
    let device = Device::ask(&app, "read").await;
    let page = browser.enter_and_sign_in(&device.user_code).await;
    let code = app.totp(TOTP_SECRET);
    let held = Held::new(&app).await;
    let (confirm, ()) = tokio::join!(browser.prove(&page, &code), held.until_somebody_waits());
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    // The same where it serves another login.
    app.execute("UPDATE device_grant SET mfa_user_id = NULL, mfa_at = NULL, mfa_amr = '{}'").await;
    let held = Held::new(&app).await;
    let (confirm, ()) = tokio::join!(browser.open("/activate/confirm"), held.until_somebody_waits());
    assert_eq!(confirm.path, "/activate/confirm", "{}", confirm.text());
    assert_eq!(browser.approve(&confirm).await.path, "/activate/done");
}

/// A sign-in that somebody else's transaction holds.
struct Held {
    owner: sqlx::PgPool,
    transaction: sqlx::Transaction<'static, sqlx::Postgres>,
}

impl Held {
    async fn new(app: &App) -> Self {
        let owner = app.owner();
        let mut transaction = owner.begin().await.unwrap();
        sqlx::query("SELECT FROM browser_sign_in FOR UPDATE").execute(&mut *transaction).await.unwrap();
        Self { owner, transaction }
    }

    /// Lets go when somebody waits for it, who must not hold the login by then.
    async fn until_somebody_waits(mut self) {
        let me: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *self.transaction).await.unwrap();
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))";
        while !sqlx::query_scalar::<_, bool>(waits).bind(me).fetch_one(&self.owner).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let free = sqlx::query("SELECT FROM device_grant FOR UPDATE NOWAIT").execute(&mut *self.transaction).await;
        free.expect("nobody holds it");
        self.transaction.commit().await.unwrap();
    }
}
