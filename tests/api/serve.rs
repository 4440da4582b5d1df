//! What holds whatever the URL: whose request it is, and how it goes over a real socket.

use crate::support::{App, Browser, Device};

#[tokio::test]
async fn the_person_is_told_when_the_device_is_on_another_network() {
    let app = App::acme().await;
    for (address, warned) in [("127.0.0.9", false), ("203.0.113.7", true)] {
        let device = Device::ask(&app, "read").await;
        let mut browser = Browser::new(&app);
        browser.address = Some(address);
        let confirm = browser.enter_and_sign_in(&device.user_code).await;
        assert_eq!(confirm.text().contains("On another network than you"), warned, "{address}");
    }
}

#[tokio::test]
async fn over_a_socket_a_whole_conversation_takes_one_connection() {
    let app = App::acme().await;
    let address = app.listen().await;
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    for _ in 0..3 {
        let answer = client.post(format!("http://{address}/auth/device/code")).form(&[("client_id", "acme-cli")]);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(answer.headers().get("connection").is_none());
    }
    // A body that is too large is answered, and not by a closed connection.
    let answer = client.post(format!("http://{address}/auth/token")).form(&[("x", "y".repeat(100_000))]);
    assert_eq!(answer.send().await.unwrap().status(), 413);
}
