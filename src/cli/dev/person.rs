//! The demo person: walks through the activation page over HTTP as a browser without JavaScript would.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::clock::Clock;
use crate::mfa::totp;

/// More pages than a walk has.
const LONGEST_WALK: usize = 12;

/// Somebody with an account of Countersign's own and a second factor.
pub struct Person<'a> {
    /// Where the pages are.
    pub issuer: &'a str,
    /// Who they are.
    pub email: &'a str,
    /// Their password.
    pub password: &'a str,
    /// What their authenticator holds, in base32.
    pub totp_secret: &'a str,
}

/// A page as far as this person reads it.
struct Page {
    path: String,
    html: String,
}

impl Person<'_> {
    /// Opens the link, does what each page asks, and approves everything.
    pub async fn approve(&self, link: &str) -> anyhow::Result<()> {
        let client = Client::builder().redirect(Policy::none()).build()?;
        let mut cookies = Cookies::default();
        let mut page = open(&client, &mut cookies, link, None).await?;
        for _ in 0..LONGEST_WALK {
            if page.path == "/activate/done" {
                return Ok(());
            }
            let fields = self.fill_in(&page)?;
            let address = format!("{}{}", self.issuer, page.path);
            page = open(&client, &mut cookies, &address, Some(fields)).await?;
        }
        bail!("the walk does not end; it is at {}", page.path)
    }

    fn fill_in(&self, page: &Page) -> anyhow::Result<Vec<(&'static str, String)>> {
        let token = page.hidden("csrf_token").with_context(|| format!("{} has no form", page.path))?;
        let mut fields = vec![("csrf_token", token.to_owned())];
        match page.path.as_str() {
            "/activate" => {
                fields.push(("user_code", page.hidden("user_code").context("no code is filled in")?.to_owned()));
            }
            "/activate/sign-in" => {
                fields.extend([("email", self.email.to_owned()), ("password", self.password.to_owned())]);
            }
            "/activate/mfa" => {
                let code = totp::code_of(self.totp_secret, Clock::system().now())?;
                fields.push(("code", code));
            }
            "/activate/confirm" => {
                fields.extend(page.values("scope").map(|scope| ("scope", scope.to_owned())));
                fields.extend([("mine", "yes".to_owned()), ("decision", "approve".to_owned())]);
            }
            elsewhere => bail!("the walk led to {elsewhere}"),
        }
        Ok(fields)
    }
}

impl Page {
    /// The value of a field that is filled in already.
    fn hidden<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next()
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.html.split("<input").skip(1).filter_map(move |tag| {
            let tag = tag.split_once('>')?.0;
            let attribute = |name: &str| Some(tag.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0);
            (attribute("name") == Some(name)).then(|| attribute("value")).flatten()
        })
    }
}

/// Opens an address, or sends a form to it, and follows where it leads, keeping the cookies.
async fn open(
    client: &Client,
    cookies: &mut Cookies,
    address: &str,
    form: Option<Vec<(&'static str, String)>>,
) -> anyhow::Result<Page> {
    let mut request = match &form {
        Some(fields) => client.post(address).form(fields),
        None => client.get(address),
    };
    let mut url = reqwest::Url::parse(address)?;
    for _ in 0..LONGEST_WALK {
        let response = request.header(COOKIE, cookies.header()).send().await?;
        cookies.keep(&response);
        let Some(next) = response.headers().get(LOCATION) else {
            let status = response.status();
            let html = response.text().await?;
            if !status.is_success() {
                bail!("{} answered {status}", url.path());
            }
            return Ok(Page { path: url.path().to_owned(), html });
        };
        url = url.join(next.to_str()?)?;
        request = client.get(url.clone());
    }
    bail!("{address} leads in a circle")
}

/// What the server has this person's browser keep. All of it goes to the one place that it came from.
#[derive(Default)]
struct Cookies(BTreeMap<String, String>);

impl Cookies {
    fn keep(&mut self, response: &Response) {
        let set = response.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = set.filter_map(|value| value.split(';').next()?.split_once('='));
        self.0.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    fn header(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }
}
