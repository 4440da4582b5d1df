//! The world in which they walk, and the model: what each browser has rightly proven.

use std::collections::HashSet;
use std::fmt::Write as _;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Client;
use url::Url;
use uuid::Uuid;

use crate::support::app::{TOTP_SECRET, form_request, with_bob};
use crate::support::github::{self, CLIENT_ID, GitHub};
use crate::support::oidc_provider::browser as http_client;
use crate::support::{App, Browser, Device, Page};

use super::action::{Action, At, Forgery, GRACE, HENRY, PAGES, PEOPLE, PROVIDERS, Way};
use super::check::{Decided, Stored};

/// An installation in which many walks are walked, one after the other.
pub struct House {
    pub app: App,
    client: Client,
    _providers: [GitHub; 2],
}

impl House {
    /// Everybody of [`PEOPLE`] and both providers. Who has an authenticator is asked for it.
    pub async fn new() -> Self {
        let providers = [github::start().await, github::start().await];
        let mut toml = with_bob().replace("mfa = \"off\"", "mfa = \"if_enrolled\"");
        for (slug, (provider, person)) in PROVIDERS.iter().zip(providers.iter().zip([GRACE, HENRY])) {
            let email = PEOPLE[person].email;
            write!(
                toml,
                "[[organization.user]]\nemail = \"{email}\"\n[[organization.provider]]\nslug = \"{slug}\"\n\
                 kind = \"github\"\nissuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
                 client_secret = {{ env = \"GITHUB_SECRET\" }}\n",
                provider.base(),
            )
            .unwrap();
            let mut world = provider.world();
            world.account = serde_json::json!({ "id": 7, "login": "somebody", "name": null });
            world.emails = serde_json::json!([{ "email": email, "primary": true, "verified": true }]);
        }
        let app = App::with(&toml).await;
        for person in PEOPLE.iter().filter(|person| person.has_authenticator) {
            app.enrol(person.email).await;
        }
        Self { app, client: http_client(), _providers: providers }
    }
}

/// A page in a tab, and what it was about when it was shown: a login, and somebody's account.
#[derive(Clone)]
pub struct Shown {
    pub page: Page,
    pub about: (Option<usize>, Option<usize>),
}

/// A browser and what it has rightly proven, by forms and callbacks that the server took.
pub struct Jar<'a> {
    pub browser: Browser<'a>,
    pub tabs: [Vec<Shown>; 2],
    /// The login that its pages are about.
    pub about: Option<usize>,
    pub signed_in: Option<usize>,
}

/// A way to a provider and back.
struct Trip {
    id: Uuid,
    /// Which browser left for which provider, about which login.
    browser: usize,
    provider: usize,
    about: Option<usize>,
    until: DateTime<Utc>,
    back: Url,
}

/// A device login.
pub struct Login<'a> {
    pub device: Device<'a>,
    pub id: Uuid,
    pub expires_at: DateTime<Utc>,
    pub claimed_by: Option<usize>,
    pub stored: Stored,
    /// How many polls got tokens.
    pub tokens: usize,
}

pub struct World<'a> {
    pub house: &'a House,
    pub jars: [Jar<'a>; 2],
    pub logins: [Login<'a>; 2],
    trips: Vec<Trip>,
    /// One-time passwords that were taken, and whose.
    pub spent: HashSet<(usize, String)>,
}

impl<'a> World<'a> {
    pub async fn new(house: &'a House) -> Self {
        let app = &house.app;
        // What the walk before used up, codes, tries and budgets, is of another hour.
        app.advance(3601);
        let login = async || {
            app.advance(1);
            let device = Device::ask(app, "read deploy email").await;
            let expires_at = app.installation.clock.now() + TimeDelta::minutes(15);
            let id = sqlx::query_scalar("SELECT id FROM device_grant ORDER BY created_at DESC, id DESC LIMIT 1");
            let id = id.fetch_one(&app.installation.pool).await.unwrap();
            let stored = Stored::of(app, id).await;
            Login { device, id, expires_at, claimed_by: None, stored, tokens: 0 }
        };
        let jar = async || {
            let mut browser = Browser::new(app);
            let tab = vec![Shown { page: browser.open("/activate").await, about: (None, None) }];
            Jar { browser, tabs: [tab.clone(), tab], about: None, signed_in: None }
        };
        let (jars, logins) = ([jar().await, jar().await], [login().await, login().await]);
        Self { house, jars, logins, trips: Vec::new(), spent: HashSet::new() }
    }

    /// Where the logins stand.
    pub fn states(&self) -> [String; 2] {
        self.logins.each_ref().map(|login| login.stored.state.clone())
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.house.app.installation.clock.now()
    }

    /// What a tab shows.
    pub fn shown(&self, at: At) -> &Shown {
        self.jars[at.browser].tabs[at.tab].last().unwrap()
    }

    /// Does it, and checks that nothing happened that may not.
    pub async fn act(&mut self, action: &Action) {
        let decided = match *action {
            Action::GoOn { at, person, device } => {
                for next in self.what_is_asked(at, person, device) {
                    Box::pin(self.act(&next)).await;
                }
                Decided::Nothing
            }
            Action::Poll { device } => self.poll(device).await,
            Action::Pass { seconds } => {
                self.house.app.advance(seconds);
                Decided::Nothing
            }
            Action::Back { at, steps } => {
                let shown = &mut self.jars[at.browser].tabs[at.tab];
                shown.truncate(shown.len().saturating_sub(steps).max(1));
                Decided::Nothing
            }
            Action::Open { at, page } => {
                let page = self.jars[at.browser].browser.open(PAGES[page]).await;
                self.show(at, page);
                Decided::Nothing
            }
            Action::Enter { at, device } => self.enter(at, device).await,
            Action::Follow { at, device, provider } => self.follow(at, device, provider).await,
            Action::SignIn { at, person, right } => self.sign_in(at, person, right).await,
            Action::SignOut { at } => self.sign_out(at).await,
            Action::Leave { at, provider } => {
                let link = format!("/auth/{}?org=acme&service=cli", PROVIDERS[provider]);
                let page = self.jars[at.browser].browser.open(&link).await;
                self.leave(at, provider, page).await
            }
            Action::Return { at, ago, to_its_own } => self.come_back(at, ago, to_its_own).await,
            Action::Prove { at, right } => self.prove(at, right).await,
            Action::Decide { at, approve, mine } => self.decide(at, approve, mine).await,
            Action::Forge { at, how } => self.forge(at, how).await,
        };
        self.check(action, decided).await;
    }

    fn what_is_asked(&self, at: At, person: usize, device: usize) -> Vec<Action> {
        match (self.shown(at).page.path.as_str(), PEOPLE[person].way) {
            ("/activate/sign-in", Way::Password(_)) => vec![Action::SignIn { at, person, right: true }],
            ("/activate/sign-in", Way::Provider(provider)) => {
                vec![Action::Leave { at, provider }, Action::Return { at, ago: 0, to_its_own: true }]
            }
            ("/activate/mfa", _) => vec![Action::Prove { at, right: true }],
            ("/activate/confirm", _) => vec![Action::Decide { at, approve: true, mine: true }],
            _ => vec![Action::Enter { at, device: Some(device) }],
        }
    }

    /// Puts a page in a tab, with what it is about by the model.
    fn show(&mut self, at: At, page: Page) {
        assert!(!page.status.is_server_error() || page.status == StatusCode::BAD_GATEWAY, "{}", page.text());
        let jar = &mut self.jars[at.browser];
        let about = if page.path == "/activate" { (None, None) } else { (jar.about, jar.signed_in) };
        jar.tabs[at.tab].push(Shown { page, about });
    }

    /// Sends a form, and says whether the browser was given another cookie: a sign-in does that, and nothing else here.
    async fn send(&mut self, at: At, path: &str, fields: &[(&str, &str)]) -> (Page, bool) {
        let shown = self.shown(at).page.clone();
        let browser = &mut self.jars[at.browser].browser;
        let before = browser.cookie.clone();
        let page = browser.submit(&shown, path, fields).await;
        let renewed = browser.cookie != before;
        (page, renewed)
    }

    async fn enter(&mut self, at: At, device: Option<usize>) -> Decided {
        let code = device.map_or("BCDF-GHJK", |device| self.logins[device].device.user_code.as_str()).to_owned();
        let (page, renewed) = self.send(at, "/activate", &[("user_code", &code)]).await;
        assert!(!renewed, "a code signs nobody in");
        if page.path != "/activate" {
            self.jars[at.browser].about = device;
        }
        self.show(at, page);
        device.map_or(Decided::Nothing, |device| Decided::Claim { device, by: at.browser })
    }

    async fn follow(&mut self, at: At, device: usize, provider: usize) -> Decided {
        let code = &self.logins[device].device.user_code;
        let link = format!("/auth/{}?org=acme&service=cli&user_code={code}", PROVIDERS[provider]);
        let page = self.jars[at.browser].browser.open(&link).await;
        if page.path != "/activate" {
            self.jars[at.browser].about = Some(device);
        }
        self.leave(at, provider, page).await;
        Decided::Claim { device, by: at.browser }
    }

    async fn sign_in(&mut self, at: At, person: usize, right: bool) -> Decided {
        let Way::Password(password) = PEOPLE[person].way else { return Decided::Nothing };
        let fields = [("email", PEOPLE[person].email), ("password", if right { password } else { "wrong" })];
        let (page, renewed) = self.send(at, "/activate/sign-in", &fields).await;
        assert!(right || !renewed, "signed in by a wrong password");
        if renewed {
            self.jars[at.browser].signed_in = Some(person);
        }
        self.show(at, page);
        Decided::Nothing
    }

    async fn sign_out(&mut self, at: At) -> Decided {
        let (page, _) = self.send(at, "/activate/sign-out", &[]).await;
        // Refused, or about no login: then nobody was signed out.
        if !["/activate", "/activate/sign-out"].contains(&page.path.as_str()) {
            self.jars[at.browser].signed_in = None;
        }
        self.show(at, page);
        Decided::Nothing
    }

    /// If the page leads to a provider, goes there and signs in, and keeps the way back.
    async fn leave(&mut self, at: At, provider: usize, page: Page) -> Decided {
        if page.answer.header("location").is_some_and(|location| !location.starts_with('/')) {
            let known: Vec<Uuid> = self.trips.iter().map(|trip| trip.id).collect();
            let newest =
                "SELECT id FROM upstream_sign_in WHERE id <> ALL ($1) ORDER BY created_at DESC, id DESC LIMIT 1";
            let newest = sqlx::query_scalar(newest).bind(&known);
            let id = newest.fetch_one(&self.house.app.installation.pool).await.unwrap();
            let answer = self.house.client.get(page.leads_to()).send().await.unwrap();
            let back = answer.headers()["location"].to_str().unwrap().parse().unwrap();
            let (about, until) = (self.jars[at.browser].about, self.now() + TimeDelta::minutes(10));
            self.trips.push(Trip { id, browser: at.browser, provider, about, until, back });
        } else {
            self.show(at, page);
        }
        Decided::Nothing
    }

    async fn come_back(&mut self, at: At, ago: usize, to_its_own: bool) -> Decided {
        let Some(trip) = self.trips.len().checked_sub(ago + 1).and_then(|index| self.trips.get(index)) else {
            return Decided::Nothing;
        };
        let spent = self.is_spent(trip.id).await;
        let same = trip.browser == at.browser && to_its_own && self.now() < trip.until;
        let right = same && spent == Some(false) && trip.about == self.jars[at.browser].about;
        let (id, provider) = (trip.id, trip.provider);
        let address = if to_its_own { provider } else { 1 - provider };
        let mut back = trip.back.clone();
        back.set_path(&format!("/auth/{}/callback", PROVIDERS[address]));

        let browser = &mut self.jars[at.browser].browser;
        let before = browser.cookie.clone();
        let page = browser.visit(&back).await;
        let renewed = browser.cookie != before;
        assert!(right || !renewed, "signed in by a callback of another browser, provider, login or time");
        let after = self.is_spent(id).await;
        assert!(same || after.is_none() || after == spent, "a wrong try spends nothing");
        if renewed {
            let person = PEOPLE.iter().position(|person| matches!(person.way, Way::Provider(by) if by == provider));
            self.jars[at.browser].signed_in = person;
        }
        self.show(at, page);
        Decided::Nothing
    }

    /// Whether somebody has come back from it; `None`: its time was over, and the housekeeping has come by.
    async fn is_spent(&self, trip: Uuid) -> Option<bool> {
        let used = sqlx::query_scalar("SELECT used_at IS NOT NULL FROM upstream_sign_in WHERE id = $1").bind(trip);
        used.fetch_optional(&self.house.app.installation.pool).await.unwrap()
    }

    async fn prove(&mut self, at: At, right: bool) -> Decided {
        let code = if right { self.house.app.totp(TOTP_SECRET) } else { "000000".to_owned() };
        let (page, renewed) = self.send(at, "/activate/mfa", &[("code", &code)]).await;
        assert!(!renewed, "a second factor signs nobody in");
        self.show(at, page);
        if right { Decided::Proof { by: at.browser, code } } else { Decided::Nothing }
    }

    async fn decide(&mut self, at: At, approve: bool, mine: bool) -> Decided {
        let from = self.shown(at).clone();
        let mut fields = vec![("scope", "read"), ("scope", "email")];
        fields.push(("decision", if approve { "approve" } else { "deny" }));
        fields.extend(mine.then_some(("mine", "yes")));
        let (page, _) = self.send(at, "/activate/confirm", &fields).await;
        self.show(at, page);
        Decided::Decision { by: at.browser, approve: approve && mine, deny: !approve, from: Box::new(from) }
    }

    async fn forge(&mut self, at: At, how: Forgery) -> Decided {
        let token = |page: &Page| page.field("csrf_token").unwrap_or_default();
        let own = token(&self.shown(at).page);
        let other = token(&self.jars[1 - at.browser].tabs[at.tab].last().unwrap().page);
        let sent = match how {
            Forgery::TokenOfAnotherBrowser => other,
            Forgery::NoToken => String::new(),
            Forgery::Get | Forgery::FromAnotherSite | Forgery::FromAnotherOrigin => own,
        };
        let form = [("scope", "read"), ("mine", "yes"), ("decision", "approve"), ("csrf_token", sent.as_str())];
        let browser = &mut self.jars[at.browser].browser;
        let mut request = form_request("/activate/confirm", &form);
        match how {
            Forgery::Get => {
                let query = serde_urlencoded::to_string(form).unwrap();
                let page = browser.open(&format!("/activate/confirm?{query}")).await;
                self.show(at, page);
                return Decided::Nothing;
            }
            Forgery::FromAnotherSite => {
                request.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
            }
            Forgery::FromAnotherOrigin => {
                request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
            }
            Forgery::TokenOfAnotherBrowser | Forgery::NoToken => {}
        }
        let answer = browser.send(request).await;
        assert!(!answer.status.is_server_error() && !answer.status.is_success(), "{how:?}: {}", answer.body);
        Decided::Nothing
    }
}
