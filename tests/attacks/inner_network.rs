//! **Into the inner network**: somebody has the server ask addresses that only it reaches (SSRF).
//!
//! The attacker is an owner of an organization, and of nothing else. They write providers and webhooks over the administration
//! API: addresses of the inner network in every form, names that mean such addresses, and issuers of their own whose metadata
//! names such addresses. They want to be told what is there, or to have it do something.
//!
//! What must happen: no connection is made to anything but public addresses, and what the configuration allows. Whoever looks
//! after the server reads in the audit why.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{Method, Request, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router, body::Body};
use countersign::installation::Parts;
use countersign::outbound::Outbound;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::app::{ACME, ADA_PASSWORD};
use crate::support::{App, Browser, Device, Page, database};

/// Something inside the network: an issuer, if it is asked.
struct Inside {
    issuer: String,
    connections: Arc<AtomicUsize>,
}

impl Inside {
    /// As `host` calls this machine; its keys are at `jwks_uri`, or here.
    async fn start(host: &str, jwks_uri: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{host}:{}", listener.local_addr().unwrap().port());
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": jwks_uri.map_or_else(|| format!("{issuer}/jwks"), str::to_owned),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(move || async move { Json(metadata) }))
            .route("/jwks", get(|| async { Json(json!({ "keys": [] })) }));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let router =
            router.layer(axum::middleware::from_fn(move |request: Request<Body>, next: axum::middleware::Next| {
                counted.fetch_add(1, Ordering::SeqCst);
                next.run(request)
            }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, connections }
    }

    fn asked(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An installation with an owner, whose configuration allows this much.
async fn app(outbound: Outbound) -> App {
    let parts = App::parts(database::database().await, "https://auth.acme.example");
    let app = App::of(Parts { outbound, ..parts }).await;
    app.apply(&format!("{ACME}role = \"owner\"\n")).await;
    app
}

/// The owner's token.
async fn token(app: &App) -> String {
    let device = Device::ask_as(app, "acme-admin-cli", "admin:read admin:write").await;
    let mut browser = Browser::new(app);
    let page = browser.enter(&device.user_code).await;
    let confirm = browser.sign_in(&page, super::ADA, ADA_PASSWORD).await;
    browser.approve(&confirm).await;
    device.poll().await.text("access_token")
}

async fn write_provider(app: &App, issuer: &str) -> StatusCode {
    let body = json!({ "slug": "sso", "kind": "oidc", "issuer": issuer, "client_id": "countersign" });
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/organizations/acme/providers")
        .header(header::AUTHORIZATION, format!("Bearer {}", token(app).await))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    app.send(request).await.status
}

/// Somebody chooses the provider.
async fn sign_in(app: &App) -> Page {
    let device = Device::ask(app, "read").await;
    let mut browser = Browser::new(app);
    let page = browser.enter(&device.user_code).await;
    let href = page.attribute("a[href^='/auth/sso?']", "href").unwrap_or_else(|| panic!("no link: {}", page.html));
    browser.open(&href).await
}

/// Why the last sign-in failed, as the audit says it.
async fn because(app: &App) -> String {
    let detail: Value =
        sqlx::query_scalar("SELECT detail FROM audit_event WHERE kind = 'refused' ORDER BY sequence DESC LIMIT 1")
            .fetch_one(&app.installation.pool)
            .await
            .unwrap();
    detail["because"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_address_inside_is_neither_written_nor_asked() {
    let app = app(Outbound::default()).await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "sso.localhost"] {
        let inside = Inside::start(host, None).await;
        let https = inside.issuer.replacen("http:", "https:", 1);
        for issuer in [&inside.issuer, &https] {
            assert_eq!(write_provider(&app, issuer).await, StatusCode::UNPROCESSABLE_ENTITY, "{issuer}");
        }
        assert_eq!(inside.asked(), 0);
    }
}

#[tokio::test]
async fn what_is_allowed_is_asked_until_it_isnt_any_more() {
    let lenient = app(Outbound::with_loopback()).await;
    for host in ["127.0.0.1", "localhost"] {
        let inside = Inside::start(host, None).await;
        lenient.execute("DELETE FROM provider WHERE slug = 'sso'").await;
        assert_eq!(write_provider(&lenient, &inside.issuer).await, StatusCode::CREATED);
        // A server with another configuration on the same database, as after the network was taken out.
        let strict = lenient.another_node().await;
        let page = sign_in(&strict).await;
        assert_eq!((page.status, inside.asked()), (StatusCode::BAD_GATEWAY, 0), "{}", page.text());
        assert!(because(&strict).await.contains("is not public; outbound.allow"), "{}", because(&strict).await);
        assert!(!page.text().contains("outbound"), "what the network is like is nobody's business: {}", page.text());
        let url = sign_in(&lenient).await.leads_to();
        assert!(url.as_str().starts_with(&format!("{}/authorize?", inside.issuer)), "{url}");
        assert_eq!(inside.asked(), 2, "metadata and keys");
    }
}

#[tokio::test]
async fn metadata_leads_nowhere_either() {
    let app = app(Outbound::with_loopback()).await;
    for target in
        ["https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://10.0.0.1:2379/v2/keys"]
    {
        let issuer = Inside::start("127.0.0.1", Some(target)).await;
        app.execute("DELETE FROM provider WHERE slug = 'sso'").await;
        assert_eq!(write_provider(&app, &issuer.issuer).await, StatusCode::CREATED);
        let page = sign_in(&app).await;
        assert_eq!((page.status, issuer.asked()), (StatusCode::BAD_GATEWAY, 1), "{}", page.text());
        assert!(because(&app).await.contains("is not public"), "{}", because(&app).await);
    }
}

#[tokio::test]
async fn what_a_file_found_inside_is_not_told_to_who_may_not_ask() {
    let strict = app(Outbound::default()).await;
    let inside = Inside::start("127.0.0.1", None).await;
    let file = format!(
        "{ACME}role = \"owner\"\n[[organization.provider]]\nslug = \"sso\"\nkind = \"oidc\"\nissuer = \"{}\"\n\
         client_id = \"countersign\"\n",
        inside.issuer
    );
    strict.apply(&file).await;
    assert_eq!(sign_in(&strict).await.status, StatusCode::SEE_OTHER, "a file may name any address");
    assert_eq!(inside.asked(), 2);
    // The same address as the attacker's word: what is remembered of it is not theirs.
    strict.execute("UPDATE provider SET public_only = true WHERE slug = 'sso'").await;
    assert_eq!(sign_in(&strict).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(inside.asked(), 2);
}
