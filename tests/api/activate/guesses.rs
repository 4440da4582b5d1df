//! How many wrong codes are taken, whose they are, and what is said when they are too many.

use axum::http::StatusCode;
use futures_util::future::join_all;

use super::get;
use crate::support::actors::Page;
use crate::support::app::Answer;
use crate::support::{App, Browser, Device};

/// A code that nobody has.
fn wrong(n: usize) -> String {
    let letters = countersign::device::codes::ALPHABET;
    let letter = |place: u32| char::from(letters[n / 20_usize.pow(place) % 20]);
    format!("BBBB-{}{}{}{}", letter(3), letter(2), letter(1), letter(0))
}

/// Enters so many wrong codes, all of which are looked up.
async fn guess(browser: &mut Browser<'_>, count: usize) {
    for n in 0..count {
        let page = browser.enter(&wrong(n)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "guess {n}: {}", page.text());
    }
}

/// Checks that no code was looked up, and gives the seconds to wait.
#[track_caller]
fn is_refused(page: &Page) -> i64 {
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "{}", page.text());
    assert_eq!(page.says("h1"), ["Too many wrong codes"]);
    page.answer.header("retry-after").unwrap().parse().unwrap()
}

async fn may_enter(browser: &mut Browser<'_>, app: &App) -> bool {
    let device = Device::ask(app, "read").await;
    browser.enter(&device.user_code).await.path == "/activate/sign-in"
}

#[tokio::test]
async fn a_browser_has_ten_wrong_codes_within_an_hour_and_then_no_right_one() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::behind_proxy(&app, "198.51.100.1");
    guess(&mut browser, 4).await;
    app.advance(600);
    guess(&mut browser, 6).await;
    let right = browser.enter(&device.user_code).await;
    let another = browser.enter(&wrong(99)).await;
    assert_eq!((is_refused(&right), is_refused(&another)), (3001, 3001));
    assert_eq!(right.html, another.html, "nobody is told which was right");
    assert!(right.text().contains("not even a right one") && right.text().contains("Try again in 50 minutes"));
    assert!(may_enter(&mut Browser::behind_proxy(&app, "198.51.100.1"), &app).await, "another browser is not to blame");

    let exhausted: Vec<_> =
        app.events().await.into_iter().filter(|event| event.detail["exhausted"].is_string()).collect();
    assert_eq!(exhausted.len(), 1, "refusals are no more news within the hour");
    assert_eq!((exhausted[0].kind.as_str(), &exhausted[0].detail["exhausted"]), ("guess_refused", &"browser".into()));

    app.advance(3000);
    guess(&mut browser, 4).await;
    is_refused(&browser.enter(&wrong(99)).await);
    app.advance(600);
    assert!(may_enter(&mut browser, &app).await);
}

#[tokio::test]
async fn a_browser_with_a_session_pays_as_such_and_its_own_code_costs_nothing() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    assert_eq!(browser.enter(&device.user_code).await.path, "/activate/sign-in");
    for _ in 0..40 {
        assert_eq!(browser.enter(&device.user_code).await.path, "/activate/sign-in", "its own code");
    }
    guess(&mut browser, 10).await;
    is_refused(&browser.enter(&wrong(99)).await);
    assert_eq!(browser.enter(&device.user_code).await.path, "/activate/sign-in", "it goes on with the code it has");
    let guesses = app.audit().await["guess_refused"];
    for path in ["/auth/nothing", "/auth/admin/password"] {
        browser.open(&format!("{path}?user_code={}", device.user_code)).await;
    }
    assert_eq!(app.audit().await["guess_refused"], guesses, "what costs nothing is no guess, nor a line in the audit");
    assert!(!may_enter(&mut browser, &app).await);
}

#[tokio::test]
async fn an_address_has_thirty_wrong_codes_and_a_64_is_one() {
    let app = App::acme().await;
    for n in 0..3_u16 {
        guess(&mut Browser::behind_proxy(&app, "198.51.100.1"), 10).await;
        guess(&mut Browser::behind_proxy(&app, &format!("2001:db8:1:2:{n}::7")), 10).await;
    }
    for full in ["198.51.100.1", "2001:db8:1:2:ffff::1", "::ffff:198.51.100.1"] {
        let page = Browser::behind_proxy(&app, full).enter(&wrong(99)).await;
        assert_eq!(is_refused(&page), 3601, "{full}");
        assert!(page.text().contains("your network") && page.text().contains("Try again in an hour"));
    }
    for other in ["198.51.100.2", "2001:db8:1:3::7"] {
        assert!(may_enter(&mut Browser::behind_proxy(&app, other), &app).await, "{other}");
    }
    app.advance(3599);
    assert!(!may_enter(&mut Browser::behind_proxy(&app, "198.51.100.1"), &app).await);
    app.advance(1);
    assert!(may_enter(&mut Browser::behind_proxy(&app, "198.51.100.1"), &app).await);
}

#[tokio::test]
async fn a_person_who_is_signed_in_has_thirty_wherever_they_are() {
    let app = App::acme().await;
    for n in 1..=3 {
        let mut browser = Browser::behind_proxy(&app, &format!("198.51.100.{n}"));
        let device = Device::ask(&app, "read").await;
        browser.enter_and_sign_in(&device.user_code).await;
        guess(&mut browser, 10).await;
    }
    let mut ada = Browser::behind_proxy(&app, "198.51.100.4");
    let device = Device::ask(&app, "read").await;
    assert_eq!(ada.enter_and_sign_in(&device.user_code).await.path, "/activate/confirm");
    is_refused(&ada.enter(&wrong(99)).await);
    assert!(may_enter(&mut Browser::behind_proxy(&app, "198.51.100.4"), &app).await, "whoever else is there");
}

#[tokio::test]
async fn right_codes_cost_nothing_however_many_are_entered_in_one_office() {
    let app = App::acme().await;
    let devices = join_all((0..64).map(|_| Device::ask(&app, "read"))).await;
    let enter = async |device: &Device<'_>| {
        Browser::behind_proxy(&app, "198.51.100.1").enter_among_many(&device.user_code).await.path
    };
    let led_to = join_all(devices.iter().map(enter)).await;
    assert!(led_to.iter().all(|path| path == "/activate/sign-in"), "{led_to:?}");
    guess(&mut Browser::behind_proxy(&app, "198.51.100.1"), 10).await;
}

#[tokio::test]
async fn what_can_be_no_code_costs_nothing_on_the_page() {
    let app = App::acme().await;
    let mut browser = Browser::new(&app);
    for _ in 0..40 {
        assert_eq!(browser.enter("WDJB").await.status, StatusCode::BAD_REQUEST);
    }
    assert!(may_enter(&mut browser, &app).await);
    assert!(!app.audit().await.contains_key("guess_refused"));
}

#[tokio::test]
async fn codes_in_links_are_guesses_too() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    let follow = async |path: &str, code: &str| -> Answer {
        // Without a cookie each of them is another browser, at one address.
        Browser::behind_proxy(&app, "198.51.100.1").send(get(&format!("{path}?user_code={code}"))).await
    };
    for n in 0..10 {
        for (path, code) in [("/auth/password", wrong(n)), ("/auth/admin/password", wrong(n)), ("/auth/x", "x".into())]
        {
            assert_eq!(follow(path, &code).await.status, StatusCode::SEE_OTHER, "{path} {n}");
        }
    }
    for path in ["/auth/password", "/auth/admin/password"] {
        for code in [device.user_code.clone(), wrong(99)] {
            let answer = follow(path, &code).await;
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
            assert!(answer.header("retry-after").is_some() && answer.body.contains("<h1>Too many wrong codes</h1>"));
        }
    }
    // A link costs one try however it fails, and nothing when it is right.
    assert!(may_enter(&mut Browser::behind_proxy(&app, "198.51.100.2"), &app).await);
}

#[tokio::test]
async fn of_64_wrong_codes_at_once_on_two_servers_as_many_are_looked_up_as_may() {
    let app = App::acme().await;
    let other = app.another_node().await;
    let device = Device::ask(&app, "read").await;
    let enter = async |n: usize| {
        let app = if n.is_multiple_of(2) { &app } else { &other };
        Browser::behind_proxy(app, "198.51.100.1").enter_among_many(&wrong(n)).await.status.as_u16()
    };
    let told = join_all((0..64).map(enter)).await;
    let count = |status: u16| told.iter().filter(|told| **told == status).count();
    assert_eq!((count(400), count(429)), (30, 34), "{told:?}");
    assert_eq!(app.audit().await["guess_refused"], 31, "thirty, and that there are no more");

    // The same of one browser, wherever it is: its cookie is what it has.
    let mut browser = Browser::new(&app);
    browser.open("/activate").await;
    let enter = async |n: usize| {
        let app = if n.is_multiple_of(2) { &app } else { &other };
        let address = format!("203.0.113.{n}");
        let mut tab = Browser::behind_proxy(app, &address);
        tab.cookie.clone_from(&browser.cookie);
        tab.enter_among_many(&wrong(n)).await.status.as_u16()
    };
    let told = join_all((0..64).map(enter)).await;
    let count = |status: u16| told.iter().filter(|told| **told == status).count();
    assert_eq!((count(400), count(429)), (10, 54), "{told:?}");
    let mut late = Browser::behind_proxy(&other, "198.51.100.1");
    is_refused(&late.enter(&device.user_code).await);
}

#[tokio::test]
async fn a_guess_counts_although_its_client_hangs_up() {
    let app = App::acme().await;
    let mut browser = Browser::behind_proxy(&app, "198.51.100.1");
    let page = browser.open("/activate").await;
    let mut told = 0;
    for n in 0..12 {
        let guess = wrong(n);
        let fields = [("user_code", guess.as_str())];
        let mut tab = browser.clone();
        let hung_up = async {
            // The try is paid for when the row is there; then the client is gone.
            loop {
                let spent: Option<i64> = sqlx::query_scalar(
                    "SELECT sum(cardinality(spent)) FROM budget WHERE purpose = 'user_code_address'",
                )
                .fetch_one(&app.installation.pool)
                .await
                .unwrap();
                if spent.is_some_and(|spent| spent > told) {
                    break;
                }
            }
        };
        tokio::select! {
            biased;
            () = hung_up => {}
            page = tab.submit(&page, "/activate", &fields) => {
                assert_eq!(page.status == StatusCode::TOO_MANY_REQUESTS, n >= 10);
            }
        }
        app.advance(1);
        told = (told + 1).min(10);
    }
}

#[tokio::test]
async fn in_dev_mode_guesses_cost_as_much() {
    let parts = App::parts(crate::support::database::database().await, "http://localhost:8080");
    let app = App::of(countersign::installation::Parts { dev_mode: true, ..parts }).await;
    guess(&mut Browser::new(&app), 10).await;
    guess(&mut Browser::new(&app), 10).await;
    guess(&mut Browser::new(&app), 10).await;
    is_refused(&Browser::new(&app).enter(&wrong(99)).await);
}

#[tokio::test]
async fn budgets_of_an_hour_ago_are_deleted() {
    let app = App::acme().await;
    guess(&mut Browser::new(&app), 3).await;
    let rows = async || -> i64 {
        app.tidy_up().await;
        sqlx::query_scalar("SELECT count(*) FROM budget").fetch_one(&app.installation.pool).await.unwrap()
    };
    assert_eq!(rows().await, 3, "of the browser, the address and the installation");
    app.advance(3600 + 60);
    assert_eq!(rows().await, 0);
}
