//! **Stripped TLS**: somebody between the browser and the server keeps the browser on plain HTTP.
//!
//! The attacker has: the network of a person who types the address without `https://`.
//!
//! What must happen: a browser that was here once comes back by HTTPS only, and sends its cookie by nothing else.

use axum::http::header;

use crate::support::App;
use crate::support::app::ACME;

#[tokio::test]
async fn https_is_asked_for_where_it_is_there() {
    let app = App::acme().await;
    for path in ["/activate", "/.well-known/jwks.json", "/nowhere", "/account"] {
        assert_eq!(app.get(path).await.headers[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000", "{path}");
    }
    let cookie = app.get("/activate").await.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"), "{cookie}");
    // On a developer's own machine there is none.
    let plain = App::at("http://localhost:8080", ACME).await;
    assert!(plain.get("/activate").await.headers.get(header::STRICT_TRANSPORT_SECURITY).is_none());
}
