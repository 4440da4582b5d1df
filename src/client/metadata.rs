//! Where a server's endpoints are: authorization server metadata (RFC 8414), or OpenID Connect's discovery document.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::error::LoginError;
use super::http::{Answer, Transport};
use super::issuer::{Issuer, is_protected};
use super::printable::printable;

/// A poll isn't held for longer, in seconds: proxies between have less patience than servers.
const LONGEST_WAIT: u64 = 45;

const OAUTH: &str = "oauth-authorization-server";
const OPENID: &str = "openid-configuration";

/// The addresses that a login needs, and those that it can do without.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// RFC 8628 §3.1.
    pub(crate) device_authorization: Url,
    /// RFC 8628 §3.4.
    pub(crate) token: Url,
    /// RFC 7009.
    pub(crate) revocation: Option<Url>,
    /// OpenID Connect Core §5.3.
    pub(crate) userinfo: Option<Url>,
    /// Whether proofs of a P-256 key are taken (RFC 9449 §5.1).
    pub(crate) dpop: bool,
    /// How long the token endpoint holds a poll that asks for it. `None`: it doesn't say that it would.
    pub(crate) poll_wait: Option<Duration>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    device_authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    dpop_signing_alg_values_supported: Vec<String>,
    /// Nobody's standard: whatever another server means by it is no reason to fail.
    #[serde(default)]
    device_poll_wait_max: serde_json::Value,
}

/// Asks the well-known addresses in turn until one answers with the metadata of this very issuer.
///
/// # Errors
/// Anything but `Denied` and `Expired`; the first document found wrong is told, not the absence of the others.
pub(crate) async fn discover(
    transport: &impl Transport,
    issuer: &Issuer,
    insecure_http: bool,
) -> Result<Endpoints, LoginError> {
    let mut finding = None;
    for address in well_known(issuer.url()) {
        let answer =
            transport.get(&address, None, None).await.map_err(|error| LoginError::unreachable(issuer, error))?;
        if answer.is_unavailable() {
            return Err(LoginError::unavailable(issuer, &answer));
        }
        match read(&answer, issuer, insecure_http) {
            Ok(Some(endpoints)) => return Ok(endpoints),
            Ok(None) => {}
            Err(error) => finding = finding.or(Some(error)),
        }
    }
    Err(finding.unwrap_or_else(|| not_a_server(issuer, "nothing is at its well-known addresses".to_owned())))
}

/// RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID Connect Discovery §4 after it, and servers
/// with a path are found to do either with either document.
fn well_known(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![format!("/.well-known/{OAUTH}{path}"), format!("{path}/.well-known/{OAUTH}")];
    paths.extend([format!("{path}/.well-known/{OPENID}"), format!("/.well-known/{OPENID}{path}")]);
    paths.dedup();
    let at = |path: &String| {
        let mut url = issuer.clone();
        url.set_path(path);
        url
    };
    paths.iter().map(at).collect()
}

/// `None`: nothing is at this address, another one may do.
fn read(answer: &Answer, issuer: &Issuer, insecure_http: bool) -> Result<Option<Endpoints>, LoginError> {
    match (answer.status, &answer.location) {
        (200, _) => {}
        (300..=399, Some(to)) => return Err(not_a_server(issuer, format!("it redirects to {to}"))),
        _ => return Ok(None),
    }
    let document: Document = serde_json::from_slice(&answer.body)
        .map_err(|_| not_a_server(issuer, "what it serves as metadata is something else".to_owned()))?;
    // A document of another issuer would have this login approved, and its tokens issued, by somebody else.
    if document.issuer.trim_end_matches('/') != issuer.as_str() {
        let found = printable(&document.issuer);
        return Err(LoginError::IssuerMismatch { given: issuer.to_string(), found });
    }
    let Some(device_authorization) = document.device_authorization_endpoint else {
        return Err(LoginError::NoDeviceLogin { issuer: issuer.to_string() });
    };
    let safe = |address: Option<String>| {
        let url = address.and_then(|address| Url::parse(&address).ok());
        url.filter(|url| is_protected(url) || (insecure_http && url.scheme() == "http"))
    };
    let endpoint =
        |name, address| safe(address).ok_or_else(|| not_a_server(issuer, format!("its {name} is no https address")));
    Ok(Some(Endpoints {
        device_authorization: endpoint("device_authorization_endpoint", Some(device_authorization))?,
        token: endpoint("token_endpoint", document.token_endpoint)?,
        revocation: safe(document.revocation_endpoint),
        userinfo: safe(document.userinfo_endpoint),
        dpop: document.dpop_signing_alg_values_supported.iter().any(|algorithm| algorithm == "ES256"),
        poll_wait: document
            .device_poll_wait_max
            .as_u64()
            .filter(|max| *max > 0)
            .map(|max| Duration::from_secs(max.min(LONGEST_WAIT))),
    }))
}

fn not_a_server(issuer: &Issuer, reason: String) -> LoginError {
    LoginError::NotAnAuthorizationServer { issuer: issuer.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(issuer: &str) -> Vec<String> {
        well_known(&Url::parse(issuer).unwrap()).iter().map(Url::to_string).collect()
    }

    #[test]
    fn an_issuer_without_a_path_has_two_addresses() {
        assert_eq!(
            addresses("https://acme.example/"),
            [
                "https://acme.example/.well-known/oauth-authorization-server",
                "https://acme.example/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn an_issuer_with_a_path_is_looked_up_in_both_forms() {
        assert_eq!(
            addresses("https://acme.example/login/"),
            [
                "https://acme.example/.well-known/oauth-authorization-server/login",
                "https://acme.example/login/.well-known/oauth-authorization-server",
                "https://acme.example/login/.well-known/openid-configuration",
                "https://acme.example/.well-known/openid-configuration/login",
            ]
        );
    }

    fn document(endpoint: &str) -> Answer {
        let body = serde_json::json!({
            "issuer": "https://acme.example",
            "device_authorization_endpoint": endpoint,
            "token_endpoint": "https://acme.example/token",
        });
        Answer { status: 200, body: body.to_string().into_bytes(), ..Answer::default() }
    }

    #[test]
    fn what_another_server_means_by_an_extension_is_no_reason_to_fail() {
        let issuer = "https://acme.example/".parse().unwrap();
        let waits = |said: serde_json::Value| {
            let mut answer = document("https://acme.example/code");
            let mut body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            body["device_poll_wait_max"] = said;
            answer.body = body.to_string().into_bytes();
            read(&answer, &issuer, false).unwrap().unwrap().poll_wait.map(|wait| wait.as_secs())
        };
        assert_eq!([waits(30.into()), waits(86_400.into())], [Some(30), Some(45)]);
        for odd in [0.into(), (-5).into(), "yes".into(), serde_json::Value::Null, true.into()] {
            assert_eq!(waits(odd), None);
        }
    }

    #[test]
    fn endpoints_without_tls_are_refused() {
        let issuer = "https://acme.example/".parse().unwrap();
        assert!(read(&document("https://acme.example/code"), &issuer, false).unwrap().is_some());
        for endpoint in ["http://acme.example/code", "file:///code", "/code"] {
            assert!(read(&document(endpoint), &issuer, false).is_err(), "{endpoint}");
        }
        assert!(read(&document("http://acme.example/code"), &issuer, true).is_ok());
    }
}
