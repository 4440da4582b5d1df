//! `grant_type=refresh_token` (SPEC §2.3).

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::installation::Parts;
use countersign::server::Settings;
use sqlx::postgres::PgPoolOptions;

use super::{API_SECRET, app, log_in, refresh, refresh_with};
use crate::support::{App, Browser, Device};

#[tokio::test]
async fn a_session_goes_on_under_new_tokens() {
    let app = app().await;
    let first = log_in(&app, "openid read deploy offline_access").await;
    let second = refresh(&app, &first.text("refresh_token")).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.body);
    assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
    assert_ne!(second.text("access_token"), first.text("access_token"));
    assert!(second.json()["id_token"].is_string());
    assert_eq!(second.text("scope"), "openid read deploy offline_access");
    let third = refresh(&app, &second.text("refresh_token")).await;
    assert_eq!(third.status, StatusCode::OK);
    assert_eq!(app.audit().await["refreshed"], 2);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_an_old_token_ends_the_session() {
    let app = app().await;
    let first = log_in(&app, "read offline_access").await.text("refresh_token");
    let second = refresh(&app, &first).await.text("refresh_token");
    app.advance(30);
    assert_eq!(refresh(&app, &first).await.text("refresh_token"), second);
    app.advance(1);
    let reused = refresh(&app, &first).await;
    assert_eq!((reused.status, reused.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"));
    let ended = refresh(&app, &second).await;
    assert_eq!(ended.error(), "invalid_grant");
    assert!(ended.text("error_description").contains("signed out"), "{}", ended.body);
    assert_eq!(app.audit().await["reuse_detected"], 1);
}

#[tokio::test]
async fn scopes_may_narrow_for_one_access_token_and_never_widen() {
    let app = app().await;
    let first = log_in(&app, "openid read deploy offline_access").await.text("refresh_token");
    let narrow = refresh_with(&app, &first, &[("scope", "read")]).await;
    assert_eq!(narrow.text("scope"), "read");
    assert!(narrow.json()["id_token"].is_null());
    let wide = refresh_with(&app, &narrow.text("refresh_token"), &[("scope", "read email")]).await;
    assert_eq!(wide.error(), "invalid_scope");
    // Nothing was used up by asking too much.
    let again = refresh(&app, &narrow.text("refresh_token")).await;
    assert_eq!(again.text("scope"), "openid read deploy offline_access");
}

#[tokio::test]
async fn a_session_ends_unused_and_at_its_longest_life() {
    const DAY: i64 = 24 * 60 * 60;
    let app = app().await;
    let unused = log_in(&app, "read offline_access").await.text("refresh_token");
    let mut used = log_in(&app, "read offline_access").await.text("refresh_token");
    for _ in 0..4 {
        app.advance(20 * DAY);
        used = refresh(&app, &used).await.text("refresh_token");
    }
    assert!(refresh(&app, &unused).await.text("error_description").contains("not used for too long"));
    app.advance(11 * DAY);
    assert!(refresh(&app, &used).await.text("error_description").contains("longest life"));
}

#[tokio::test]
async fn locking_an_account_or_suspending_its_organization_ends_its_sessions_for_good() {
    for (end, mend, because) in [
        ("UPDATE app_user SET status = 'locked'", "UPDATE app_user SET status = 'active'", "locked"),
        ("UPDATE organization SET status = 'suspended'", "UPDATE organization SET status = 'active'", "suspended"),
    ] {
        let app = app().await;
        let token = log_in(&app, "read offline_access").await.text("refresh_token");
        // As the server's role: it is what `apply` works with.
        sqlx::query(end).execute(&app.installation.pool).await.unwrap();
        app.execute(mend).await;
        let events = app.events().await;
        let told: Vec<_> = events.iter().filter(|event| event.kind == "revoked").collect();
        let [revoked] = told.as_slice() else { panic!("{events:?}") };
        assert!(revoked.detail["because"].as_str().unwrap().contains(because), "{revoked:?}");
        let redeemed = events.iter().find(|event| event.kind == "redeemed").unwrap();
        assert_eq!(
            (revoked.grant_id, revoked.session_id, revoked.user_id),
            (redeemed.grant_id, redeemed.session_id, redeemed.user_id)
        );
        let as_the_programs = "SELECT organization_id IS NOT NULL AND service_id IS NOT NULL AND substr(id::text, 15, 1) = '7'
                                      AND substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')
                                      AND ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint
                                          BETWEEN extract(epoch FROM at) * 1000 - 2 AND extract(epoch FROM at) * 1000 + 1000
                               FROM audit_event WHERE kind = 'revoked'";
        let pool = &app.installation.pool;
        assert!(sqlx::query_scalar::<_, bool>(as_the_programs).fetch_one(pool).await.unwrap());
        let ended = refresh(&app, &token).await;
        assert_eq!(ended.error(), "invalid_grant");
        assert!(ended.text("error_description").contains(because), "{}", ended.body);
    }
}

#[tokio::test]
async fn a_refresh_token_comes_as_the_service_says() {
    let acme = crate::support::app::ACME;
    for (policy, scope, given) in [
        ("offline_access", "read", false),
        ("offline_access", "read offline_access", true),
        ("always", "read", true),
        ("never", "read offline_access", false),
    ] {
        let with = format!("client_id = \"acme-cli\"\nrefresh = \"{policy}\"");
        let app = App::with(&acme.replace("client_id = \"acme-cli\"", &with)).await;
        let device = Device::ask(&app, scope).await;
        Browser::new(&app).approve_code(&device.user_code).await;
        assert_eq!(device.poll().await.json()["refresh_token"].is_string(), given, "{policy} {scope}");
    }
}

/// Nobody waits for another connection with one in hand: as many as there are connections would wait for each other.
#[tokio::test]
async fn one_connection_is_enough_to_refuse_a_token() {
    let app = app().await;
    let token = log_in(&app, "read offline_access").await.text("refresh_token");
    let one = PgPoolOptions::new().max_connections(1);
    let pool = one.connect_lazy_with((*app.installation.pool.connect_options()).clone());
    let parts = Parts { clock: app.installation.clock.clone(), ..App::parts(pool, app.issuer()) };
    let mut node = App::of_parts_and_settings(parts, Settings::default()).await;
    node.kill_tasks().await;
    let other = [("client_id", "acme-api"), ("client_secret", API_SECRET)];
    let unknown_key = format!("{}.e30.e30", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"x"}"#));
    // Keys are looked for again from then on.
    node.advance(60);
    let refresh = [&other[..], &[("grant_type", "refresh_token"), ("refresh_token", &token)]].concat();
    assert_eq!(node.post("/auth/token", &refresh).await.error(), "invalid_grant");
    for path in ["/auth/introspect", "/auth/revoke"] {
        let answer = node.post(path, &[&other[..], &[("token", &unknown_key)]].concat()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    }
}
