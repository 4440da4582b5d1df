//! How far a device is from who approves it: what the page says of that, and where it is refused.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use countersign::device::nearness::Nearness;
use countersign::device::store::{self, Consent};
use countersign::device::verification::Number;
use uuid::Uuid;

use crate::support::app::{ACME, ADA_PASSWORD};
use crate::support::{App, Browser, Device, Page};

/// [`ACME`], whose service `cli` has this line too.
fn with(line: &str) -> String {
    ACME.replacen("device_login = true", &format!("device_login = true\n{line}"), 1)
}

/// The confirm page of Ada at one address, for a device at another.
async fn confirm<'a>(app: &'a App, device: &str, ada: &str) -> (Device<'a>, Browser<'a>, Page) {
    let device = Device::ask_from(app, device).await;
    let mut browser = Browser::behind_proxy(app, ada);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    (device, browser, page)
}

/// What the page says of networks, and its warnings.
fn told(page: &Page) -> (String, Vec<String>) {
    let facts = page.says(".facts > div");
    let network = facts.into_iter().find_map(|fact| fact.strip_prefix("Network").map(str::to_owned));
    (network.unwrap_or_default(), page.says(".warnings li strong"))
}

#[tokio::test]
async fn the_page_says_how_far_the_device_is() {
    let app = App::with(&with("verified = true")).await;
    for (device, ada, network, warning) in [
        ("203.0.113.7", "203.0.113.7", "The same as yours", ""),
        ("203.0.113.7", "203.0.113.99", "The same as yours", ""),
        ("203.0.113.7", "198.51.100.7", "", "On another network than you."),
        ("2001:db8:1:2::7", "2001:db8:1:3::1", "The same as yours", ""),
        ("2001:db8:1:2::7", "2001:db8:2:2::7", "", "On another network than you."),
        ("203.0.113.7", "2001:db8:1:2::7", "", "Perhaps on another network than you."),
    ] {
        let (_, mut browser, page) = confirm(&app, device, ada).await;
        let warnings: Vec<String> =
            Some(warning.to_owned()).filter(|warning| !warning.is_empty()).into_iter().collect();
        assert_eq!(told(&page), (network.to_owned(), warnings), "{device} {ada}");
        assert!(page.says(".facts dd").contains(&device.to_owned()), "{}", page.text());
        // Said, and not forbidden.
        assert_eq!(browser.approve(&page).await.path, "/activate/done");
    }
    let approved = app.events().await.into_iter().filter(|event| event.kind == "approved");
    let nearness: Vec<_> = approved.map(|event| event.detail["nearness"].as_str().unwrap().to_owned()).collect();
    let other = "other_network";
    assert_eq!(nearness, ["same_address", "same_network", other, "same_network", other, "incomparable"]);
}

#[tokio::test]
async fn off_says_nothing() {
    let app = App::with(&with("proximity = \"off\"\nverified = true")).await;
    for ada in ["203.0.113.7", "198.51.100.7", "2001:db8::1"] {
        let (_, _, page) = confirm(&app, "203.0.113.7", ada).await;
        assert_eq!(told(&page), (String::new(), vec![]), "{ada}");
    }
}

#[tokio::test]
async fn what_is_hidden_is_not_called_near() {
    let app = App::with(&with("verified = true")).await;
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    let page = browser.enter_and_sign_in(&device.user_code).await;
    assert_eq!(told(&page).0, "The same as yours");
    // A proxy that nobody trusts, on the device's own address.
    let mut request = Request::get("/activate/confirm").body(Body::empty()).unwrap();
    request.headers_mut().insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
    let answer = browser.send(request).await;
    assert!(answer.body.contains("Can’t be compared with yours"), "{}", answer.body);
}

#[tokio::test]
async fn block_refuses_the_page_and_the_decision_and_says_what_to_do() {
    let app = App::with(&with("proximity = \"block\"")).await;
    let (device, mut browser, page) = confirm(&app, "203.0.113.7", "203.0.113.99").await;
    assert_eq!((page.path.as_str(), page.status), ("/activate/confirm", StatusCode::OK));

    // The page was shown where it may be; the form comes from elsewhere.
    browser.forwarded_for = Some("198.51.100.7".to_owned());
    let refused = browser.approve(&page).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.says("h1"), ["Your device is on another network"]);
    let text = refused.text();
    for words in ["203.0.113.7", "198.51.100.7", "Connect this browser to your device’s network", "Nothing was shared"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(browser.open("/activate/confirm").await.status, StatusCode::FORBIDDEN);
    assert_eq!(device.poll().await.error(), "authorization_pending");
    let refusals: Vec<_> = app.events().await.into_iter().filter(|event| event.kind == "refused").collect();
    assert_eq!(refusals.len(), 2, "{refusals:#?}");
    for event in &refusals {
        assert!(event.user_id.is_some() && event.grant_id.is_some(), "{event:?}");
        assert_eq!(event.ip.unwrap().addr().to_string(), "198.51.100.7");
        let detail = (event.detail["nearness"].as_str(), event.detail["device_ip"].as_str());
        assert_eq!(detail, (Some("other_network"), Some("203.0.113.7")));
    }

    // Back on the device's network the same login goes on.
    browser.forwarded_for = Some("203.0.113.99".to_owned());
    let page = browser.open("/activate/confirm").await;
    assert_eq!(browser.approve(&page).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, StatusCode::OK);
}

#[tokio::test]
async fn where_approving_is_refused_denying_is_not() {
    let app = App::with(&with("proximity = \"block\"")).await;
    let (device, mut browser, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(page.attribute("button[name=decision]", "value").as_deref(), Some("deny"));
    let done = browser.submit(&page, "/activate/confirm", &[("decision", "deny")]).await;
    assert_eq!(done.says("h1"), ["Denied"]);
    assert_eq!(device.poll().await.error(), "access_denied");
}

#[tokio::test]
async fn block_refuses_what_cannot_be_told() {
    let app = App::with(&with("proximity = \"block\"")).await;
    let (_, _, page) = confirm(&app, "203.0.113.7", "2001:db8::1").await;
    assert_eq!(
        (page.status, page.text().contains("can’t be compared")),
        (StatusCode::FORBIDDEN, true),
        "{}",
        page.text()
    );
    // Behind a proxy that isn't trusted the approver seems to be where the proxy is.
    let device = Device::ask(&app, "read").await;
    let mut browser = Browser::new(&app);
    assert_eq!(browser.enter_and_sign_in(&device.user_code).await.status, StatusCode::OK);
    let mut request = Request::get("/activate/confirm").body(Body::empty()).unwrap();
    request.headers_mut().insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
    let answer = browser.send(request).await;
    assert_eq!((answer.status, answer.body.contains("hidden by a proxy")), (StatusCode::FORBIDDEN, true));
}

#[tokio::test]
async fn the_database_refuses_as_well() {
    let app = App::with(&with("proximity = \"block\"")).await;
    let (_, _, page) = confirm(&app, "203.0.113.7", "203.0.113.7").await;
    assert_eq!(page.status, StatusCode::OK);
    let mut conn = app.installation.pool.acquire().await.unwrap();
    let (grant, browser): (Uuid, Uuid) =
        sqlx::query_as("SELECT id, claimed_by FROM device_grant").fetch_one(&mut *conn).await.unwrap();
    let user: Uuid = sqlx::query_scalar("SELECT id FROM app_user").fetch_one(&mut *conn).await.unwrap();
    let (grant, browser, user) = (grant.into(), browser.into(), user.into());
    let (now, number) = (app.installation.clock.now(), Number::draw(&app.installation.random));
    let version: String = sqlx::query_scalar(
        "SELECT s.xmin::text || '.' || o.xmin::text FROM service s JOIN organization o ON o.id = s.organization_id
         WHERE s.id = (SELECT service_id FROM device_grant)",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    for (nearness, service_version, approved) in [
        (Nearness::OtherNetwork, &*version, false),
        (Nearness::Incomparable, &version, false),
        (Nearness::Hidden, &version, false),
        (Nearness::SameNetwork, "1.1", false),
        (Nearness::SameNetwork, &version, true),
    ] {
        let consent = Consent { scopes: &[], nearness, number, service_version };
        let answer = store::approve(&mut conn, grant, browser, user, &consent, now).await.unwrap();
        assert_eq!(answer.is_some(), approved, "{nearness:?} {service_version}");
    }
}

#[tokio::test]
async fn a_network_is_not_near_any_more_also_where_nobody_has_heard_of_that() {
    let trusted = "proximity = \"block\"\ntrusted_networks = [\"203.0.113.0/28\"]";
    let app = App::with(&with(trusted)).await;
    let (device, mut browser, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert_eq!(page.status, StatusCode::OK);
    app.until_known("acme-cli").await;
    let owner = app.owner();
    for change in ["ALTER TABLE service DISABLE TRIGGER service_notify", "UPDATE service SET trusted_networks = '{}'"] {
        sqlx::query(change).execute(&owner).await.unwrap();
    }
    owner.close().await;
    assert_eq!(browser.open("/activate/confirm").await.status, StatusCode::OK, "from memory");
    let refused = browser.approve(&page).await;
    assert_eq!((refused.path.as_str(), refused.status), ("/activate/confirm", StatusCode::FORBIDDEN));
    assert_eq!(device.poll().await.error(), "authorization_pending");
}

#[tokio::test]
async fn a_trusted_network_is_near_to_everybody() {
    let trusted = "proximity = \"block\"\ntrusted_networks = [\"203.0.113.0/28\"]\nverified = true";
    let app = App::with(&with(trusted)).await;
    let (device, mut browser, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert_eq!(told(&page), ("One that Acme trusts".to_owned(), vec![]));
    assert_eq!(browser.approve(&page).await.path, "/activate/done");
    assert_eq!(device.poll().await.status, StatusCode::OK);
    // Beyond it, or with the approver in it, nothing is near.
    for (device, ada) in [("203.0.113.16", "198.51.100.7"), ("198.51.100.7", "203.0.113.7")] {
        assert_eq!(confirm(&app, device, ada).await.2.status, StatusCode::FORBIDDEN, "{device} {ada}");
    }
}

#[tokio::test]
async fn an_unverified_service_is_called_that() {
    for (line, warnings) in [("", vec!["Acme has not verified this tool."]), ("verified = true", vec![])] {
        let app = App::with(&with(line)).await;
        let (_, _, page) = confirm(&app, "203.0.113.7", "203.0.113.7").await;
        assert_eq!(told(&page).1, warnings);
        assert!(page.says("h1")[0].contains("Acme CLI"));
    }
    // It is the least of several.
    let app = App::acme().await;
    let (_, _, page) = confirm(&app, "203.0.113.7", "198.51.100.7").await;
    assert_eq!(told(&page).1, ["On another network than you.", "Acme has not verified this tool."]);
}

#[tokio::test]
async fn who_is_not_signed_in_learns_nothing_of_the_device() {
    let app = App::with(&with("proximity = \"block\"")).await;
    let device = Device::ask_from(&app, "203.0.113.7").await;
    let mut browser = Browser::behind_proxy(&app, "198.51.100.7");
    let page = browser.enter(&device.user_code).await;
    assert!(!page.text().contains("203.0.113.7"), "{}", page.text());
    let page = browser.sign_in(&page, "ada@acme.example", "not her password").await;
    assert!(!page.text().contains("203.0.113.7"), "{}", page.text());
    let page = browser.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await;
    assert!(page.text().contains("203.0.113.7"), "{}", page.text());
}
