//! Many at once: the database lets one through.

use futures_util::future::join_all;

use super::before_the_decision;
use crate::support::app::form_request;
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn approve_and_deny_at_once_leave_one_decision() {
    for _ in 0..3 {
        let app = App::acme().await;
        let other = app.another_node().await;
        let (device, browser, confirm) = before_the_decision(&app).await;
        let token = confirm.field("csrf_token").unwrap();
        let decide = async |n: usize| {
            let mut tab = Browser::new(if n % 4 < 2 { &app } else { &other });
            tab.cookie.clone_from(&browser.cookie);
            let decision = if n.is_multiple_of(2) { "approve" } else { "deny" };
            let form = [("scope", "read"), ("mine", "yes"), ("decision", decision), ("csrf_token", token.as_str())];
            tab.send(form_request("/activate/confirm", &form)).await
        };
        let answers = join_all((0..16).map(decide)).await;
        assert!(answers.iter().all(|answer| answer.status.is_redirection()), "{answers:#?}");
        let audit = app.audit().await;
        let count = |kind| audit.get(kind).copied().unwrap_or_default();
        assert_eq!(count("approved") + count("denied"), 1);
        let expected = if count("approved") == 1 { "" } else { "access_denied" };
        assert_eq!(device.poll().await.error(), expected);
    }
}

#[tokio::test]
async fn of_64_browsers_that_type_one_code_one_has_it() {
    let app = App::acme().await;
    let device = Device::ask(&app, "read").await;
    // One address has fewer guesses: each browser is somewhere else.
    let enter = async |n: usize| {
        Browser::behind_proxy(&app, &format!("198.51.100.{n}")).enter_among_many(&device.user_code).await
    };
    let pages = join_all((0..64).map(enter)).await;
    let won = pages.iter().filter(|page| page.path == "/activate/sign-in").count();
    let others = pages.iter().filter(|page| page.path != "/activate/sign-in" && page.status != 400);
    let others: Vec<_> = others.map(|page| (&page.path, page.status, page.text())).collect();
    assert!(others.is_empty(), "{others:#?}");
    let lost = pages.iter().filter(|page| page.path == "/activate" && page.status == 400).count();
    assert_eq!((won, lost), (1, 63));
    let audit = app.audit().await;
    assert_eq!((audit["claimed"], audit["guess_refused"]), (1, 63));
}
