//! Somebody with a copy of the database, who tries what stands in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::DateTime;
use countersign::mfa::totp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::life::{ACCOUNT, ADA, AGENT, API, CLI, Client, Life};
use super::reader::Kind;
use crate::support::app::{Answer, form_request};
use crate::support::{App, Browser, Page};

/// A way to use a value. They stand in the order in which they are tried: those that change something when they succeed
/// come last, and authenticators, for which time has to pass, at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// As an access token.
    Bearer,
    /// As a key that signs access tokens, in base64.
    SigningKey,
    /// As a token that an API asks about.
    Introspection,
    /// As the secret of a confidential client.
    ClientSecret,
    /// As what a link "This wasn't me" holds.
    ReportLink,
    /// As what a setup link holds.
    SetupLink,
    /// As a user code at an organization's own page.
    VerifiedCode,
    /// As the cookie of a browser that is about to decide, or is signed in at the account pages.
    ConfirmCookie,
    AccountCookie,
    /// As the token of a form that another site makes such a browser send.
    ConfirmForm,
    AccountForm,
    /// As a user code that is typed.
    TypedCode,
    /// As the state with which a browser comes back from a provider.
    State,
    /// As Ada's password.
    Password,
    /// As a device code.
    DeviceCode,
    AgentsDeviceCode,
    /// As a refresh token.
    RefreshToken,
    AgentsRefreshToken,
    /// As a recovery code, or whatever else the second factor's field takes.
    RecoveryCode,
    /// As the secret of the authenticator, in base32.
    TotpSecret,
}

impl Way {
    pub const ALL: [Self; 20] = [
        Self::Bearer,
        Self::SigningKey,
        Self::Introspection,
        Self::ClientSecret,
        Self::ReportLink,
        Self::SetupLink,
        Self::VerifiedCode,
        Self::ConfirmCookie,
        Self::AccountCookie,
        Self::ConfirmForm,
        Self::AccountForm,
        Self::TypedCode,
        Self::State,
        Self::Password,
        Self::DeviceCode,
        Self::AgentsDeviceCode,
        Self::RefreshToken,
        Self::AgentsRefreshToken,
        Self::RecoveryCode,
        Self::TotpSecret,
    ];

    /// Whether a value that was made for this is worth a try.
    pub fn takes(self, kind: Kind, value: &str) -> bool {
        let fits = match kind {
            Kind::AsItIs | Kind::Written => true,
            Kind::DeviceCode => matches!(self, Self::DeviceCode | Self::AgentsDeviceCode),
            Kind::RefreshToken => {
                matches!(self, Self::RefreshToken | Self::AgentsRefreshToken | Self::Introspection)
            }
            Kind::ReportLink => self == Self::ReportLink,
            Kind::SetupLink => self == Self::SetupLink,
            Kind::Base32 => self == Self::TotpSecret,
        };
        fits && match self {
            // Each try is a hash of argon2id, which is slow by design: only with what people could have typed.
            Self::Password => kind == Kind::AsItIs && is_like_a_password(value),
            _ => self.can_be_sent(value),
        }
    }

    fn can_be_sent(self, value: &str) -> bool {
        match self {
            Self::TotpSecret => totp::code_of(value, DateTime::UNIX_EPOCH).is_ok(),
            Self::SigningKey => STANDARD.decode(value).is_ok_and(|bytes| bytes.len() >= 16),
            // Any six digits are right once in 300,000 times, as an authenticator's.
            Self::RecoveryCode => value.len() != 6 || value.contains(|c: char| !c.is_ascii_digit()),
            _ => HeaderValue::from_str(value).is_ok() || !self.is_in_a_header(),
        }
    }

    fn is_in_a_header(self) -> bool {
        matches!(self, Self::Bearer | Self::ConfirmCookie | Self::AccountCookie)
    }
}

/// As long as passwords are, and neither an id nor a time.
fn is_like_a_password(value: &str) -> bool {
    (8..=64).contains(&value.chars().count()) && !value.starts_with("20") && Uuid::try_parse(value).is_err()
}

/// What an answer says, apart from the time and what a page repeats of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    status: StatusCode,
    location: Option<String>,
    json: Option<Value>,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        let location = answer.header("location").map(str::to_owned);
        let mut json: Option<Value> = serde_json::from_str(&answer.body).ok();
        if let Some(members) = json.as_mut().and_then(Value::as_object_mut) {
            members.remove("timestamp");
        }
        Self { status: answer.status, location, json }
    }
}

/// Values of every form that nobody ever had.
fn made_up() -> Vec<String> {
    let bytes: Vec<u8> = (0..52).collect();
    let base64url = |length: usize| URL_SAFE_NO_PAD.encode(&bytes[..length]);
    let texts =
        ["x", "made-up", "made up of words", "BBBB-BBBB", "aaaa-bbbb-cccc-dddd", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"];
    let tokens = [
        format!("csd_{}", base64url(48)),
        format!("csr_{}", base64url(52)),
        format!("csn_{}", base64url(48)),
        format!("csu_{}", base64url(32)),
        base64url(32),
    ];
    let jwt =
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt"}"#), base64url(9), base64url(48));
    texts.map(str::to_owned).into_iter().chain(tokens).chain([jwt, STANDARD.encode(&bytes)]).collect()
}

pub struct Thief {
    life: Arc<Life>,
    /// A browser of their own at the code page, and the token of its form.
    cookie: String,
    csrf_token: String,
    /// Of Ada's forms, whose tokens she has: what the second factor's field is sent with.
    account_token: String,
    /// What is told for a wrong value.
    wrong: HashMap<Way, Vec<Told>>,
}

impl Thief {
    pub async fn new(life: Arc<Life>) -> Arc<Self> {
        let (cookie, csrf_token) = newcomer(&life.app, "/activate").await;
        let account_token = life.held(Way::AccountForm).to_owned();
        let mut thief = Self { life, cookie, csrf_token, account_token, wrong: HashMap::new() };
        for way in Way::ALL {
            for value in made_up().iter().filter(|value| way.can_be_sent(value)) {
                let told = thief.asks(way, value).await;
                let wrong = thief.wrong.entry(way).or_default();
                if !wrong.contains(&told) {
                    wrong.push(told);
                }
            }
        }
        Arc::new(thief)
    }

    /// Tries a value: what it gives, if it isn't answered as a wrong one is.
    pub async fn tries(&self, way: Way, value: &str) -> Option<Told> {
        let mut told = self.asks(way, value).await;
        // Six hands keep the server busy. It said nothing of the value.
        while told.status == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(500)).await;
            told = self.asks(way, value).await;
        }
        let wrong = |told: &Told| self.wrong[&way].contains(told);
        if wrong(&told) {
            return None;
        }
        if way == Way::TotpSecret {
            // Any six digits are right once in 300,000 times. A secret is right again, two minutes later.
            self.life.app.advance(120);
            return Some(self.asks(way, value).await).filter(|told| !wrong(told));
        }
        Some(told)
    }

    /// Tries all of these, in the order of the ways, and says which gave something.
    pub async fn tries_all(self: &Arc<Self>, mut trials: Vec<(Way, String)>) -> Vec<(Way, String, Told)> {
        trials.sort();
        trials.dedup();
        let mut given = vec![];
        for trials in trials.chunk_by(|one, other| one.0 == other.0) {
            let (trials, next) = (Arc::new(trials.to_vec()), Arc::new(AtomicUsize::new(0)));
            // Time passes between two tries of an authenticator: they can't be side by side.
            let hands = if trials[0].0 == Way::TotpSecret { 1 } else { 6 };
            let mut all = JoinSet::new();
            for _ in 0..hands {
                let (thief, trials, next) = (self.clone(), trials.clone(), next.clone());
                all.spawn(async move {
                    let mut given = vec![];
                    while let Some((way, value)) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                        given.extend(thief.tries(*way, value).await.map(|told| (*way, value.clone(), told)));
                    }
                    given
                });
            }
            given.extend(all.join_all().await.into_iter().flatten());
        }
        given
    }

    async fn asks(&self, way: Way, value: &str) -> Told {
        let app = &self.life.app;
        let answer = match way {
            Way::Bearer => self.userinfo(value).await,
            Way::SigningKey => return self.forges(value).await,
            Way::Introspection => app.post("/auth/introspect", &form(API, &[("token", value)])).await,
            // A poll with a code that is none: who isn't the client is told so first.
            Way::ClientSecret => self.polls(Client { secret: Some(value), ..AGENT }, "csd_made-up").await,
            // Opened and not pressed: what can't be opened can't be pressed either.
            Way::ReportLink => {
                let query = serde_urlencoded::to_string([("token", value)]).unwrap();
                app.get(&format!("/activate/report?{query}")).await
            }
            Way::SetupLink => {
                let query = serde_urlencoded::to_string([("token", value)]).unwrap();
                app.get(&format!("/setup?{query}")).await
            }
            Way::VerifiedCode => app.post("/auth/device/verify", &[("user_code", value)]).await,
            Way::ConfirmCookie => self.opens("/activate/confirm", value).await,
            Way::AccountCookie => self.opens(ACCOUNT, value).await,
            // Nothing is decided by either form: it says that something is missing.
            Way::ConfirmForm => self.sends(Way::ConfirmCookie, "/activate/confirm", &[("csrf_token", value)]).await,
            Way::AccountForm => {
                let path = format!("{ACCOUNT}/end-others");
                self.sends(Way::AccountCookie, &path, &[("csrf_token", value)]).await
            }
            Way::TypedCode => {
                let typed = [("user_code", value), ("csrf_token", &self.csrf_token)];
                with_cookie(app, form_request("/activate", &typed), &self.cookie).await
            }
            Way::State => {
                let query = serde_urlencoded::to_string([("state", value), ("code", "made-up")]).unwrap();
                let request = Request::get(format!("/auth/hub/callback?{query}")).body(Body::empty()).unwrap();
                with_cookie(app, request, &self.life.leaving_cookie).await
            }
            Way::Password => self.signs_in(ADA, value).await,
            Way::DeviceCode => self.polls(CLI, value).await,
            Way::AgentsDeviceCode => self.polls(AGENT, value).await,
            Way::RefreshToken => self.refreshes(CLI, value).await,
            Way::AgentsRefreshToken => self.refreshes(AGENT, value).await,
            Way::RecoveryCode => self.proves(value).await,
            Way::TotpSecret => self.proves(&app.totp(value)).await,
        };
        answer.into()
    }

    async fn userinfo(&self, token: &str) -> Answer {
        let request = Request::get("/auth/userinfo").header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.life.app.send(request.body(Body::empty()).unwrap()).await
    }

    /// Signs an access token as Ada's with a key: as that of a signature, if it is one, or that of a MAC.
    async fn forges(&self, key: &str) -> Told {
        let pkcs8 = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        let mac = EncodingKey::from_base64_secret(key).unwrap();
        let mut keys = vec![(Algorithm::HS256, mac)];
        keys.extend(EncodingKey::from_ec_pem(pkcs8.as_bytes()).map(|key| (Algorithm::ES256, key)));
        let forgery = |(algorithm, key): &(Algorithm, EncodingKey)| {
            let header =
                Header { typ: Some("at+jwt".into()), kid: Some(self.life.kid.clone()), ..Header::new(*algorithm) };
            jsonwebtoken::encode(&header, &self.life.claims, key).ok()
        };
        // The last one counts: a key that signs is worth more than one for a MAC.
        let token = keys.iter().filter_map(forgery).next_back().unwrap();
        self.userinfo(&token).await.into()
    }

    async fn polls(&self, client: Client<'_>, device_code: &str) -> Answer {
        let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        self.life.app.post("/auth/token", &form(client, &[grant_type, ("device_code", device_code)])).await
    }

    async fn refreshes(&self, client: Client<'_>, token: &str) -> Answer {
        let form = form(client, &[("grant_type", "refresh_token"), ("refresh_token", token)]);
        self.life.app.post("/auth/token", &form).await
    }

    async fn opens(&self, path: &str, cookie: &str) -> Answer {
        with_cookie(&self.life.app, Request::get(path).body(Body::empty()).unwrap(), cookie).await
    }

    /// A form from the browser that has this cookie.
    async fn sends(&self, whose: Way, path: &str, fields: &[(&str, &str)]) -> Answer {
        with_cookie(&self.life.app, form_request(path, fields), self.life.held(whose)).await
    }

    /// In a new browser each time: a sign-in changes the cookie.
    async fn signs_in(&self, email: &str, password: &str) -> Answer {
        let path = format!("{ACCOUNT}/sign-in");
        let (cookie, csrf_token) = newcomer(&self.life.app, &path).await;
        let form = [("email", email), ("password", password), ("csrf_token", &csrf_token)];
        with_cookie(&self.life.app, form_request(&path, &form), &cookie).await
    }

    /// Types a second factor, with Ada's browser and at a page that asks for it however often it was proven.
    async fn proves(&self, code: &str) -> Answer {
        let fields = [("code", code), ("next", "password"), ("csrf_token", &self.account_token)];
        self.sends(Way::AccountCookie, &format!("{ACCOUNT}/mfa"), &fields).await
    }
}

/// The cookie of a browser that has just opened a page, and the token of the page's form.
async fn newcomer(app: &App, path: &str) -> (String, String) {
    let mut browser = Browser::new(app);
    let page: Page = browser.open(path).await;
    (value_of(browser.cookie.as_deref().unwrap()), page.field("csrf_token").unwrap())
}

/// A cookie without its name.
pub fn value_of(cookie: &str) -> String {
    cookie.split_once('=').unwrap().1.to_owned()
}

async fn with_cookie(app: &App, mut request: Request<Body>, cookie: &str) -> Answer {
    let cookie = HeaderValue::from_str(&format!("__Host-countersign={cookie}")).unwrap();
    request.headers_mut().insert(header::COOKIE, cookie);
    app.send(request).await
}

fn form<'a>(client: Client<'a>, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let secret = client.secret.map(|secret| ("client_secret", secret));
    fields.iter().copied().chain([("client_id", client.id)]).chain(secret).collect()
}
