//! Who is locked, or whose organization is suspended, loses everything, and gets nothing of it back with a later change of mind.

use crate::support::{App, Browser, Device};

const LOCKS: [[&str; 3]; 2] = [
    ["UPDATE app_user SET status = 'locked'", "UPDATE app_user SET status = 'active'", "the account was locked"],
    [
        "UPDATE organization SET status = 'suspended' WHERE slug = 'acme'",
        "UPDATE organization SET status = 'active'",
        "the organization was suspended",
    ],
];

/// The attacker lets an approved code lie until everybody has calmed down.
#[tokio::test]
async fn an_approval_that_no_device_came_for_does_not_come_back() {
    for [lock, unlock, because] in LOCKS {
        let app = App::acme().await;
        let (approved, free) = (Device::ask(&app, "read").await, Device::ask(&app, "read").await);
        let mut browser = Browser::new(&app);
        browser.approve_code(&approved.user_code).await;
        app.execute(lock).await;
        app.execute(unlock).await;
        assert_eq!(approved.poll_held().await.error(), "access_denied");
        let told = app.events().await.into_iter().filter(|event| event.detail["because"] == because);
        assert_eq!(told.map(|event| event.kind).collect::<Vec<_>>(), ["denied"]);
        // Signed out, and free to begin again.
        assert_eq!(browser.enter(&free.user_code).await.path, "/activate/sign-in");
        assert_eq!(free.poll().await.error(), "authorization_pending");
    }
}
