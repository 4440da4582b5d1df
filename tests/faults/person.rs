//! A person with a browser, which keeps cookies and runs no script: signs in once, then decides codes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use scraper::{Html, Selector};

use super::device::AGAIN;
use super::ledger::{Ledger, LoginNumber, Wish};
use super::wire::{Exchange, Wire};

/// How long somebody tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// A code that somebody is to decide.
pub struct Errand {
    pub login: LoginNumber,
    pub user_code: String,
    pub wish: Wish,
}

/// One person at one browser.
pub struct Person {
    pub wire: Wire,
    pub ledger: Arc<Ledger>,
    /// Where people come from: the public URL.
    pub origin: String,
    pub email: &'static str,
    pub password: &'static str,
    cookies: BTreeMap<String, String>,
}

/// Why somebody sees no page.
#[derive(Debug)]
enum Trouble {
    /// The server is away: try again.
    Away,
    /// Something that must not be.
    Wrong(String),
}

/// A page.
#[derive(Debug)]
struct Page {
    path: String,
    html: String,
}

impl Person {
    /// With a fresh browser.
    pub fn new(wire: Wire, ledger: &Arc<Ledger>, origin: &str, email: &'static str, password: &'static str) -> Self {
        let (ledger, origin) = (ledger.clone(), origin.to_owned());
        Self { wire, ledger, origin, email, password, cookies: BTreeMap::new() }
    }

    /// Decides a code, from the start again whenever the server is away.
    pub async fn decide(&mut self, errand: &Errand) {
        let deadline = Instant::now() + PATIENCE;
        let mut pressed = false;
        let said = loop {
            match self.walk(errand, &mut pressed).await {
                Ok(title) => return self.ledger.sees(errand.login, &title),
                Err(Trouble::Away) if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
                Err(Trouble::Away) => break "gave up".to_owned(),
                Err(Trouble::Wrong(what)) => break what,
            }
        };
        self.ledger.wrong(format!("login {}: somebody who wanted to decide: {said}", errand.login));
    }

    /// The whole way once; gives the title of the last page. A button that was pressed into the void may have been heard.
    async fn walk(&mut self, errand: &Errand, pressed: &mut bool) -> Result<String, Trouble> {
        if *pressed {
            let page = self.open("/activate/confirm").await?;
            if page.path == "/activate/done" {
                return Ok(page.title());
            }
        }
        let page = self.open("/activate").await?;
        let mut page = self.submit(&page, "/activate", &[("user_code", &errand.user_code)]).await?;
        if page.path == "/activate/sign-in" {
            let fields = [("email", self.email), ("password", self.password)];
            page = self.submit(&page, "/activate/sign-in", &fields).await?;
        }
        page.expect("/activate/confirm")?;
        let scopes = page.values("input[name=scope][checked]");
        let mut fields: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
        fields.push(("mine", "yes"));
        fields.push(("decision", if errand.wish == Wish::Deny { "deny" } else { "approve" }));
        *pressed = true;
        self.ledger.decides(errand.login);
        let page = self.submit(&page, "/activate/confirm", &fields).await?;
        page.expect("/activate/done")?;
        Ok(page.title())
    }

    async fn open(&mut self, path: &str) -> Result<Page, Trouble> {
        let cookies = self.cookies();
        let shown = self.wire.other(path, |client, url| client.get(url).header(COOKIE, &cookies)).await;
        self.follow(path, shown).await
    }

    async fn submit(&mut self, page: &Page, path: &str, fields: &[(&str, &str)]) -> Result<Page, Trouble> {
        let token = page.values("input[name=csrf_token]").into_iter().next().unwrap_or_default();
        let form = [fields, &[("csrf_token", token.as_str())]].concat();
        let (cookies, origin) = (self.cookies(), self.origin.clone());
        let build = |client: &reqwest::Client, url: String| {
            client.post(url).header(COOKIE, &cookies).header(ORIGIN, &origin).form(&form)
        };
        let shown = self.wire.other(path, build).await;
        self.follow(path, shown).await
    }

    async fn follow(&mut self, path: &str, mut shown: Exchange) -> Result<Page, Trouble> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            let answer = shown.answer.map_err(|_| Trouble::Away)?;
            for cookie in answer.headers.get_all(SET_COOKIE) {
                let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            let Some(location) = answer.headers.get(LOCATION) else {
                return match answer.status {
                    StatusCode::SERVICE_UNAVAILABLE => Err(Trouble::Away),
                    status if status.is_server_error() => Err(Trouble::Away),
                    status => {
                        let page = Page { path, html: answer.body };
                        status.is_success().then_some(()).ok_or_else(|| page.trouble(status))?;
                        Ok(page)
                    }
                };
            };
            location.to_str().unwrap().clone_into(&mut path);
            let cookies = self.cookies();
            shown = self.wire.other(&path, |client, url| client.get(url).header(COOKIE, &cookies)).await;
        }
        Err(Trouble::Wrong(format!("{path} leads in a circle")))
    }

    fn cookies(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

impl Page {
    fn expect(&self, path: &str) -> Result<(), Trouble> {
        let wrong = || Trouble::Wrong(format!("{} instead of {path}: {:?}", self.path, self.title()));
        (self.path == path).then_some(()).ok_or_else(wrong)
    }

    fn trouble(&self, status: StatusCode) -> Trouble {
        let said = self.texts("main").join(" ");
        Trouble::Wrong(format!("{} was answered with {status}: {said}", self.path))
    }

    fn title(&self) -> String {
        self.texts("h1").into_iter().next().unwrap_or_default()
    }

    fn texts(&self, selector: &str) -> Vec<String> {
        let document = Html::parse_document(&self.html);
        let words = |element: scraper::ElementRef<'_>| {
            element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        document.select(&Selector::parse(selector).unwrap()).map(words).collect()
    }

    fn values(&self, selector: &str) -> Vec<String> {
        let document = Html::parse_document(&self.html);
        let selector = Selector::parse(selector).unwrap();
        document.select(&selector).filter_map(|input| input.value().attr("value")).map(str::to_owned).collect()
    }
}
