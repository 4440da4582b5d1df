//! GitHub: OAuth without OpenID Connect, so who signed in is asked of its API. github.com, GitHub Enterprise Cloud with
//! a domain of its own (ghe.com), and GitHub Enterprise Server.

use openidconnect::http::{Method, Request, StatusCode, header};
use openidconnect::{HttpResponse, PkceCodeChallenge, PkceCodeVerifier};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::directory::provider::{Admission, Provider};
use crate::installation::Installation;
use crate::secrets::SecretText;

use super::callback::{Callback, ErrorCode};
use super::error::{UpstreamError, Why};
use super::http::{Http, host_of, is_secure};
use super::identity::Identity;
use super::round_trip::RoundTrip;
use super::{client_id, redirect_uri};

/// The API that this was written for.
const API_VERSION: &str = "2022-11-28";

const ORGANIZATIONS_PER_PAGE: usize = 100;
/// A thousand organizations; who has more is not asked further.
const MOST_PAGES: usize = 10;

/// The authorization request (RFC 6749 §4.1.1) with state and PKCE.
pub(super) fn authorization_url(
    installation: &Installation,
    provider: &Provider,
    round_trip: &RoundTrip,
) -> Result<Url, UpstreamError> {
    let mut url = at(&base(provider)?, "login/oauth/authorize");
    if !is_secure(&url) {
        return Err(misconfigured("its base URL is not https"));
    }
    let verifier = PkceCodeVerifier::new(round_trip.pkce_verifier().to_owned());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id(provider)?)
        .append_pair("redirect_uri", &redirect_uri(installation, &provider.slug))
        .append_pair("scope", &scopes(provider).join(" "))
        .append_pair("state", round_trip.state())
        .append_pair("code_challenge", challenge.as_str())
        .append_pair("code_challenge_method", challenge.method().as_str());
    Ok(url)
}

/// Whether its API answers. Anybody may ask for this (`GET /meta`), a token apart.
pub(super) async fn look(http: &Http, provider: &Provider) -> Result<(), UpstreamError> {
    let url = at(&api_url(provider, &base(provider)?)?, "meta");
    let request = openidconnect::http::Request::get(url.as_str()).body(Vec::new());
    let answer = http.send(request.map_err(|_| misconfigured("its api_url is not a URL"))?).await?;
    if answer.status() == openidconnect::http::StatusCode::NOT_FOUND {
        return Err(misconfigured("there is no GitHub API at its api_url"));
    }
    Ok(())
}

/// Exchanges the code and asks the API who it is.
pub(super) async fn identity(
    http: &Http,
    installation: &Installation,
    provider: &Provider,
    round_trip: &RoundTrip,
    callback: &Callback,
) -> Result<Identity, UpstreamError> {
    let base = base(provider)?;
    check_issuer(&base, callback.iss.as_deref())?;
    let code = callback.code(&base)?;
    let token = exchange(http, installation, provider, round_trip, code).await?;
    let api = Api { http, url: api_url(provider, &base)?, token: &token };
    let account: Account = api.get("user").await?;
    let addresses: Vec<Address> = api.get("user/emails").await?;
    let email = addresses.iter().find(|address| address.primary && address.verified);
    let mut identity = Identity::of(&account.id.to_string())?
        .with_verified_email(email.map(|address| address.email.as_str()))
        .with_name(account.name.as_deref().or(Some(&account.login)));
    if matches!(provider.admission, Admission::Groups(_)) {
        identity.groups = organizations(&api).await?;
    }
    Ok(identity)
}

/// What is asked for: the account, its addresses, and its organizations where admission looks at them.
fn scopes(provider: &Provider) -> Vec<&str> {
    let mut scopes = vec!["read:user", "user:email"];
    if matches!(provider.admission, Admission::Groups(_)) {
        scopes.push("read:org");
    }
    for extra in &provider.extra_scopes {
        if !scopes.contains(&extra.as_str()) {
            scopes.push(extra);
        }
    }
    scopes
}

/// An answer that names its issuer (RFC 9207) names this GitHub. Which path GitHub's issuer has is its own affair.
fn check_issuer(base: &Url, iss: Option<&str>) -> Result<(), UpstreamError> {
    let same = |iss: &str| Url::parse(iss).is_ok_and(|iss| iss.origin() == base.origin());
    if iss.is_none_or(same) { Ok(()) } else { Err(UpstreamError::Untrusted("another issuer answered (RFC 9207)")) }
}

/// The token request (RFC 6749 §4.1.3). GitHub answers errors with status 200.
async fn exchange(
    http: &Http,
    installation: &Installation,
    provider: &Provider,
    round_trip: &RoundTrip,
    code: &SecretText,
) -> Result<SecretText, UpstreamError> {
    let url = at(&base(provider)?, "login/oauth/access_token");
    let secret =
        provider.open_client_secret(&installation.keyring).map_err(|error| misconfigured(&error.to_string()))?;
    let redirect_uri = redirect_uri(installation, &provider.slug);
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("client_id", client_id(provider)?),
        ("code", code.expose()),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", round_trip.pkce_verifier()),
    ];
    form.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose())));
    let body = serde_urlencoded::to_string(form).map_err(|_| misconfigured("its token request can't be written"))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body.into_bytes())
        .map_err(|_| misconfigured("its base URL can't be asked"))?;
    let answer = http.send(request).await?;
    match serde_json::from_slice(answer.body()) {
        Ok(TokenAnswer { error: Some(error), .. }) => Err(ErrorCode::new(&error).of_token(&url)),
        Ok(TokenAnswer { access_token: Some(token), .. }) => Ok(token),
        _ => Err(misconfigured(&format!("its token endpoint answered {} without a token", answer.status()))),
    }
}

/// The logins of the organizations that the person is a member of. An organization that restricts OAuth apps shows
/// itself only to approved ones.
async fn organizations(api: &Api<'_>) -> Result<Vec<String>, UpstreamError> {
    let mut logins = Vec::new();
    for page in 1..=MOST_PAGES {
        let path = format!("user/orgs?per_page={ORGANIZATIONS_PER_PAGE}&page={page}");
        let organizations: Vec<Organization> = api.get(&path).await?;
        let is_last = organizations.len() < ORGANIZATIONS_PER_PAGE;
        logins.extend(organizations.into_iter().map(|organization| organization.login.to_ascii_lowercase()));
        if is_last {
            break;
        }
    }
    Ok(logins)
}

/// GitHub's REST API on behalf of the person.
struct Api<'a> {
    http: &'a Http,
    url: Url,
    token: &'a SecretText,
}

impl Api<'_> {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, UpstreamError> {
        let mut bearer = header::HeaderValue::from_str(&format!("Bearer {}", self.token.expose()))
            .map_err(|_| misconfigured("its access token has characters that no token has"))?;
        bearer.set_sensitive(true);
        let request = Request::get(at(&self.url, path).as_str())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", API_VERSION)
            .header(header::AUTHORIZATION, bearer)
            .body(Vec::new())
            .map_err(|_| misconfigured("its API's URL can't be asked"))?;
        let answer = self.http.send(request).await?;
        if is_rate_limited(&answer) {
            let why = Why::Status(answer.status());
            return Err(UpstreamError::Unreachable { host: host_of(&self.url), why });
        }
        let endpoint = path.split('?').next().unwrap_or(path);
        if answer.status() != StatusCode::OK {
            return Err(misconfigured(&format!(
                "its API answered {} at {endpoint}: may the app read accounts, addresses and organizations?",
                answer.status()
            )));
        }
        serde_json::from_slice(answer.body())
            .map_err(|_| misconfigured(&format!("its API's answer at {endpoint} can't be read: is that GitHub's API?")))
    }
}

/// GitHub says so with 403, too.
fn is_rate_limited(answer: &HttpResponse) -> bool {
    let remaining = answer.headers().get("x-ratelimit-remaining");
    answer.status() == StatusCode::FORBIDDEN
        && (remaining.is_some_and(|remaining| remaining == "0") || answer.headers().contains_key(header::RETRY_AFTER))
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<SecretText>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    /// Never reused; the login is.
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

#[derive(Deserialize)]
struct Organization {
    login: String,
}

/// Where people sign in.
fn base(provider: &Provider) -> Result<Url, UpstreamError> {
    let base = provider.issuer.as_deref().unwrap_or("https://github.com");
    Url::parse(base).map_err(|_| misconfigured("its base URL is not a URL"))
}

/// Where the API is: as configured, or where each kind of GitHub has it.
fn api_url(provider: &Provider, base: &Url) -> Result<Url, UpstreamError> {
    let url = match (provider.api_url.as_deref(), base.host_str().unwrap_or_default()) {
        (Some(url), _) => Url::parse(url),
        (None, "github.com") => Url::parse("https://api.github.com"),
        (None, host) if host.ends_with(".ghe.com") => Url::parse(&format!("https://api.{host}")),
        (None, _) => Ok(at(base, "api/v3")),
    };
    url.map_err(|_| misconfigured("its api_url is not a URL"))
}

/// `path` below `url`, whether or not that ends with a slash. The path may carry a query.
fn at(url: &Url, path: &str) -> Url {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut joined = url.clone();
    joined.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    joined.set_query(query);
    joined.set_fragment(None);
    joined
}

fn misconfigured(what: &str) -> UpstreamError {
    UpstreamError::Misconfigured(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_to_any_base() {
        let below = |base: &str| at(&Url::parse(base).unwrap(), "user/orgs?page=2").to_string();
        assert_eq!(below("https://api.github.com"), "https://api.github.com/user/orgs?page=2");
        assert_eq!(below("https://ghe.acme.example/api/v3/"), "https://ghe.acme.example/api/v3/user/orgs?page=2");
    }

    #[test]
    fn an_issuer_that_is_named_is_this_github() {
        let base = Url::parse("https://github.com").unwrap();
        assert!(check_issuer(&base, None).is_ok());
        assert!(check_issuer(&base, Some("https://github.com/login/oauth")).is_ok());
        assert!(check_issuer(&base, Some("https://github.com.evil.example")).is_err());
        assert!(check_issuer(&base, Some("github.com")).is_err());
    }
}
