//! A person's browser, that walks through the pages.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use url::form_urlencoded::Serializer;

use super::http::{Connection, REST, request_to};
use super::processes::{PASSWORD, address_of};

/// A browser with its cookies and one connection.
pub struct Browser {
    address: SocketAddr,
    connection: Connection,
    /// When it was last used.
    used: Instant,
    host: String,
    person: usize,
    cookies: Vec<(String, String)>,
    csrf_token: String,
}

/// A page, or where it leads.
pub struct Page {
    status: u16,
    /// Where it leads.
    location: String,
    text: String,
}

/// When an approval was sent, and when it was answered.
#[derive(Clone, Copy, Debug)]
pub struct Approved {
    /// The form was sent.
    pub sent: Instant,
    /// Its answer came.
    pub answered: Instant,
}

impl Browser {
    /// A new one, of this person.
    pub async fn open(address: SocketAddr, person: usize) -> io::Result<Self> {
        let connection = Connection::open(address).await?;
        let host = format!("localhost:{}", address.port());
        let (cookies, csrf_token) = (Vec::new(), String::new());
        Ok(Self { address, connection, used: Instant::now(), host, person, cookies, csrf_token })
    }

    /// Whose it is.
    pub fn person(&self) -> usize {
        self.person
    }

    async fn send(&mut self, method: &str, path: &str, ip: &str, body: &str) -> io::Result<Page> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let headers = format!("X-Forwarded-For: {ip}\r\n{cookie}");
        let answer = self.connection.ask(&request_to(&self.host, method, path, &headers, body)).await?;
        let set: Vec<(String, String)> = answer
            .headers("set-cookie")
            .filter_map(|cookie| cookie.split(';').next()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let location = answer.headers("location").next().unwrap_or_default().to_owned();
        let page = Page { status: answer.status, location, text: answer.text().to_owned() };
        for (name, value) in set {
            self.cookies.retain(|(known, _)| *known != name);
            self.cookies.push((name, value));
        }
        // The last form is the page's own.
        if let Some((_, rest)) = page.text.rsplit_once("name=\"csrf_token\" value=\"") {
            rest.split('"').next().unwrap_or_default().clone_into(&mut self.csrf_token);
        }
        Ok(page)
    }

    async fn get(&mut self, path: &str, ip: &str) -> io::Result<Page> {
        self.send("GET", path, ip, "").await
    }

    async fn post(&mut self, path: &str, ip: &str, fields: &[(&str, &str)]) -> io::Result<Page> {
        let token = [("csrf_token", &*self.csrf_token)];
        let body = Serializer::new(String::new()).extend_pairs(token).extend_pairs(fields).finish();
        self.send("POST", path, ip, &body).await
    }

    /// Types a code, signs in where that is asked, and approves, from this address.
    pub async fn approve(&mut self, user_code: &str, ip: &str) -> io::Result<Approved> {
        if self.used.elapsed() >= REST {
            self.connection = Connection::open(self.address).await?;
        }
        self.get("/activate", ip).await?.is(200, "")?;
        let page = self.post("/activate", ip, &[("user_code", user_code)]).await?;
        if page.is(303, "/activate/confirm").is_err() {
            page.is(303, "/activate/sign-in")?;
            self.get("/activate/sign-in", ip).await?.is(200, "")?;
            let fields = [("email", &*address_of(self.person)), ("password", PASSWORD)];
            self.post("/activate/sign-in", ip, &fields).await?.is(303, "/activate/confirm")?;
        }
        self.get("/activate/confirm", ip).await?.is(200, "")?;
        let sent = Instant::now();
        let fields = [("scope", "read"), ("mine", "yes"), ("decision", "approve")];
        self.post("/activate/confirm", ip, &fields).await?.is(303, "/activate/done")?;
        let answered = Instant::now();
        self.get("/activate/done", ip).await?.is(200, "")?;
        self.used = Instant::now();
        Ok(Approved { sent, answered })
    }
}

impl Page {
    fn is(&self, status: u16, leads_to: &str) -> io::Result<()> {
        if self.status == status && self.location.ends_with(leads_to) {
            return Ok(());
        }
        let words: Vec<&str> = self.text.split(['<', '>']).step_by(2).flat_map(str::split_whitespace).collect();
        Err(io::Error::other(format!(
            "{} to {:?} instead of {leads_to:?}: {}",
            self.status,
            self.location,
            words.join(" ")
        )))
    }
}
