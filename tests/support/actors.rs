//! Who takes part in a login: a device that asks and polls, and a browser that walks through pages.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use scraper::{Html, Selector};

use super::app::{ADA_PASSWORD, Answer, App, form_request};
use super::remote::Remote;

/// A tool on a device.
#[expect(clippy::struct_field_names, reason = "OAuth's names")]
pub struct Device<'a> {
    app: &'a App,
    client_id: String,
    pub device_code: String,
    pub user_code: String,
}

impl<'a> Device<'a> {
    /// Asks for codes as the public client `acme-cli`.
    pub async fn ask(app: &'a App, scope: &str) -> Self {
        Self::ask_as(app, "acme-cli", scope).await
    }

    /// Asks for codes as this public client.
    pub async fn ask_as(app: &'a App, client_id: &str, scope: &str) -> Self {
        Self::ask_with(app, client_id, form_request("/auth/device/code", &[("client_id", client_id), ("scope", scope)]))
            .await
    }

    /// Asks for codes as `acme-cli`, from this address behind the trusted proxy.
    pub async fn ask_from(app: &'a App, address: &str) -> Self {
        let request = form_request("/auth/device/code", &[("client_id", "acme-cli")]);
        Self::ask_with(app, "acme-cli", forwarded(address, request)).await
    }

    async fn ask_with(app: &'a App, client_id: &str, request: Request<Body>) -> Self {
        let answer = app.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let [device_code, user_code] = ["device_code", "user_code"].map(|member| answer.text(member));
        Self { app, client_id: client_id.to_owned(), device_code, user_code }
    }

    /// Polls once.
    pub async fn poll(&self) -> Answer {
        self.app.send(self.poll_request()).await
    }

    /// One poll that waits for what another node decided just now.
    pub async fn poll_held(&self) -> Answer {
        let mut request = self.poll_request();
        request.headers_mut().insert("prefer", "wait=10".parse().unwrap());
        self.app.send(request).await
    }

    /// One poll, as a request.
    pub fn poll_request(&self) -> Request<Body> {
        form_request(
            "/auth/token",
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", &self.device_code),
                ("client_id", &self.client_id),
            ],
        )
    }
}

/// A person's browser, with one jar of cookies and no JavaScript.
#[derive(Clone)]
pub struct Browser<'a> {
    site: Site<'a>,
    pub cookie: Option<String>,
    /// The other cookies: they say that an account was proven in this browser before.
    pub known: Vec<String>,
    /// X-Forwarded-For of a trusted proxy is not used here: the address is the loopback's unless this is set.
    pub address: Option<&'static str>,
    /// The address that the trusted proxy says it has.
    pub forwarded_for: Option<String>,
}

/// A request that comes through the trusted proxy, from this address.
pub fn forwarded(address: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    let proxy = std::net::SocketAddr::from(([10, 0, 0, 1], 4711));
    request.extensions_mut().insert(axum::extract::ConnectInfo(proxy));
    request
}

/// Where a browser's requests go.
#[derive(Clone)]
enum Site<'a> {
    /// To the router in this process.
    Here(&'a App),
    /// To a server on a socket.
    There(Remote),
}

/// A page that a browser shows.
#[derive(Clone)]
pub struct Page {
    pub path: String,
    pub status: StatusCode,
    pub html: String,
    pub answer: Answer,
}

impl<'a> Browser<'a> {
    pub fn new(app: &'a App) -> Self {
        Self { site: Site::Here(app), cookie: None, known: Vec::new(), address: None, forwarded_for: None }
    }

    /// A browser at this address, behind the trusted proxy.
    pub fn behind_proxy(app: &'a App, address: &str) -> Self {
        Self { forwarded_for: Some(address.to_owned()), ..Self::new(app) }
    }

    /// A browser that goes to another process.
    pub fn at(remote: &Remote) -> Browser<'static> {
        let site = Site::There(remote.clone());
        Browser { site, cookie: None, known: Vec::new(), address: None, forwarded_for: None }
    }

    /// Opens a path and follows where it leads on this server.
    pub async fn open(&mut self, path: &str) -> Page {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.follow(path, request).await
    }

    /// Sends the form of a page with these fields beside its token, and follows where it leads.
    pub async fn submit(&mut self, page: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
        self.follow(path, page.form(path, fields)).await
    }

    /// The same as a request with this browser's cookies, not sent yet.
    pub fn request(&self, page: &Page, path: &str, fields: &[(&str, &str)]) -> Request<Body> {
        self.with_cookie(page.form(path, fields))
    }

    /// A request with this browser's cookies.
    pub fn with_cookie(&self, mut request: Request<Body>) -> Request<Body> {
        let cookies: Vec<&str> = self.cookie.iter().chain(&self.known).map(String::as_str).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        request
    }

    /// One request with this browser's cookie, and nothing followed.
    pub async fn send(&mut self, request: Request<Body>) -> Answer {
        let mut request = self.with_cookie(request);
        if let Some(address) = self.address {
            let peer = axum::extract::ConnectInfo(std::net::SocketAddr::new(address.parse().unwrap(), 4711));
            request.extensions_mut().insert(peer);
        }
        if let Some(address) = &self.forwarded_for {
            request = forwarded(address, request);
        }
        let answer = match &self.site {
            Site::Here(app) => app.send(request).await,
            Site::There(remote) => remote.send(request).await,
        };
        for set in answer.headers.get_all("set-cookie") {
            self.keep(set.to_str().unwrap().split(';').next().unwrap());
        }
        answer
    }

    fn keep(&mut self, cookie: &str) {
        let name = cookie.split('=').next().unwrap();
        if name.ends_with("countersign") {
            self.cookie = Some(cookie.to_owned());
        } else {
            self.known.retain(|known| known.split('=').next() != Some(name));
            self.known.push(cookie.to_owned());
        }
    }

    /// The same browser at another node.
    pub fn at_node<'b>(&self, app: &'b App) -> Browser<'b> {
        Browser {
            cookie: self.cookie.clone(),
            known: self.known.clone(),
            address: self.address,
            forwarded_for: self.forwarded_for.clone(),
            ..Browser::new(app)
        }
    }

    async fn follow(&mut self, path: &str, request: Request<Body>) -> Page {
        let mut path = path.split('?').next().unwrap().to_owned();
        let mut answer = self.send(request).await;
        for _ in 0..10 {
            let Some(location) = answer.header("location").filter(|to| to.starts_with('/')).map(str::to_owned) else {
                break;
            };
            path = location.split('?').next().unwrap().to_owned();
            answer = self.send(Request::get(&location).body(Body::empty()).unwrap()).await;
        }
        Page { path, status: answer.status, html: answer.body.clone(), answer }
    }

    /// Types a code.
    pub async fn enter(&mut self, user_code: &str) -> Page {
        let page = self.open("/activate").await;
        self.submit(&page, "/activate", &[("user_code", user_code)]).await
    }

    /// Types a code together with many others, and again while the server has no connection left for it.
    pub async fn enter_among_many(&mut self, user_code: &str) -> Page {
        loop {
            let page = self.enter(user_code).await;
            if page.status != StatusCode::SERVICE_UNAVAILABLE {
                return page;
            }
        }
    }

    /// Types a code and signs in as Ada with her password.
    pub async fn enter_and_sign_in(&mut self, user_code: &str) -> Page {
        let page = self.enter(user_code).await;
        if page.path != "/activate/sign-in" {
            return page;
        }
        self.sign_in(&page, "ada@acme.example", ADA_PASSWORD).await
    }

    /// Signs in with address and password on a page that asks for them.
    pub async fn sign_in(&mut self, page: &Page, email: &str, password: &str) -> Page {
        self.submit(page, "/activate/sign-in", &[("email", email), ("password", password)]).await
    }

    /// "Not you?"
    pub async fn sign_out(&mut self, page: &Page) -> Page {
        self.submit(page, "/activate/sign-out", &[]).await
    }

    /// Types a second factor.
    pub async fn prove(&mut self, page: &Page, code: &str) -> Page {
        self.submit(page, "/activate/mfa", &[("code", code)]).await
    }

    /// Opens the complete address that a provider or a link sends the browser to, which must be on this server.
    pub async fn visit(&mut self, url: &url::Url) -> Page {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.open(&format!("{}{query}", url.path())).await
    }

    /// Approves what a confirm page asks, with every scope that is ticked on it.
    pub async fn approve(&mut self, page: &Page) -> Page {
        self.decide(page, "approve").await
    }

    /// Decides on a confirm page.
    pub async fn decide(&mut self, page: &Page, decision: &str) -> Page {
        assert_eq!(page.path, "/activate/confirm", "{}", page.html);
        let scopes = page.ticked("scope");
        let mut fields: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
        fields.extend([("mine", "yes"), ("decision", decision)]);
        self.submit(page, "/activate/confirm", &fields).await
    }

    /// The whole walk of a person without a second factor.
    pub async fn approve_code(&mut self, user_code: &str) {
        let confirm = self.enter_and_sign_in(user_code).await;
        let done = self.approve(&confirm).await;
        assert_eq!(done.path, "/activate/done", "{}", done.html);
    }
}

impl Page {
    /// The value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<String> {
        let selector = Selector::parse(&format!("input[name={name}]")).unwrap();
        let document = Html::parse_document(&self.html);
        document.select(&selector).next()?.value().attr("value").map(str::to_owned)
    }

    /// A form with these fields beside the page's token.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Request<Body> {
        let token = self.field("csrf_token").unwrap_or_default();
        form_request(path, &[fields, &[("csrf_token", token.as_str())]].concat())
    }

    /// An attribute of the first element of a CSS selector.
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let document = Html::parse_document(&self.html);
        let element = document.select(&Selector::parse(selector).unwrap()).next()?;
        element.value().attr(name).map(str::to_owned)
    }

    /// Where the page sends the browser to, when that isn't this server.
    #[track_caller]
    pub fn leads_to(&self) -> url::Url {
        let location = self.answer.header("location");
        location.unwrap_or_else(|| panic!("{} leads nowhere: {}", self.path, self.text())).parse().unwrap()
    }

    /// The values that a form would send for a group of check boxes.
    pub fn ticked(&self, name: &str) -> Vec<String> {
        let sent = format!("input[name={name}][checked]:not([disabled]), input[type=hidden][name={name}]");
        let selector = Selector::parse(&sent).unwrap();
        let document = Html::parse_document(&self.html);
        document.select(&selector).filter_map(|input| input.value().attr("value")).map(str::to_owned).collect()
    }

    /// What the elements of a CSS selector say, with white space folded.
    pub fn says(&self, selector: &str) -> Vec<String> {
        let document = Html::parse_document(&self.html);
        let words = |element: scraper::ElementRef<'_>| {
            element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        document.select(&Selector::parse(selector).unwrap()).map(words).collect()
    }

    /// Everything that can be read on the page.
    pub fn text(&self) -> String {
        self.says("body").join(" ")
    }
}
