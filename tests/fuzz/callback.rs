//! The query with which a provider sends a browser back: anybody can write one.

use axum::extract::Query;
use axum::http::Uri;
use countersign::secrets::SecretText;
use countersign::upstream::Callback;

use crate::target;

const WORDS: &[&str] = &[
    "code=",
    "&state=",
    "&iss=https%3A%2F%2Fsso.acme.example",
    "&error=access_denied",
    "&error_description=",
    "&",
    "=",
    "code=C0DE-C0DE-C0DE&state=5TATE-5TATE-5TATE",
    "%",
    "%00",
    "%F0%9F%98%80",
    "+",
    "#",
];

#[test]
fn callback() {
    target("callback", Vec::new(), WORDS, |bytes| {
        let Ok(uri) = Uri::builder().path_and_query([b"/auth/sso/callback?", bytes].concat()).build() else { return };
        let Ok(Query(callback)) = Query::<Callback>::try_from_uri(&uri) else { return };
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let only = |name: &str| {
            let mut values = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let first = values.next();
            assert_eq!(values.next(), None, "a repeated {name} is accepted");
            first
        };
        assert_eq!(callback.code.as_ref().map(SecretText::expose), only("code"));
        assert_eq!(callback.state.as_ref().map(SecretText::expose), only("state"));
        assert_eq!(callback.iss.as_deref(), only("iss"));
        assert_eq!(callback.error.as_deref(), only("error"));
        let shown = format!("{:?} {:?}", callback.code, callback.state);
        assert_eq!(shown.replace("SecretText(…)", "").replace("Some()", "").replace("None", ""), " ");
    });
}
